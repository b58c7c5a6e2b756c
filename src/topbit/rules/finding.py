"""What is wrong, who chose it, what shows it, and what mends it?"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Literal, TypeAlias

from topbit.events import Agent
from topbit.recording import Reading

Severity: TypeAlias = Literal["violation", "warning", "note"]
SEVERITIES: tuple[Severity, ...] = ("violation", "warning", "note")
"""From worst to mildest. Only a violation fails a check."""


class Verdict(StrEnum):
    """What does a check say in all?

    Attributes:
        OK: what could be judged keeps the convention, and nothing tells of trouble besides.
        VIOLATION: a rule was broken.
        INCONCLUSIVE: no rule was broken, but there is trouble that no finding judges, or one of
            which nothing decides whose it is, or a file could not be read whole, or nothing could
            be judged at all.
    """

    OK = "ok"
    VIOLATION = "violation"
    INCONCLUSIVE = "inconclusive"

    @property
    def exit_status(self) -> int:
        """Which exit status tells it?"""
        return {Verdict.OK: 0, Verdict.VIOLATION: 1, Verdict.INCONCLUSIVE: 4}[self]


@dataclass(frozen=True, slots=True)
class Evidence:
    """Which observation supports a finding, and where does it stand?

    Attributes:
        text: what was observed.
        source: file it was read from; empty for a run's own events.
        line: line (text, from 1) or record (binary, from 0); None if it has no place.
        agent: whose doing the observation shows.
    """

    text: str
    source: str = ""
    line: int | None = None
    agent: str = ""

    @property
    def place(self) -> str:
        """Where does it stand: "trace.txt:812", "smmu-eventq.bin#3", or nothing?"""
        if not self.source or self.line is None:
            return self.source
        return f"{self.source}:{self.line}"

    def to_dict(self) -> dict[str, Any]:
        """What is the JSON form?"""
        return {
            "text": self.text,
            "source": self.source or None,
            "line": self.line,
            "agent": self.agent,
        }


@dataclass(slots=True)
class Finding:
    """What did a rule find?

    Attributes:
        rule: id of the rule.
        severity: "violation", "warning" or "note".
        agent: who is at fault, or who a warning or note is about.
        message: what is wrong, in one sentence.
        device: the DMA device it was seen on, if any.
        count: how many observations were folded into this finding.
        seen, expected: the two sides of it, with addresses and bits.
        evidence: some of the observations, the first ones first.
        hint: which release, setting or change mends it.
        source: where the rule comes from (kernel file, cover letter, specification).
        judged: (file, line) of what the finding judges beside its evidence: a report need not
            tell of these lines once more.
        readings: what may have happened ("the VMM did not map it"), where nothing decides between
            them: such a finding accuses nobody, and leaves the verdict open.
    """

    rule: str
    severity: Severity
    agent: Agent
    message: str
    device: str | None = None
    count: int = 1
    seen: str = ""
    expected: str = ""
    evidence: list[Evidence] = field(default_factory=list)
    hint: str = ""
    source: str = ""
    judged: set[tuple[str, int]] = field(default_factory=set)
    readings: list[str] = field(default_factory=list)

    def places(self) -> set[tuple[str, int]]:
        """Which (file, line) does it judge: its evidence's, and those of `judged`?"""
        shown = {(e.source, e.line) for e in self.evidence if e.source and e.line is not None}
        return self.judged | shown

    def to_dict(self) -> dict[str, Any]:
        """What is the JSON form?"""
        return {
            "rule": self.rule,
            "severity": self.severity,
            "agent": self.agent,
            "device": self.device,
            "count": self.count,
            "message": self.message,
            "seen": self.seen,
            "expected": self.expected,
            "evidence": [evidence.to_dict() for evidence in self.evidence],
            "hint": self.hint,
            "source": self.source,
            "readings": list(self.readings),
        }


@dataclass(frozen=True, slots=True)
class NotChecked:
    """Which rule could not be checked on this recording, and why?"""

    rule: str
    statement: str
    reason: str


@dataclass(frozen=True, slots=True)
class Unjudged:
    """Which kind of trouble did no finding judge?

    Attributes:
        kind: a name of `recording.trouble.TROUBLES`, the name of an SMMU event ("F_TRANSLATION"),
            or a kind of event that is trouble by itself ("swiotlb_full").
        tells: what it tells, one sentence.
        count: how many events no finding judges.
        first: the first of them.
    """

    kind: str
    tells: str
    count: int
    first: Evidence

    def to_dict(self) -> dict[str, Any]:
        """What is the JSON form?"""
        return {
            "kind": self.kind,
            "tells": self.tells,
            "count": self.count,
            "first": self.first.to_dict(),
        }


@dataclass(slots=True)
class Checked:
    """What did all rules say about one recording?

    Attributes:
        findings: worst first; identical ones are folded.
        not_checked: rules that lacked something, with what they lacked.
        unjudged: trouble that no finding judges, by kind.
        undecided: the readings that fit, of facts that nothing decides.
        damaged: files that could not be read whole, so that something may be missing.
        judged: there was something that a rule could judge.
    """

    findings: list[Finding]
    not_checked: list[NotChecked]
    unjudged: list[Unjudged] = field(default_factory=list)
    undecided: list[Reading] = field(default_factory=list)
    damaged: list[str] = field(default_factory=list)
    judged: bool = True

    @property
    def is_open(self) -> bool:
        """Is anything left of which nobody knows whether it is right?"""
        several = any(finding.readings for finding in self.findings)
        return bool(self.unjudged or self.undecided or self.damaged or several)

    @property
    def verdict(self) -> Verdict:
        """What does it say in all?"""
        return verdict_of([self])


def verdict_of(boots: Iterable[Checked]) -> Verdict:
    """What do the checks of all boots of a run say in all? Warnings and notes fail nothing."""
    boots = list(boots)
    if any(finding.severity == "violation" for boot in boots for finding in boot.findings):
        return Verdict.VIOLATION
    if any(boot.is_open for boot in boots) or not any(boot.judged for boot in boots):
        return Verdict.INCONCLUSIVE
    return Verdict.OK
