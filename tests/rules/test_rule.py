"""How is a rule registered, and what can a recording lack for it?"""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Iterator

import pytest

from rule_events import PLAIN, REALM, UNKNOWN_WIDTH, S, dma_map
from topbit.events import Event
from topbit.recording import Platform, Recording
from topbit.rules.finding import Finding
from topbit.rules.rule import (
    RULES,
    Need,
    Rule,
    a_realm,
    any_event,
    guest_ram,
    one_clock,
    rule,
    sees_faults,
    the_shared_bit,
    told_the_truth,
    whole_trace,
)


def lack(need: Need, platform: Platform, *events: Event) -> str:
    return need(Recording.of_events(platform, events))


def changed(**facts: object) -> Platform:
    return dataclasses.replace(REALM, **facts)  # type: ignore[arg-type]


TOLD = Event("rmm", "realm_config", address=S)
LIE = Event("rmm", "realm_config", address=S >> 1)
LOG = changed(machine="log")


@pytest.mark.parametrize(
    ("need", "platform", "events", "says"),
    [
        (one_clock, REALM, [], ""),
        (one_clock, changed(one_clock=False), [], "in which order host and guest acted"),
        (any_event("dma_map", "dma_alloc"), REALM, [dma_map()], ""),
        (any_event("dma_map", "dma_alloc"), REALM, [], "no dma_map or dma_alloc event was"),
        (any_event("dma_map"), REALM, [TOLD], "no dma_map event was recorded"),
        (whole_trace, REALM, [], ""),
        (whole_trace, changed(lost_events=7), [], "the trace lost 7 events"),
        (a_realm, REALM, [], ""),
        (a_realm, PLAIN, [], "the scheme is none, which has no shared bit"),
        (a_realm, changed(realm=None), [], "nothing tells whether the guest is a Realm"),
        (a_realm, changed(realm=False), [], "the guest is no Realm"),
        (the_shared_bit, REALM, [], ""),
        (the_shared_bit, UNKNOWN_WIDTH, [], "the width of the IPA space is not known"),
        (the_shared_bit, REALM, [LIE], "the RMM told the Realm another shared bit"),
        (told_the_truth, REALM, [TOLD, TOLD], ""),
        (told_the_truth, REALM, [TOLD, LIE], "the RMM told the Realm another shared bit"),
        (guest_ram, REALM, [], ""),
        (guest_ram, changed(ram=[]), [], "nothing tells where the guest's RAM lies"),
        (sees_faults, REALM, [], ""),
        (sees_faults, changed(machine="qemu"), [], ""),
        (sees_faults, LOG, [], "no device access and no SMMU event was recorded"),
        *((sees_faults, LOG, [Event("smmu", kind)], "") for kind in (
            "access", "smmu_event", "smmu_lost")),
    ],
)  # fmt: skip
def test_what_a_recording_lacks(
    need: Need, platform: Platform, events: list[Event], says: str
) -> None:
    said = lack(need, platform, *events)
    assert says in said
    assert bool(said) == bool(says)


@pytest.fixture
def rules() -> Iterator[dict[str, Rule]]:
    """An empty register; the true one comes back afterwards."""
    known = dict(RULES)
    RULES.clear()
    yield RULES
    RULES.clear()
    RULES.update(known)


def test_a_rule_is_registered_once(rules: dict[str, Rule]) -> None:
    def nothing(recording: Recording) -> Iterator[Finding]:
        yield from ()

    kept = rule("X1", "A statement.", source="a book", needs=[a_realm])(nothing)
    made = RULES["X1"]
    assert (made.id, made.statement, made.source) == ("X1", "A statement.", "a book")
    assert (made.needs, made.former) == ((a_realm,), "")
    assert kept is inspect.unwrap(made.check) is nothing
    assert made.check.__module__ == nothing.__module__
    with pytest.raises(ValueError, match="two rules are called X1"):
        rule("X1", "Another.", source="a book")(nothing)
    assert list(rules) == ["X1"]


def test_the_first_need_that_is_not_met_is_told(rules: dict[str, Rule]) -> None:
    def nothing(recording: Recording) -> Iterator[Finding]:
        yield from ()

    rule("X1", "A statement.", source="a book", needs=[a_realm, one_clock, guest_ram])(nothing)
    assert RULES["X1"].lacks(Recording.of_events(REALM, [])) == ""
    lacking = Recording.of_events(changed(one_clock=False, ram=[]), [])
    assert "order" in RULES["X1"].lacks(lacking)


@pytest.mark.parametrize("name", ["M7", "P1", "V1"])
def test_what_needs_every_event_of_the_guest_judges_no_trace_that_lost_some(name: str) -> None:
    """A lost free makes a mapping live for ever, and spoils the clock that host and guest share."""
    reasons = [need(Recording.of_events(changed(lost_events=7), [])) for need in RULES[name].needs]
    assert "the trace lost 7 events" in reasons
