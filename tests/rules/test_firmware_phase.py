"""F2: was a refused plain address one that firmware gave the device?"""

from __future__ import annotations

import dataclasses

import pytest

from rule_events import BUFFER, LOG, PAGE, REALM, S, access, dma_alloc, dma_map, smmu_event
from rule_findings import found, told
from topbit.events import Event
from topbit.recording import FileFacts, Platform

UEFI = dataclasses.replace(LOG, files=[FileFacts("uefi.txt", role="firmware")])
ORDERED = dataclasses.replace(REALM, files=[FileFacts("uefi.txt", role="firmware")])
AT = BUFFER + 64 * PAGE


@pytest.mark.parametrize(
    ("platform", "events", "agent"),
    [
        (UEFI, [smmu_event(AT)], "firmware"),
        (UEFI, [dma_alloc(), smmu_event(AT)], "firmware"),
        (UEFI, [dma_map(device="nic"), smmu_event(AT, device="disk")], "firmware"),
        (ORDERED, [access(AT), dma_map()], "firmware"),
        (dataclasses.replace(UEFI, kernel="6.14.1"), [smmu_event(AT)], "guest"),
        (UEFI, [dma_map(phys=AT), smmu_event(AT)], "guest"),  # past the DMA API
        (UEFI, [dma_map(AT), smmu_event(AT)], "guest"),
        (LOG, [smmu_event(AT)], "guest"),  # no firmware left a log
    ],
)
def test_who_gave_a_plain_address(platform: Platform, events: list[Event], agent: str) -> None:
    (finding,) = found("F2", platform, *events)
    assert finding.agent == agent
    assert (finding.severity == "warning") == (agent == "firmware")
    for other in ("F3", "M12"):
        assert found(other, platform, *events) == []


@pytest.mark.parametrize("address", [AT | S, 0x1000])
def test_other_addresses_are_no_firmwares(address: int) -> None:
    assert "firmware" not in {agent for agent, _, _ in told("F2", UEFI, smmu_event(address))}


def test_after_the_kernels_first_mapping_it_is_the_kernels_time() -> None:
    assert [f.agent for f in found("F2", ORDERED, dma_map(), access(AT))] == []
    assert [f.agent for f in found("F3", ORDERED, dma_map(), access(AT))] == ["device"]
