"""DMA addresses of guests whose scheme has no attribute in them."""

from __future__ import annotations

import dataclasses

import pytest

from rule_events import POOL, REALM, dma_map
from rule_findings import found, told
from topbit.events import Event
from topbit.recording import DeviceFacts, Platform
from topbit.rules.bitless import BITLESS, can_be_seen

TDX = dataclasses.replace(REALM, scheme="intel-tdx", realm=False, ipa_bits=None, machine="log")
VIOMMU = dataclasses.replace(TDX, devices={"disk": DeviceFacts(behind_iommu=True)})
BIT = 1 << 47


@pytest.mark.parametrize("scheme", BITLESS)
def test_a_page_tables_bit_is_no_address(scheme: str) -> None:
    platform = dataclasses.replace(TDX, scheme=scheme)
    (finding,) = found("H5", platform, dma_map(POOL | BIT), dma_map(POOL + 64 | BIT))
    assert (finding.severity, finding.agent, finding.count) == ("violation", "guest", 2)
    assert "bit 47 set" in finding.seen
    assert f"0x{POOL:016x}" in finding.expected


@pytest.mark.parametrize(
    ("platform", "events"),
    [
        (TDX, [dma_map(POOL)]),
        (TDX, [dma_map(BIT)]),  # leads to no pool
        (TDX, [dma_map(POOL | BIT), dma_map(POOL)]),  # one wild address of a device
        (TDX, [dma_map(POOL | 1 << 31)]),
        (VIOMMU, [dma_map(POOL | BIT)]),
        (dataclasses.replace(TDX, ram=[(BIT, 1 << 40)]), [dma_map(POOL | BIT)]),
    ],
)
def test_what_is_no_such_bit(platform: Platform, events: list[Event]) -> None:
    assert told("H5", platform, *events) == []


def test_without_a_pool_nothing_can_be_seen() -> None:
    assert can_be_seen(TDX)
    assert not can_be_seen(dataclasses.replace(TDX, pools=[]))
    assert not can_be_seen(REALM)
