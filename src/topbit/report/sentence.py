"""Which one sentence tells the verdict?"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from topbit.report.boot import BootReport
from topbit.rules.finding import Finding, Verdict, verdict_of
from topbit.rules.rule import RULES

AGENT_NAMES = {"vmm": "VMM", "rmm": "RMM", "smmu": "SMMU"}
"""How agents are written whose names are abbreviations."""
FACTS = {
    "realm": "whether it is a Realm",
    "scheme": "which scheme it has",
    "ipa_bits": "how wide its IPA space is",
}


def verdict_sentence(boots: Sequence[BootReport]) -> str:
    """What is the verdict on all boots of a run, in one sentence without a full stop?"""
    verdict = verdict_of(boot.checked for boot in boots)
    findings = [finding for boot in boots for finding in boot.checked.findings]
    unfinished = boots[-1].platform.unfinished
    if verdict is Verdict.VIOLATION:
        parts = [f"VIOLATION: {_broken(findings)}"]
        if unfinished:
            parts.append("the run did not come to its end")
        parts += _unjudged(boots)
    elif unfinished:
        parts = ["UNFINISHED: no violation, but the guest did not do all of its work"]
    elif verdict is Verdict.INCONCLUSIVE:
        parts = [f"INCONCLUSIVE: no violation, but {_and(_open(boots))}"]
    else:
        lacking = {entry.rule for entry in boots[-1].checked.not_checked}
        parts = [
            f"OK: no violation; {len(RULES) - len(lacking)} of {len(RULES)} rules were checked"
        ]
    for severity in ("warning", "note"):
        count = sum(finding.severity == severity for finding in findings)
        if count:
            parts.append(f"{count} {severity}{'s' * (count != 1)}")
    return "; ".join(parts)


def agent_name(agent: str) -> str:
    """How is an agent written for people?"""
    return AGENT_NAMES.get(agent, agent)


def _broken(findings: Sequence[Finding]) -> str:
    """Who broke which rules?"""
    by_agent: dict[str, dict[str, None]] = {}
    for finding in findings:
        if finding.severity == "violation":
            by_agent.setdefault(finding.agent, {})[finding.rule] = None
    return "; ".join(f"the {agent_name(who)} broke {_and(ids)}" for who, ids in by_agent.items())


def _open(boots: Sequence[BootReport]) -> list[str]:
    """What leaves a verdict open?"""
    if not any(boot.checked.judged for boot in boots):
        return ["nothing in it could be judged"]
    why = _unjudged(boots)
    facts = dict.fromkeys(reading.fact for boot in boots for reading in boot.checked.undecided)
    if facts:
        why.append(f"nothing decides {_and(FACTS.get(fact, fact) for fact in facts)}")
    damaged = {name for boot in boots for name in boot.checked.damaged}
    if damaged:
        why.append(f"{len(damaged)} file{'s' * (len(damaged) != 1)} could not be read whole")
    count = sum(bool(f.readings) for boot in boots for f in boot.checked.findings)
    if count:
        why.append(f"{count} finding{'s have' if count != 1 else ' has'} several readings")
    return why


def _unjudged(boots: Sequence[BootReport]) -> list[str]:
    count = sum(kind.count for boot in boots for kind in boot.checked.unjudged)
    return [f"{count} sign{'s' * (count != 1)} of trouble judged by no rule"] * bool(count)


def _and(words: Iterable[str]) -> str:
    *first, last = words
    return f"{', '.join(first)} and {last}" if first else last
