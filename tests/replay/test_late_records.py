"""What may a record of the SMMU be about that was over when it was collected?"""

from __future__ import annotations

import dataclasses

import pytest

from rule_events import (
    HOST,
    LOG,
    PAGE,
    POOL,
    REALM,
    SHARED,
    S,
    access,
    convert,
    dma_alloc,
    dma_map,
    dma_unmap,
    iommu_map,
    smmu_event,
)
from topbit.events import Event
from topbit.recording import Platform, Recording
from topbit.replay.faults import fault_rows
from topbit.replay.late_records import may_precede_unmap, was_never_mapped
from topbit.replay.refusals import LATE

ALIAS = POOL | S
GIVEN = [dma_map(), dma_unmap()]
RECORD = smmu_event(ALIAS + 0x800)
FREED = dataclasses.replace(dma_unmap(), event="dma_free")
OTHERS = iommu_map(ALIAS, HOST, sid=0x30)


def at(time: float, event: Event) -> Event:
    return dataclasses.replace(event, time=time)


@pytest.mark.parametrize(
    ("platform", "events", "expected"),
    [
        (REALM, [*GIVEN, RECORD], True),  # when, nothing tells
        (REALM, [dma_alloc(ALIAS), FREED, RECORD], True),
        (REALM, [*GIVEN, smmu_event(POOL)], True),
        (REALM, [dma_map(), at(1.0, dma_unmap()), at(1.0 + LATE, RECORD)], True),
        (REALM, [dma_map(), at(1.0, dma_unmap()), at(1.1 + LATE, RECORD)], False),
        (REALM, [dma_map(), at(1.0, dma_unmap()), RECORD], True),
        (REALM, [dma_map(), dma_unmap(), at(9.0, RECORD)], True),
        # The last one counts, wherever in the page it is.
        (REALM, [at(1.0, dma_unmap(ALIAS + 0x800)), at(8.0, dma_unmap()), at(9.0, RECORD)], True),
        (REALM, [at(1.0, dma_unmap()), at(9.0, RECORD), at(9.5, dma_unmap())], False),
        (REALM, [dma_map(), RECORD, dma_unmap()], False),
        (REALM, [dma_map(ALIAS + PAGE), dma_unmap(ALIAS + PAGE), RECORD], False),
        (REALM, [*GIVEN, access(ALIAS)], False),
        (REALM, [*GIVEN, smmu_event(ALIAS, "C_BAD_STE")], True),
        (LOG, [*GIVEN, RECORD], False),
    ],
)
def test_an_access_before_the_unmap_that_its_record_follows(
    platform: Platform, events: list[Event], expected: bool
) -> None:
    recording = Recording.of_events(platform, events)
    (row,) = fault_rows(recording).iter_rows(named=True)
    assert may_precede_unmap(recording, row) is expected


@pytest.mark.parametrize(
    ("events", "expected"),
    [
        ([OTHERS, *GIVEN, RECORD], True),
        ([convert(POOL, "shared"), *GIVEN, RECORD], True),
        ([iommu_map(POOL, HOST), iommu_map(ALIAS + PAGE, HOST), *GIVEN, RECORD], True),
        ([*GIVEN, RECORD, SHARED[1]], True),
        ([*GIVEN, RECORD], False),  # what the VMM maps is not known
        ([SHARED[1], *GIVEN, RECORD], False),
        ([iommu_map(ALIAS - PAGE, HOST, size=2 * PAGE), *GIVEN, RECORD], False),
        ([dataclasses.replace(SHARED[1], sid=None), *GIVEN, RECORD], False),
        ([dataclasses.replace(SHARED[1], status="error"), *GIVEN, RECORD], False),
        ([OTHERS, *GIVEN, dataclasses.replace(RECORD, sid=None)], False),  # whose, nothing tells
        ([OTHERS, dma_map(), RECORD, dma_unmap()], False),
        ([OTHERS, *GIVEN, access(ALIAS)], False),
    ],
)
def test_a_page_that_the_vmm_had_never_mapped(events: list[Event], expected: bool) -> None:
    recording = Recording.of_events(REALM, events)
    (row,) = fault_rows(recording).iter_rows(named=True)
    assert was_never_mapped(recording, row) is expected


def test_each_record_is_asked_for_itself() -> None:
    other = ALIAS + 8 * PAGE
    events = [SHARED[1], *GIVEN, dma_map(other), dma_unmap(other), RECORD, smmu_event(other)]
    recording = Recording.of_events(REALM, events)
    rows = fault_rows(recording).iter_rows(named=True)
    assert [was_never_mapped(recording, row) for row in rows] == [False, True]
