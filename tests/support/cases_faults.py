"""F: refused accesses."""

from __future__ import annotations

import dataclasses

from rule_events import (
    BUFFER,
    DOORBELL,
    HOST,
    INTERRUPTS,
    LOG,
    PAGE,
    PLAIN,
    POOL,
    SHARED,
    Case,
    S,
    access,
    dma_alloc,
    dma_map,
    dma_unmap,
    iommu_map,
    iommu_unmap,
    ripas,
    rtt,
    smmu_event,
    trouble,
)
from topbit.events import Event
from topbit.recording import FileFacts


def traced(*events: Event) -> list[Event]:
    """The events of one file."""
    return [
        dataclasses.replace(event, source="trace.txt", line=n, time=float(n))
        for n, event in enumerate(events)
    ]


def freed(address: int) -> Event:
    return Event("guest", "dma_free", device="disk", address=address, size=PAGE)


def refused(address: int) -> Event:
    return smmu_event(address, device="disk", sid=None, attrs=None, direction="w")


PRIVATE = [ripas(BUFFER, "RAM"), rtt("rtt_map", BUFFER)]

HOSTS = dataclasses.replace(LOG, files=[FileFacts("console.txt", role="guest")])
PLAIN_LOG = dataclasses.replace(PLAIN, machine="log")

CASES = {
    "F6: tables too small for the bit": Case(
        "F6",
        "host",
        [access(POOL | S, "F_ADDR_SIZE")],
        [access(POOL | S, "C_BAD_STE")],
        says="too small for bit 40",
    ),
    "F7: the RMP": Case(
        "F7",
        "guest",
        [trouble("amd_vi_rmp", phys=BUFFER, direction="w"), trouble("amd_vi_rmp")],
        [trouble("amd_vi")],
        severity="warning",
        count=2,
        says="never shared",
    ),
    "F7: granule protection": Case(
        "F7",
        "guest",
        [trouble("granule_protection", device=None)],
        [trouble("smmu_error")],
        severity="warning",
        device=None,
        says="granule protection",
    ),
    "F13: a stream of the host's own": Case(
        "F13",
        "host",
        [smmu_event(0x433CE000, sid=0x7D00, attrs="s1|IN")],
        [smmu_event(0x433CE000, attrs="s1|IN"), smmu_event(0x433CE000, sid=0x7D00)],
        platform=HOSTS,
        severity="note",
        device="StreamID 0x7d00",
    ),
    "F14: use after free in one trace": Case(
        "F14",
        "device",
        traced(dma_alloc(0xFE980000), freed(0xFE980000), refused(0xFE980800)),
        traced(dma_alloc(0xFE980000), refused(0xFE980800), freed(0xFE980000)),
        platform=PLAIN_LOG,
        says="after it was given back",
    ),
    "F1: fault at a live alias": Case(
        "F1",
        "vmm",
        [dma_map(), access(POOL | S)],
        [dma_map(), access(POOL | S, "ok", attrs="shared")],
    ),
    "F1: from a queue, untraced device": Case(
        "F1",
        "vmm",
        [smmu_event(0x433CE000 | S), smmu_event(0x433CE004 | S)],
        [smmu_event(0x433CE000)],
        platform=LOG,
        severity="warning",
        count=2,
        says="nobody is known to have shared",
    ),
    "F1: from a queue, in the pool": Case(
        "F1",
        "vmm",
        [smmu_event((POOL + PAGE) | S), smmu_event((POOL + PAGE + 4) | S)],
        [smmu_event(0x433CE000)],
        platform=LOG,
        count=2,
    ),
    "F2: plain address by the guest": Case(
        "F2", "guest", [dma_map(POOL), access(POOL)], [dma_map(), access(POOL | S)]
    ),
    "F2: the device drops the bit": Case(
        "F2",
        "device",
        [dma_map(), access(POOL)],
        [dma_map(), access(POOL | S)],
        says="dropped the shared bit",
    ),
    "F2: past the DMA API": Case(
        "F2",
        "guest",
        [dma_map(), access(BUFFER)],
        [dma_map(), access(POOL, device="tdisp", sid=0x20)],
        says="past the DMA API",
    ),
    "F3: use after unmap": Case(
        "F3",
        "device",
        [dma_map(), dma_unmap(), access(POOL | S)],
        [dma_map(), access(POOL | S), dma_unmap()],
        says="after it was unmapped",
    ),
    "F3: never given": Case(
        "F3",
        "device",
        [dma_map(), access((POOL + 64 * PAGE) | S)],
        [dma_map(), access(POOL | S)],
        says="never given",
    ),
    "F3: not certain in a log": Case(
        "F3",
        "device",
        [dma_alloc(), smmu_event((POOL + 64 * PAGE) | S)],
        [dma_map(), smmu_event((POOL + 64 * PAGE) | S)],
        platform=LOG,
        severity="warning",
    ),
    "F4: beyond the IPA space": Case(
        "F4",
        "device",
        [dma_map(), access(POOL | S | 1 << 50)],
        [dma_map(), access(POOL | S)],
    ),
    "F4: the guest gave it": Case(
        "F4",
        "guest",
        [dma_map(POOL | 1 << 50), access(POOL | 1 << 50)],
        [dma_map(), access(POOL | S)],
    ),
    "F5: write to a buffer to be read": Case(
        "F5",
        "device",
        [dma_map(direction="TO_DEVICE"), access(POOL | S, "F_PERMISSION", "w")],
        [dma_map(direction="TO_DEVICE"), access(POOL | S, "ok", "r")],
    ),
    "F5: read-only table": Case(
        "F5",
        "vmm",
        [dma_map(direction="FROM_DEVICE"), access(POOL | S, "F_PERMISSION", "w")],
        [dma_map(direction="FROM_DEVICE"), access(POOL | S, "ok", "w")],
    ),
    "F9: broken stream table": Case(
        "F9",
        "host",
        [access(POOL | S, "C_BAD_STE")],
        [access(POOL | S, "F_TRANSLATION")],
    ),
    "F10: an interrupt that is refused": Case(
        "F10",
        "vmm",
        [dma_map(), access(DOORBELL, direction="w")],
        [dma_map(), access(DOORBELL, "ok", direction="w", attrs=None)],
        platform=INTERRUPTS,
    ),
    "F10: in a log": Case(
        "F10",
        "vmm",
        [dma_map(), smmu_event(DOORBELL)],
        [dma_map(), smmu_event(POOL | S)],
        platform=dataclasses.replace(INTERRUPTS, machine="log", one_clock=False),
    ),
    "F11: the VMM's table translates": Case(
        "F11",
        "smmu",
        [*SHARED, dma_map(), access(POOL | S)],
        [*SHARED, iommu_unmap(POOL | S), dma_map(), access(POOL | S)],
        says="the VMM's table translates",
    ),
    "F11: the VMM's table permits": Case(
        "F11",
        "smmu",
        [*SHARED, dma_map(), access(POOL | S, "F_PERMISSION", "w")],
        [
            dataclasses.replace(iommu_map(POOL | S, HOST + POOL), attrs="r"),
            dma_map(),
            access(POOL | S, "F_PERMISSION", "w"),
        ],
        says="the VMM's table permits",
    ),
    "F11: the Realm's own table translates": Case(
        "F11",
        "smmu",
        [rtt("rtt_map", POOL | S), dma_map(device="tdisp"), smmu_event(POOL | S, sid=0x20)],
        # The VMM's table does not stand behind a trusted device.
        [*SHARED, dma_map(device="tdisp"), smmu_event(POOL | S, sid=0x20)],
        device="tdisp",
        says="concatenated",
    ),
    "F11: a private page": Case(
        "F11",
        "smmu",
        [
            *PRIVATE,
            dma_map(BUFFER, device="tdisp"),
            access(BUFFER, device="tdisp", sid=0x20),
        ],
        [
            *PRIVATE,
            ripas(BUFFER, "EMPTY"),
            dma_map(BUFFER, device="tdisp"),
            access(BUFFER, device="tdisp", sid=0x20),
        ],
        device="tdisp",
    ),
    "F12: the queue was full": Case(
        "F12",
        "host",
        [smmu_event(POOL | S), Event("smmu", "smmu_lost", sid=0x10, detail="the queue is full")],
        [smmu_event(POOL | S)],
        severity="warning",
        device=None,
    ),
}
