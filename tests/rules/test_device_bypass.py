"""M12: does every device get its addresses through the DMA API?"""

from __future__ import annotations

import dataclasses

import pytest

from rule_events import BUFFER, LOG, PAGE, POOL, REALM, S, dma_alloc, dma_map, smmu_event, trouble
from rule_findings import found
from topbit.events import Event
from topbit.recording import Platform

RING = BUFFER + 64 * PAGE
NIC = dma_map(device="nic")
REFUSED = smmu_event(RING, device="disk")
OLD = dataclasses.replace(LOG, kernel="6.14.1")


@pytest.mark.parametrize(
    ("platform", "events", "told"),
    [
        (LOG, [NIC, REFUSED], True),
        (LOG, [NIC, smmu_event(RING, device="disk", attrs="s1|IN")], True),
        (dataclasses.replace(LOG, kernel=None), [NIC, REFUSED], True),
        (OLD, [NIC, REFUSED], False),  # F2: this release gives plain addresses itself
        (LOG, [REFUSED], False),  # nothing was traced
        (LOG, [NIC, dma_alloc(), REFUSED], False),  # it maps
        (LOG, [NIC, smmu_event(RING | S, device="disk")], False),
        (LOG, [NIC, smmu_event(0x1000, device="disk")], False),
        (LOG, [NIC, smmu_event(RING, "F_PERMISSION", device="disk")], False),
        (LOG, [NIC, smmu_event(BUFFER, device="disk")], False),  # F2: another's buffer
        (REALM, [NIC, REFUSED], False),  # a machine that sees all: F2, F3
    ],
)
def test_a_plain_address_of_a_device_that_maps_nothing(
    platform: Platform, events: list[Event], told: bool
) -> None:
    findings = found("M12", platform, *events)
    assert bool(findings) == told
    if told:
        assert (findings[0].severity, findings[0].agent) == ("warning", "guest")
        assert found("F2", platform, *events) == []


@pytest.mark.parametrize(
    ("status", "agent"), [("virtio_refused", "vmm"), ("private_access", "guest")]
)
def test_what_logs_tell_of_it(status: str, agent: str) -> None:
    event = trouble(status, source="log", line=4, phys=POOL)
    (finding,) = found("M12", REALM, event, event)
    assert (finding.agent, finding.count, finding.severity) == (agent, 2, "warning")
    assert finding.places() == {("log", 4)}
    assert "VIRTIO_F_ACCESS_PLATFORM" in finding.hint
