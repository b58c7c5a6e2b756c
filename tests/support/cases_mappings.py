"""M and S: the guest's mappings and its pool."""

from __future__ import annotations

from rule_events import (
    BUFFER,
    FAILED,
    PAGE,
    POOL,
    UNKNOWN_WIDTH,
    Case,
    S,
    dma_alloc,
    dma_map,
    dma_unmap,
)
from topbit.events import Event

CASES = {
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
        [Event("guest", "swiotlb_bounced", device="disk", mask=0xFFFFFFFF), dma_map()],
        [Event("guest", "swiotlb_bounced", device="disk", mask=FAILED), dma_map()],
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
