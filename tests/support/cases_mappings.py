"""M and S: the guest's mappings and its pool."""

from __future__ import annotations

import dataclasses

from rule_events import (
    BUFFER,
    FAILED,
    LOG,
    PAGE,
    POOL,
    REALM,
    UNKNOWN_WIDTH,
    Case,
    S,
    bounced,
    dma_alloc,
    dma_map,
    dma_sync,
    dma_unmap,
    pair,
    set_memory,
    smmu_event,
    trouble,
)
from topbit.events import Event
from topbit.recording import DeviceFacts

NVME = dataclasses.replace(REALM, devices={"disk": DeviceFacts(sid=0x10, driver="nvme")})
OLD_RELEASE = dataclasses.replace(REALM, kernel="7.2.13")

CASES = {
    "M3: larger than a segment": Case(
        "M3",
        "guest",
        [dma_map(size=0x40001)],
        [dma_map(size=0x40000), dma_map(BUFFER | S, size=1 << 20), dma_map(FAILED, size=1 << 20)],
    ),
    "M4: the kernel's own message": Case(
        "M4",
        "guest",
        [trouble("bounce_overflow", address=POOL | S, size=64, mask=0xFFFFFFFF)],
        [trouble("map_failed")],
        severity="warning",
        says="cannot carry bit 40",
    ),
    "M4: dma-ranges leave the alias out": Case(
        "M4",
        "vmm",
        [
            trouble(
                "bounce_overflow",
                address=POOL | S,
                size=64,
                mask=FAILED,
                attrs="bus_limit=0xffffffff",
            )
        ],
        [trouble("map_failed")],
        severity="warning",
        says="dma-ranges",
    ),
    "M5: the offset within a page is lost": Case(
        "M5",
        "guest",
        [dma_map(phys=BUFFER + 0xA00)],
        [dma_map((POOL + 0xA00) | S, phys=BUFFER + 0xA00), dma_map(phys=BUFFER + 0x3000)],
        platform=NVME,
    ),
    "M6: a slot given twice": Case(
        "M6",
        "guest",
        [dma_map(), dma_map(phys=BUFFER + PAGE), dma_unmap(), dma_unmap()],
        [dma_map(), dma_unmap(), dma_map(phys=BUFFER + PAGE), dma_unmap()],
    ),
    "M7: unmapped with another size": Case(
        "M7",
        "guest",
        [dma_map(size=128), dma_unmap(size=64)],
        [dma_map(size=64), dma_unmap(size=64)],
        says="another size",
    ),
    "M7: unmapped in another direction": Case(
        "M7",
        "guest",
        [dma_map(), dma_unmap(direction="TO_DEVICE")],
        [dma_map(), dma_unmap()],
        says="another direction",
    ),
    "M7: unmapped twice": Case(
        "M7",
        "guest",
        [dma_map(), dma_unmap(), dma_unmap()],
        [dma_map(), dma_unmap(), dma_map(), dma_unmap()],
        says="twice",
    ),
    "M7: synchronised after the unmap": Case(
        "M7",
        "guest",
        [dma_map(), dma_unmap(), dma_sync()],
        [dma_map(), dma_sync(), dma_unmap()],
        says="after it was unmapped",
    ),
    "M8: a bounce of another buffer": Case(
        "M8",
        "guest",
        [
            *pair(BUFFER),
            *pair(BUFFER + PAGE, POOL + PAGE),
            bounced(0x44000000),
            dma_map((POOL + 2 * PAGE) | S, phys=0x44100000),
        ],
        [*pair(BUFFER), *pair(BUFFER + PAGE, POOL + PAGE), bounced(0x44000000), dma_map(FAILED)],
        severity="warning",
        says="another buffer",
    ),
    "M8: not forced": Case(
        "M8",
        "guest",
        [bounced(status="NORMAL"), dma_map()],
        [bounced(), dma_map()],
        platform=OLD_RELEASE,
        severity="warning",
        says="NORMAL",
    ),
    "M10: the pool made private": Case(
        "M10",
        "guest",
        [set_memory(POOL, "private"), dma_map()],
        [set_memory(POOL, "private"), set_memory(POOL, "shared"), dma_map()],
    ),
    "M11: an internal attribute": Case(
        "M11",
        "guest",
        [dma_map(attrs="NO_WARN|ALLOC_CC_SHARED")],
        [dma_map(attrs="CC_SHARED"), dma_alloc(attrs="ALLOC_CC_SHARED")],
    ),
    "M12: plain addresses without any DMA event": Case(
        "M12",
        "guest",
        [dma_map(device="nic"), smmu_event(BUFFER + 64 * PAGE, device="disk")],
        [dma_map(device="nic"), dma_map(), smmu_event(BUFFER + 64 * PAGE, device="disk")],
        platform=LOG,
        severity="warning",
        says="VIRTIO_F_ACCESS_PLATFORM",
    ),
    "M12: refused by the guest": Case(
        "M12", "vmm", [trouble("virtio_refused")], [trouble("timeout")], severity="warning"
    ),
    "M12: a queue in private memory": Case(
        "M12", "guest", [trouble("private_access")], [trouble("timeout")], severity="warning"
    ),
    "M13: dma-debug": Case(
        "M13",
        "guest",
        [trouble("dma_debug", attrs="kind=different-size|unmap_size=42")],
        [trouble("timeout")],
        severity="warning",
        says="another size",
    ),
    "M1: plain address": Case(
        "M1",
        "guest",
        [dma_map(POOL)],
        [
            dma_map(),
            dma_alloc(),
            dma_map(FAILED, status="error"),
            dma_map(BUFFER, device="tdisp"),
            dma_map(0x10000000, attrs="MMIO"),
        ],
        says="bit 40, the shared bit, clear",
    ),
    "M1: RAM ends below the bit": Case(
        "M1", "guest", [dma_map(POOL)], [dma_map()], platform=UNKNOWN_WIDTH
    ),
    "M1: bits beyond the IPA space": Case(
        "M1",
        "guest",
        [dma_map(POOL | S | 1 << 45)],
        [dma_map()],
        says="beyond its 41-bit IPA space",
    ),
    "M2: unbounced": Case(
        "M2",
        "guest",
        [dma_map(BUFFER | S)],
        [dma_map(), dma_map(BUFFER | S, attrs="CC_SHARED"), dma_map(BUFFER, device="tdisp")],
    ),
    "M4: traced mask": Case(
        "M4",
        "guest",
        [bounced(mask=0xFFFFFFFF), dma_map()],
        [bounced(), dma_map()],
    ),
    "M4: known mask": Case(
        "M4",
        "guest",
        [dma_alloc(device="narrow")],
        [dma_alloc(), dma_map(FAILED, device="narrow", status="error")],
        device="narrow",
    ),
    "M7: one buffer again and again": Case(
        "M7",
        "guest",
        [dma_map((POOL + n * PAGE) | S) for n in range(5)] + [dma_unmap(POOL | S)],
        # A receive queue: other buffers, still mapped at the end.
        [dma_map((POOL + n * PAGE) | S, phys=BUFFER + n * PAGE) for n in range(13)]
        + [dma_map(POOL + 20 * PAGE), dma_unmap(POOL + 20 * PAGE)],
        count=4,
    ),
    "M7: less certain in a trace with gaps": Case(
        "M7",
        "guest",
        [dma_map((POOL + n * PAGE) | S) for n in range(4)] + [dma_unmap((POOL + 9 * PAGE) | S)],
        [dma_map(), dma_unmap()],
        severity="warning",
        count=4,
    ),
    "M9: the mask cannot carry the bit": Case(
        "M9",
        "guest",
        [dma_map(FAILED, device="narrow", status="error")],
        [dma_map()],
        severity="warning",
        device="narrow",
        says="mask 0xffffffff cannot carry bit 40, the shared bit",
    ),
    "M9: nor can an allocation": Case(
        "M9",
        "guest",
        [dma_alloc(0, device="narrow", status="error")],
        [dma_alloc()],
        severity="warning",
        device="narrow",
    ),
    "S1: too small": Case(
        "S1",
        "guest",
        [Event("guest", "swiotlb_full", device="disk", size=65536, attrs="total=512|used=480")],
        [dma_map()],
        severity="warning",
        says="1 MiB is too small",
    ),
}
