"""What did one rule find in a list of events?"""

from __future__ import annotations

from topbit.events import Event
from topbit.recording import Platform, Recording
from topbit.rules import check
from topbit.rules.finding import Finding


def found(rule: str, platform: Platform, *events: Event) -> list[Finding]:
    """The rule's findings, folded as `check` folds them."""
    checked = check(Recording.of_events(platform, events))
    assert rule not in {each.rule for each in checked.not_checked}, "the rule must be able to judge"
    return [finding for finding in checked.findings if finding.rule == rule]


def told(rule: str, platform: Platform, *events: Event) -> list[tuple[str, str | None, int]]:
    """Who is at fault, on which device, how often: of each of the rule's findings."""
    findings = found(rule, platform, *events)
    return [(finding.agent, finding.device, finding.count) for finding in findings]


def blame(agent: str, count: int = 1, device: str | None = "disk") -> list[object]:
    """What `told` gives where one agent is found to be at fault."""
    return [(agent, device, count)]


NOBODY: list[object] = []
