"""A: did what went through go where it may?"""

from __future__ import annotations

import dataclasses

import pytest

from rule_events import (
    BUFFER,
    DOORBELL,
    HOST,
    INTERRUPTS,
    PAGE,
    POOL,
    REALM,
    SHARED,
    S,
    access,
    dma_alloc,
    dma_map,
    dma_unmap,
    iommu_map,
    iommu_unmap,
)
from rule_findings import found, told
from topbit.events import Event

ALIAS = POOL | S
VMM, DEVICE = [("vmm", "disk", 1)], [("device", "disk", 1)]


def through(address: int = ALIAS, direction: str = "r", **more: object) -> Event:
    return access(address, "ok", direction, attrs="shared", **more)


@pytest.mark.parametrize(
    ("events", "expected"),
    [
        ([*SHARED, through()], []),
        ([*SHARED, through(ALIAS + PAGE - 64)], []),
        ([*SHARED, through(ALIAS + PAGE - 63)], VMM),
        ([*SHARED, iommu_unmap(ALIAS), through()], VMM),
        ([*SHARED, iommu_unmap(ALIAS), access(ALIAS, "GPF")], VMM),
        ([*SHARED, iommu_unmap(ALIAS), access(ALIAS)], []),
        ([*SHARED, iommu_unmap(ALIAS), access(ALIAS, "terminated")], []),
        ([*SHARED, through(), iommu_unmap(ALIAS)], []),
        ([*SHARED, iommu_unmap(ALIAS), through(device="tdisp", sid=0x20)], []),
        ([iommu_map(ALIAS, HOST, sid=0x30), through()], []),  # of this stream nothing was told
        ([*SHARED, iommu_unmap(ALIAS), iommu_map(ALIAS, HOST), through()], []),
        ([*SHARED, iommu_unmap(ALIAS),
          dataclasses.replace(iommu_map(ALIAS, HOST), sid=None), through()], []),
    ],
)  # fmt: skip
def test_a1_no_translation_is_used_that_was_removed(
    events: list[Event], expected: list[object]
) -> None:
    assert told("A1", REALM, *events) == expected


def test_a1_tells_how_the_access_ended() -> None:
    (finding,) = found("A1", REALM, *SHARED, iommu_unmap(ALIAS), access(ALIAS, "GPF"))
    assert finding.seen == f"0x{ALIAS:016x} was translated (GPF); no mapping of it is left"
    assert "CMD_TLBI_S2_IPA" in finding.hint


@pytest.mark.parametrize(
    ("events", "expected"),
    [
        ([dma_map(), through()], []),
        ([dma_map(), through(ALIAS + 63)], []),
        ([dma_map(), through(ALIAS + 64)], DEVICE),
        ([dma_map(), dma_unmap(), through()], DEVICE),
        ([dma_map(), through(), dma_unmap()], []),
        ([dma_map(), dma_unmap(), access(ALIAS)], []),
        ([dma_map(), dma_unmap(), access(ALIAS, "GPF")], []),
        ([dma_map(), through(DOORBELL, "w")], []),
        ([dma_map(), through((DOORBELL & ~0xFFF) + PAGE, "w")], DEVICE),
        ([dma_alloc(), through(BUFFER | S)], []),
    ],
)
def test_a2_memory_is_touched_through_mapped_addresses(
    events: list[Event], expected: list[object]
) -> None:
    assert told("A2", INTERRUPTS, *events) == expected


@pytest.mark.parametrize(("direction", "verb"), [("w", "wrote to"), ("r", "read")])
def test_a2_tells_what_the_device_did(direction: str, verb: str) -> None:
    (finding,) = found("A2", REALM, dma_map(), through(BUFFER | S, direction))
    assert finding.message.startswith(f"the device {verb} memory through an address")
    assert finding.seen == f"64 bytes at 0x{BUFFER | S:016x}, and the SMMU let it through"


def test_a2_says_nothing_where_a_map_may_be_missing_from_the_trace() -> None:
    lost = dataclasses.replace(INTERRUPTS, lost_events=1)
    assert told("A2", lost, dma_map(), dma_unmap(), through()) == []
