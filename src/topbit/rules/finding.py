"""What is wrong, who chose it, what shows it, and what mends it?"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Literal, TypeAlias

from topbit.events import Agent

Severity: TypeAlias = Literal["violation", "warning", "note"]
SEVERITIES: tuple[Severity, ...] = ("violation", "warning", "note")
"""From worst to mildest. Only a violation fails a check."""


class Verdict(StrEnum):
    """What do all findings together say?"""

    OK = "ok"
    VIOLATION = "violation"

    @property
    def exit_status(self) -> int:
        """Which exit status tells it?"""
        return {Verdict.OK: 0, Verdict.VIOLATION: 1}[self]


def verdict_of(findings: Iterable[Finding]) -> Verdict:
    """Was any rule violated? Warnings and notes fail nothing."""
    violated = any(finding.severity == "violation" for finding in findings)
    return Verdict.VIOLATION if violated else Verdict.OK


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
            "evidence": [
                {"text": e.text, "source": e.source or None, "line": e.line, "agent": e.agent}
                for e in self.evidence
            ],
            "hint": self.hint,
            "source": self.source,
        }


@dataclass(frozen=True, slots=True)
class NotChecked:
    """Which rule could not be checked on this recording, and why?"""

    rule: str
    statement: str
    reason: str


@dataclass(slots=True)
class Checked:
    """What did all rules say about one recording?

    Attributes:
        findings: worst first; identical ones are folded.
        not_checked: rules that lacked something, with what they lacked.
    """

    findings: list[Finding]
    not_checked: list[NotChecked]

    @property
    def verdict(self) -> Verdict:
        """What do the findings say together?"""
        return verdict_of(self.findings)
