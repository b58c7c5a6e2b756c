"""V: which addresses does the VMM use for the devices that it serves?"""

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
)
from rule_findings import found
from topbit.events import Event
from topbit.recording import DeviceFacts

ALIAS = POOL | S
VMM = [("vmm", "disk", 1)]
EVERY = dataclasses.replace(iommu_map(ALIAS, HOST + POOL), sid=None)
UNKNOWN_SID = dataclasses.replace(REALM, devices={"disk": DeviceFacts()})


def shared(first: int, count: int = 1) -> Event:
    return convert(first, "shared", count * PAGE, pa=HOST + first)


# V8


def used(phys: int | None, address: int = ALIAS, status: str = "ok", attrs: str = "") -> Event:
    return Event(
        "vmm", "vmm_dma", "virtio", address=address, phys=phys, status=status, attrs=attrs or None
    )


@pytest.mark.parametrize(
    ("event", "expected"),
    [
        (used(POOL), []),
        (used(POOL, attrs="shared"), []),
        (used(POOL, POOL, attrs="shared"), []),
        (used(ALIAS, status="unmapped"), "did not mask the shared bit"),
        (used(None, status="unmapped"), "did not mask the shared bit"),
        (used(POOL, attrs="private"), "served an emulated device from private memory"),
        (used(POOL, status="private", attrs="private"), []),
        (used(ALIAS, POOL, status="unmapped"), []),
    ],
)
def test_an_emulated_device_uses_the_masked_address(event: Event, expected: object) -> None:
    findings = found("V8", REALM, event)
    if not expected:
        assert findings == []
        return
    (finding,) = findings
    assert str(expected) in finding.message
    where = ALIAS if event.phys is None else event.phys
    assert finding.seen == (f"0x{ALIAS:016x} used as guest address 0x{where:016x}: {event.status}")
    masked = "mask" in finding.message
    assert (finding.expected == f"guest address 0x{POOL:016x}") == masked
