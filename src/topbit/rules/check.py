"""What do all rules say about a recording?"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor

from topbit.recording import Recording
from topbit.replay.columns import usable
from topbit.rules import (
    accesses,
    bounces,
    conversion,
    device_bypass,
    dma_debug,
    dma_helpers,
    emulated,
    faults,
    host_pages,
    mapping_life,
    mappings,
    one_trace,
    page_states,
    pages,
    protection,
    rmm,
    smmu,
    streams,
    swiotlb,
    tables,
    transfers,
    trusted,
    vmm,
    wide_ipa,
)
from topbit.rules.finding import SEVERITIES, Checked, Finding, NotChecked
from topbit.rules.open_facts import OpenFacts
from topbit.rules.rule import RULES, Rule
from topbit.rules.unjudged import unjudged

FAMILIES = (
    accesses,
    rmm,
    faults,
    tables,
    protection,
    one_trace,
    streams,
    wide_ipa,
    dma_helpers,
    vmm,
    conversion,
    emulated,
    smmu,
    trusted,
    mappings,
    mapping_life,
    bounces,
    dma_debug,
    device_bypass,
    pages,
    page_states,
    host_pages,
    transfers,
    swiotlb,
)
"""The modules that hold rules, in the order in which their findings are told."""

MANY = 1 << 12
"""Events from which on rules are asked at the same time: most of it is work of NumPy and polars."""
AT_ONCE = 2
"""So many of them: what a rule makes of a long recording takes memory while it is asked."""
SLOWEST = ("M7",)
"""The others are asked meanwhile."""

MAX_EVIDENCE = 8
"""How many observations a folded finding keeps; its count counts them all."""


def check(recording: Recording) -> Checked:
    """Which conventions were broken, which could not be checked, and what did no rule judge?"""
    everything, recording = recording, usable(recording)
    findings: list[Finding] = []
    not_checked: list[NotChecked] = []
    judged = False
    open_facts = OpenFacts(recording)
    for rule, lack, found in _asked(recording):
        if lack:
            not_checked.append(NotChecked(rule.id, rule.statement, lack))
            continue
        # A rule without needs looks for what must not be there: silence tells it nothing.
        judged = judged or bool(rule.needs)
        for finding in found:
            finding.source = finding.source or rule.source
            open_facts.lower(rule, finding)
            findings.append(finding)
    left = unjudged(everything, findings)
    folded = fold(findings)
    folded.sort(key=lambda finding: SEVERITIES.index(finding.severity))
    judged = judged or bool(findings or left)
    platform = recording.platform
    # Of a folder, what is no log or trace was not asked for.
    damaged = [file.name for file in platform.files if file.damage and file.kind != "other"]
    return Checked(folded, not_checked, left, platform.readings, damaged, judged)


def _asked(recording: Recording) -> Iterator[tuple[Rule, str, list[Finding]]]:
    """What does the recording lack for each rule, and if nothing, what does the rule find?"""

    def ask(rule: Rule) -> tuple[Rule, str, list[Finding]]:
        lack = rule.lacks(recording)
        return rule, lack, [] if lack else list(rule.check(recording))

    rules = in_order()
    if len(recording.frame) < MANY:
        yield from map(ask, rules)
        return
    with ThreadPoolExecutor(AT_ONCE) as pool:
        slowest_first = sorted(rules, key=lambda rule: rule.id not in SLOWEST)
        asked = {rule.id: pool.submit(ask, rule) for rule in slowest_first}
        yield from (asked[rule.id].result() for rule in rules)


def in_order() -> list[Rule]:
    """Which rules are there, family by family?"""
    family = {module.__name__: place for place, module in enumerate(FAMILIES)}
    return sorted(RULES.values(), key=lambda rule: family[rule.check.__module__])


def fold(findings: Iterable[Finding]) -> list[Finding]:
    """Which different findings are there, each with its whole count?"""
    by_key: dict[tuple[str, str, str, str | None, str], Finding] = {}
    for finding in findings:
        key = (finding.rule, finding.severity, finding.agent, finding.device, finding.message)
        known = by_key.setdefault(key, finding)
        if known is not finding:
            known.judged |= finding.places()
            known.count += finding.count
            known.evidence = list(dict.fromkeys(known.evidence + finding.evidence))[:MAX_EVIDENCE]
    return list(by_key.values())
