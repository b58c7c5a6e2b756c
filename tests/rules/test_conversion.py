"""V: which conversions went on although the device mapping failed?"""

from __future__ import annotations

import dataclasses

import pytest

from rule_events import (
    HOST,
    PAGE,
    POOL,
    REALM,
    S,
    convert,
    iommu_map,
    iommu_unmap,
)
from rule_findings import found, told
from topbit.events import Event
from topbit.recording import DeviceFacts

ALIAS = POOL | S
VMM = [("vmm", "disk", 1)]
EVERY = dataclasses.replace(iommu_map(ALIAS, HOST + POOL), sid=None)
UNKNOWN_SID = dataclasses.replace(REALM, devices={"disk": DeviceFacts()})


def shared(first: int, count: int = 1) -> Event:
    return convert(first, "shared", count * PAGE, pa=HOST + first)


# V7

FAILED_MAP = iommu_map(ALIAS, HOST, status="error")
FAILED_UNMAP = iommu_unmap(ALIAS, status="error")


@pytest.mark.parametrize(
    ("events", "expected"),
    [
        ([FAILED_MAP, convert(POOL, "shared")], VMM),
        ([FAILED_MAP, convert(POOL, "error")], []),
        ([FAILED_MAP, convert(POOL, "private")], []),
        ([FAILED_MAP, convert(POOL + PAGE, "shared")], []),
        ([FAILED_MAP, convert(POOL - PAGE, "shared")], []),
        ([FAILED_MAP, convert(POOL - PAGE, "shared", 2 * PAGE)], VMM),
        ([iommu_map(ALIAS - PAGE, HOST, 2 * PAGE, status="error"), convert(POOL, "shared")], VMM),
        ([iommu_map(ALIAS - PAGE, HOST, PAGE, status="error"), convert(POOL, "shared")], []),
        ([FAILED_MAP, iommu_map(ALIAS, HOST), convert(POOL, "shared")], []),
        ([FAILED_MAP, iommu_map(ALIAS + PAGE, HOST), convert(POOL, "shared")], VMM),
        ([FAILED_MAP, convert(POOL, "error"), convert(POOL, "shared")], []),
        ([convert(POOL, "shared"), FAILED_MAP], VMM),
        ([convert(POOL, "private"), FAILED_MAP], []),
        ([FAILED_UNMAP, convert(POOL, "private")], VMM),
        ([FAILED_UNMAP, convert(POOL, "shared")], []),
        ([convert(POOL, "private"), FAILED_UNMAP], VMM),
        ([convert(POOL, "shared"), convert(POOL, "private"), FAILED_MAP], []),
        ([iommu_map(ALIAS, HOST), convert(POOL, "shared")], []),
    ],
)
def test_a_conversion_fails_with_the_device_mapping(
    events: list[Event], expected: list[object]
) -> None:
    assert told("V7", REALM, *events) == expected


def test_what_failed_and_what_was_done_all_the_same() -> None:
    (finding,) = found("V7", REALM, FAILED_UNMAP, convert(POOL, "private"))
    assert finding.message == "the VMM made a page private although the device unmap failed"
    assert finding.seen == (
        f"IPA 0x{POOL:016x} became private; iommu_unmap at 0x{ALIAS:016x} had failed"
    )
    assert len(finding.evidence) == 2
    (finding,) = found("V7", REALM, FAILED_MAP, convert(POOL, "shared"))
    assert finding.message == "the VMM made a page shared although the device map failed"
