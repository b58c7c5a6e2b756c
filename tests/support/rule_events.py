"""Platforms and events that the rules' recordings are made of."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field

from topbit.events import Event
from topbit.recording import DeviceFacts, Platform

S = 1 << 40
FAILED = (1 << 64) - 1
POOL = 0x76B00000
BUFFER = 0x43D92000
PAGE = 0x1000
HOST = 0x9_0000_0000  # physical pages of the host: HOST + IPA backs a shared IPA

REALM = Platform(
    realm=True,
    ipa_bits=41,
    origins={"realm": "scenario", "ipa_bits": "scenario"},
    kernel="6.18.15",
    machine="model",
    ram=[(0x40000000, 1 << 30)],
    pools=[(POOL, 64 << 20)],
    devices={
        "disk": DeviceFacts(sid=0x10),
        "tdisp": DeviceFacts(sid=0x20, trusted=True),
        "virtio": DeviceFacts(sid=None, emulated=True),
        "narrow": DeviceFacts(sid=0x30, dma_mask=0xFFFFFFFF),
    },
)
LOG = dataclasses.replace(REALM, machine="log", one_clock=False)
DOORBELL = 0x8090040
INTERRUPTS = dataclasses.replace(REALM, msi_doorbells=[DOORBELL])
WIDE = dataclasses.replace(REALM, ipa_bits=52)
UNKNOWN_WIDTH = dataclasses.replace(REALM, ipa_bits=None)
SME = Platform(scheme="amd-sme", realm=False, c_bit=47)
PLAIN = Platform(scheme="none", realm=False)
LOST = dataclasses.replace(REALM, lost_events=1)
LOG_LOST = dataclasses.replace(LOG, lost_events=1)
NO_RAM = dataclasses.replace(REALM, ram=[])
LOG_NO_RAM = dataclasses.replace(LOG, ram=[])
LOG_DOORBELL = dataclasses.replace(LOG, msi_doorbells=[DOORBELL])
FAR = (POOL | S) + 64 * PAGE  # in RAM, never given
OUTSIDE = 0x1000_0000  # no RAM


def dma_map(address: int = POOL | S, device: str = "disk", **more: object) -> Event:
    facts = {"size": 64, "phys": BUFFER, "direction": "FROM_DEVICE"} | more
    return dataclasses.replace(Event("guest", "dma_map", device, address=address), **facts)  # type: ignore[arg-type]


def bounced(phys: int = BUFFER, size: int = 64, **more: object) -> Event:
    facts = {"device": "disk", "mask": FAILED, "status": "FORCE"} | more
    return Event("guest", "swiotlb_bounced", phys=phys, size=size, **facts)  # type: ignore[arg-type]


def trouble(status: str, **more: object) -> Event:
    facts = {"device": "disk", "detail": f"a line of {status}"} | more
    return Event("guest", "trouble", status=status, **facts)  # type: ignore[arg-type]


def full(size: int = 64, used: int = 512, total: int = 512, device: str = "disk") -> Event:
    return Event("guest", "swiotlb_full", device, size=size, attrs=f"total={total}|used={used}")


def pair(phys: int, slot: int = POOL) -> list[Event]:
    """A bounce and the map that it belongs to."""
    return [bounced(phys), dma_map(slot | S, phys=phys)]


def dma_unmap(
    address: int = POOL | S, device: str = "disk", size: int = 64, direction: str = "FROM_DEVICE"
) -> Event:
    return Event("guest", "dma_unmap", device, address=address, size=size, direction=direction)


def dma_sync(address: int = POOL | S, device: str = "disk", size: int = 64) -> Event:
    return Event("guest", "dma_sync", device, address=address, size=size, detail="for_cpu")


def dma_alloc(address: int = BUFFER | S, device: str = "disk", **more: object) -> Event:
    facts = {"size": PAGE, "direction": "BIDIRECTIONAL"} | more
    return Event("guest", "dma_alloc", device=device, address=address, **facts)  # type: ignore[arg-type]


def helper(name: str, phys: int, address: int, device: str | None = None) -> Event:
    return Event("guest", "helper", device=device, attrs=name, phys=phys, address=address)


def convert(phys: int, status: str, size: int = PAGE, pa: int | None = None) -> Event:
    return Event("vmm", "convert", phys=phys, status=status, size=size, pa=pa)


def iommu_map(iova: int, pa: int, size: int = PAGE, sid: int = 0x10, status: str = "ok") -> Event:
    return Event("vmm", "iommu_map", address=iova, pa=pa, size=size, sid=sid, status=status)


def asked(phys: int, ripas: str) -> Event:
    return Event("rmm", "rmm_exit", phys=phys, size=PAGE, status="RIPAS_CHANGE", attrs=ripas)


def unshared(phys: int) -> Event:
    return Event("rmm", "rtt_unmap", address=phys | S, phys=phys, size=PAGE, attrs="unprotected")


def rtt(event: str, ipa: int, size: int = PAGE) -> Event:
    half = "unprotected" if ipa & S else "protected"
    return Event("rmm", event, address=ipa, phys=ipa & ~S, pa=HOST, size=size, attrs=half)


def ripas(ipa: int, attrs: str, size: int = PAGE) -> Event:
    return Event("rmm", "ripas", phys=ipa, size=size, status="ok", attrs=attrs)


def iommu_unmap(iova: int, size: int = PAGE, sid: int = 0x10, status: str = "ok") -> Event:
    return Event("vmm", "iommu_unmap", address=iova, size=size, sid=sid, status=status)


def access(
    address: int, status: str = "F_TRANSLATION", direction: str = "r", **more: object
) -> Event:
    facts = {"device": "disk", "sid": 0x10, "size": 64} | more
    return Event(
        "device",
        "access",
        address=address,
        status=status,
        direction=direction,
        **facts,  # type: ignore[arg-type]
    )


def smmu_event(
    address: int, status: str = "F_TRANSLATION", direction: str = "r", **more: object
) -> Event:
    facts = {"sid": 0x10, "attrs": "s2|IN"} | more
    return Event(
        "smmu",
        "smmu_event",
        address=address,
        status=status,
        direction=direction,
        **facts,  # type: ignore[arg-type]
    )


def set_memory(phys: int, status: str, size: int = PAGE) -> Event:
    return Event("guest", "set_memory", phys=phys, status=status, size=size)


def vdev(status: str, dma: bool = False, detail: str = "all was said", sid: int = 0x20) -> Event:
    attrs = "dma" if dma else None
    return Event("rmm", "vdev", sid=sid, status=status, attrs=attrs, detail=detail)


def bad_ste(address: int = BUFFER, **more: object) -> Event:
    return access(address, "C_BAD_STE", device="tdisp", sid=0x20, **more)


@dataclass
class Case:
    """A recording that a rule must flag, and one that it must not."""

    rule: str
    agent: str
    bad: list[Event]
    good: list[Event]
    platform: Platform = field(default_factory=lambda: REALM)
    good_platform: Platform | None = None
    severity: str = "violation"
    count: int = 1
    device: str | None = "disk"
    says: str = ""


SHARED = [convert(POOL, "shared", pa=HOST + POOL), iommu_map(POOL | S, HOST + POOL)]
