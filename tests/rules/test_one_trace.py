"""F14: which refused accesses came, in one ordered trace, after their address was given back?"""

from __future__ import annotations

import dataclasses

import pytest

from rule_events import LOG, PAGE, PLAIN, dma_alloc, dma_map, dma_unmap, smmu_event, trouble
from rule_findings import found, told
from topbit.events import Event
from topbit.recording import Recording
from topbit.rules import check

AT = 0xFE980000
FREE = Event("guest", "dma_free", device="disk", address=AT, size=PAGE)
FAULT = smmu_event(AT + 8, device="disk", sid=None, attrs=None)


def in_one_file(*events: Event, source: str = "trace.txt") -> list[Event]:
    return [
        dataclasses.replace(event, source=event.source or source, line=n, time=n / 1000)
        for n, event in enumerate(events)
    ]


@pytest.mark.parametrize(
    ("events", "late"),
    [
        ([dma_alloc(AT), FREE, FAULT], True),
        ([dma_map(AT), dma_unmap(AT), FAULT], True),
        ([dma_alloc(AT), FREE, trouble("amd_vi", address=AT, direction="w")], True),
        ([dma_alloc(AT), FREE, trouble("dmar", address=AT)], True),
        ([dma_alloc(AT), FREE, dma_alloc(AT), FREE, FAULT, FAULT], True),
        ([dma_alloc(AT), FAULT, FREE], False),
        ([dma_alloc(AT), FREE, dma_alloc(AT), FAULT], False),
        ([FREE, FAULT], False),  # mapped before the trace began, or never
        ([dma_alloc(AT), FREE, dataclasses.replace(FAULT, address=AT + PAGE)], False),
        ([dma_alloc(AT, device="nic"), dataclasses.replace(FREE, device="nic"), FAULT], False),
        ([dma_alloc(AT), FREE, dataclasses.replace(FAULT, status="F_PERMISSION")], False),
        ([dma_alloc(AT), FREE, trouble("timeout", address=AT)], False),
        ([dma_alloc(AT), FREE, dataclasses.replace(FAULT, source="dmesg")], False),
        ([dma_alloc(AT), FREE, dataclasses.replace(FAULT, device=None)], False),
    ],
)
def test_an_address_is_not_used_after_its_end(events: list[Event], late: bool) -> None:
    agents = [agent for agent, _, _ in told("F14", PLAIN, *in_one_file(*events))]
    assert agents == (["device"] if late else [])


def test_the_hosts_own_devices_are_told_of() -> None:
    own = [dataclasses.replace(each, agent="host") for each in (dma_alloc(AT), FREE)]
    (finding,) = found("F14", PLAIN, *in_one_file(*own, FAULT, FAULT))
    assert (finding.severity, finding.count) == ("violation", 2)
    assert finding.seen == f"0x{AT + 8:016x} was refused 1 ms after it was given back"
    assert finding.places() == {("trace.txt", n) for n in range(4)}


def test_of_a_realm_f3_tells_it() -> None:
    checked = check(Recording.of_events(LOG, in_one_file(dma_alloc(AT), FREE, FAULT)))
    assert "F14" not in {finding.rule for finding in checked.findings}
