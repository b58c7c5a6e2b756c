"""How did each rule end, for the forms that know test cases?

A rule is a test case. Two more say what fails a run beside the rules, so that no such form shows
success where the exit status is another.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum

from topbit.errors import printable
from topbit.report.boot import BootReport
from topbit.report.text_form import finding_lines
from topbit.rules.check import in_order
from topbit.rules.finding import Finding

FINISHED = "run-finished"
"""Id of the case that fails when the guest of a run did not do all of its work."""
JUDGED = "trouble-judged"
"""Id of the case that is open when the verdict is inconclusive."""


class Outcome(StrEnum):
    """How did a case end?"""

    PASSED = "passed"
    FAILED = "failed"
    SKIPPED = "skipped"
    OPEN = "open"  # nobody knows


@dataclass(frozen=True, slots=True)
class Case:
    """How did one case end, and why?

    Attributes:
        id: of the rule.
        statement: what is to hold.
        family: the module of the rule, such as "vmm".
        outcome: how it ended; warnings and notes fail nothing.
        findings: what the rule found, warnings and notes with it.
        reason: why it was skipped, or failed without a finding.
        source: where the rule comes from.
    """

    id: str
    statement: str
    family: str
    outcome: Outcome
    findings: tuple[Finding, ...] = ()
    reason: str = ""
    source: str = ""

    @property
    def lines(self) -> list[str]:
        """What is there to say about it, in lines that nothing hostile can break?"""
        told = [line for finding in self.findings for line in finding_lines(finding)]
        return [printable(line) for line in ([self.reason] if self.reason else []) + told]

    @property
    def message(self) -> str:
        """What is there to say about it, in one line? Of a failure, what was violated."""
        if self.reason:
            return printable(self.reason)
        messages = dict.fromkeys(
            f"{finding.message} ({finding.device})" if finding.device else finding.message
            for finding in self.findings
            if finding.severity == "violation"
        )
        return printable("; ".join(messages))


def cases(boots: Sequence[BootReport]) -> list[list[Case]]:
    """Which cases has each boot? Every rule's, in their order, and what fails a run besides."""
    anything = any(boot.checked.judged for boot in boots)
    return [[*_rules(boot), *_finished(boot), _judged(boot, anything)] for boot in boots]


def _rules(boot: BootReport) -> Iterator[Case]:
    lacking = {entry.rule: entry.reason for entry in boot.checked.not_checked}
    found: dict[str, list[Finding]] = {}
    for finding in boot.checked.findings:
        found.setdefault(finding.rule, []).append(finding)
    for rule in in_order():
        findings = tuple(found.get(rule.id, ()))
        if any(finding.severity == "violation" for finding in findings):
            outcome = Outcome.FAILED
        else:
            outcome = Outcome.SKIPPED if rule.id in lacking else Outcome.PASSED
        family = rule.check.__module__.rpartition(".")[2]
        reason = lacking.get(rule.id, "")
        yield Case(rule.id, rule.statement, family, outcome, findings, reason, rule.source)


def _judged(boot: BootReport, anything: bool) -> Case:
    """Was all trouble judged? `anything`: there was something to judge in any boot."""
    checked = boot.checked
    told = [
        *(f"{kind.tells} ({kind.count} times)" for kind in checked.unjudged),
        *(f"{fact.fact} {fact.value}: {fact.why}" for fact in checked.undecided),
        *(f"{name} could not be read whole" for name in checked.damaged),
        *(f"{f.message}: {' or '.join(f.readings)}" for f in checked.findings if f.readings),
        *(["nothing could be judged"] if not anything else []),
    ]
    otherwise = Outcome.PASSED if checked.judged else Outcome.SKIPPED
    outcome = Outcome.OPEN if told else otherwise
    reason = "; ".join(told) or ("" if checked.judged else "nothing could be judged")
    statement = "All trouble that was read is judged, and there was something to judge."
    return Case(JUDGED, statement, "input", outcome, reason=reason)


def _finished(boot: BootReport) -> list[Case]:
    """Did the guest do all of its work? Of a run only; a log does not tell."""
    if boot.platform.machine == "log":
        return []
    reason = boot.platform.unfinished
    outcome = Outcome.FAILED if reason else Outcome.PASSED
    statement = "The guest comes to the end of its work."
    return [Case(FINISHED, statement, "run", outcome, reason=reason)]


def boot_name(boots: Sequence[BootReport], number: int) -> str:
    """How is a boot called that stands at this place, from 1: "boot-2", or "boot" if alone?"""
    return f"boot-{number}" if len(boots) > 1 else "boot"


def count(made: Sequence[Case], *outcomes: Outcome) -> int:
    """How many of the cases ended so?"""
    return sum(case.outcome in outcomes for case in made)


def good(made: Sequence[Case]) -> bool:
    """Did none of the cases fail or stay open?"""
    return not count(made, Outcome.FAILED, Outcome.OPEN)
