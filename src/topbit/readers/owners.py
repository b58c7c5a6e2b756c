"""Which events of a run are whose, once it is known whose each file is?

A host's trace holds the DMA of the host's own devices beside the mappings that the VMM makes for
the guest's. The IOMMU's events name no domain: those whose IOVAs the host itself gave to a device
are its own, all others are taken for the VMM's.
"""

from __future__ import annotations

from bisect import bisect_left

from topbit.events import Agent, Event
from topbit.readers.boot import Boot
from topbit.recording import Platform

AGENTS: dict[str, Agent] = {
    "guest": "guest",
    "host": "host",
    "vmm": "vmm",
    "firmware": "firmware",
}
DMA = ("dma_", "swiotlb_")
IOMMU = ("iommu_map", "iommu_unmap")


def assign(boot: Boot, role: str) -> set[str]:
    """Say of each event of a file whose it is.

    Returns:
        the devices that the guest's own IOMMU stands before, going by its trace.
    """
    agent = AGENTS.get(role)
    own = _own_addresses(boot.events) if role in ("guest", "host") else []
    behind: set[str] = set()
    host_maps: list[tuple[int, int]] = []
    for event in boot.events:
        if event.event == "trouble":
            if agent is not None and event.agent == "guest":
                event.agent = agent
        elif event.event.startswith(DMA):
            if role == "host":
                event.agent = "host"
        elif event.event in IOMMU and event.detail is None:
            # A VMM's own trace lines keep what they say in `detail`.
            if role == "guest":
                event.agent = "guest"
                behind |= _devices_in(own, event)
            elif _is_own(event, boot, own, host_maps):
                event.agent = "host"
    return behind


def _is_own(
    event: Event, boot: Boot, own: list[tuple[int, str]], maps: list[tuple[int, int]]
) -> bool:
    """Does a host's IOMMU event concern one of its own devices? `maps`: those so far, added to."""
    start = event.address or 0
    task = boot.tasks.get(event.line or 0)
    if event.event == "iommu_unmap":
        size = event.size or 0
        return any(base < start + size and start < base + length for base, length in maps[-64:])
    if task == "kernel" or (task != "vmm" and bool(_devices_in(own, event))):
        maps.append((start, event.size or 0))
        return True
    return False


def _own_addresses(events: list[Event]) -> list[tuple[int, str]]:
    """Which DMA addresses did this machine give to its own devices? Sorted."""
    return sorted(
        {
            (event.address, event.device or "")
            for event in events
            if event.event in ("dma_map", "dma_alloc", "dma_unmap", "dma_free")
            and event.address is not None
        }
    )


def _devices_in(addresses: list[tuple[int, str]], mapping: Event) -> set[str]:
    """Which devices were given an address of this range of IOVAs?"""
    start, size = mapping.address or 0, mapping.size or 0
    at = bisect_left(addresses, (start, ""))
    found: set[str] = set()
    while at < len(addresses) and addresses[at][0] < start + size and len(found) < 64:
        found.add(addresses[at][1])
        at += 1
    return found - {""}


def mark_viommu(platform: Platform, devices: set[str]) -> None:
    """Note that a guest's own IOMMU stands before these devices."""
    for name in devices:
        if name in platform.devices:
            platform.devices[name].behind_iommu = True
            platform.origins.setdefault(f"viommu {name}", "its trace's IOMMU events")
