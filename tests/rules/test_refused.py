"""What do findings about refused accesses tell, and of whom is everything known?"""

from __future__ import annotations

import pytest

from rule_events import (
    LOG,
    LOG_LOST,
    LOST,
    POOL,
    REALM,
    S,
    access,
    dma_alloc,
    dma_map,
    smmu_event,
)
from topbit.events import Event
from topbit.recording import Platform, Recording
from topbit.replay.faults import fault_rows, faults
from topbit.rules.refused import by_trusted_device, is_traced, refusal

ALIAS = POOL | S
FAULT = smmu_event(ALIAS)


def test_a_finding_shows_the_refusal_and_its_mapping() -> None:
    recording = Recording.of_events(REALM, [dma_map(), FAULT, FAULT])
    row = fault_rows(recording).row(0, named=True)
    made = refusal(recording, row, "F1", "vmm", "wrong", expected="right", hint="do")
    assert (made.rule, made.severity, made.agent, made.message) == (
        "F1",
        "violation",
        "vmm",
        "wrong",
    )
    assert (made.device, made.count, made.expected, made.hint) == ("disk", 2, "right", "do")
    assert made.seen.startswith(f"disk (StreamID 0x10) read 0x{ALIAS:016x}")
    assert [each.agent for each in made.evidence] == ["smmu"]
    mapping = recording.row(0)
    more = refusal(
        recording, row, "F1", "vmm", "", expected="", hint="", mapping=mapping, severity="warning"
    )
    assert more.severity == "warning"
    assert [each.agent for each in more.evidence] == ["smmu", "guest"]


@pytest.mark.parametrize(
    ("event", "trusted"),
    [
        (access(ALIAS), False),
        (access(ALIAS, device="tdisp", sid=None), True),
        (smmu_event(ALIAS, sid=0x20), True),
        (smmu_event(ALIAS, sid=0x99), False),
        (smmu_event(ALIAS, sid=None), False),
    ],
)
def test_a_device_is_trusted_by_name_or_stream(event: Event, trusted: bool) -> None:
    recording = Recording.of_events(REALM, [event])
    assert by_trusted_device(recording, recording.row(0)) is trusted


@pytest.mark.parametrize(
    ("platform", "traced", "known"),
    [
        (REALM, [dma_map()], True),
        (REALM, [dma_map(device="narrow")], True),
        (REALM, [], False),
        (LOST, [dma_map()], False),
        (LOG, [dma_alloc()], True),  # allocations are made by a probe
        (LOG, [dma_map()], False),
        (LOG, [dma_alloc(device="narrow")], False),
        (LOG_LOST, [dma_alloc()], False),
    ],
)
def test_whether_a_trace_tells_everything_of_a_device(
    platform: Platform, traced: list[Event], known: bool
) -> None:
    recording = Recording.of_events(platform, [*traced, FAULT])
    (fault,) = faults(recording)
    assert is_traced(recording, fault) is known
