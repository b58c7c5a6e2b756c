"""P, A and D: pages, accesses that went through, data that arrived."""

from __future__ import annotations

from rule_events import (
    BUFFER,
    HOST,
    PAGE,
    POOL,
    SHARED,
    Case,
    S,
    access,
    asked,
    convert,
    dma_alloc,
    dma_map,
    dma_unmap,
    iommu_unmap,
    ripas,
    set_memory,
    trouble,
    unshared,
)
from topbit.events import Event


def rebound(left: int) -> list[Event]:
    """A driver is bound anew 13 times, and each time leaves pages shared, or does not."""
    step = {"attrs": "times=13", "detail": "rebind-disk"}
    events = [Event("guest", "step", status="begin", **step)]
    for page in range(BUFFER, BUFFER + 13 * 4 * PAGE, 4 * PAGE):
        events.append(convert(page, "shared", 4 * PAGE))
        events.append(convert(page, "private", (4 - left) * PAGE))
    return [*events, Event("guest", "step", status="0", **step)]


CASES = {
    "P2: the kernel tells of lost pages": Case(
        "P2",
        "guest",
        [trouble("share_failed")],
        [trouble("timeout")],
        severity="warning",
        device=None,
        says="its pages are lost",
    ),
    "P2: a page that could not be shared is used": Case(
        "P2",
        "guest",
        [
            Event("guest", "set_memory", phys=POOL, size=PAGE, status="error", attrs="shared"),
            dma_map(),
        ],
        [
            Event("guest", "set_memory", phys=POOL, size=PAGE, status="error", attrs="shared"),
            dma_map((POOL + PAGE) | S),
            set_memory(POOL, "shared"),
            dma_map(),
        ],
    ),
    "P3: a part of a page": Case(
        "P3", "guest", [set_memory(POOL + 8, "shared")], [set_memory(POOL, "shared")], device=None
    ),
    "P3: shared twice": Case(
        "P3",
        "guest",
        [set_memory(POOL, "shared", 2 * PAGE), set_memory(POOL + PAGE, "shared")],
        [
            set_memory(POOL, "shared", 2 * PAGE),
            set_memory(POOL + PAGE, "private"),
            set_memory(POOL + PAGE, "shared"),
        ],
        severity="warning",
        device=None,
    ),
    "P6: the pool could not be shared": Case(
        "P6",
        "guest",
        [trouble("pool_disabled")],
        [trouble("timeout")],
        severity="warning",
        device=None,
    ),
    "P7: shared pages at kexec": Case(
        "P7",
        "guest",
        [trouble("conversion_stopped")],
        [trouble("timeout")],
        severity="warning",
        device=None,
    ),
    "P8: a private page at its alias": Case(
        "P8",
        "guest",
        [ripas(BUFFER, "RAM"), Event("rmm", "sea", address=BUFFER | S)],
        [ripas(BUFFER, "EMPTY"), Event("rmm", "sea", address=BUFFER | S)],
        device=None,
    ),
    "P8: a shared page without the bit": Case(
        "P8",
        "guest",
        [ripas(BUFFER, "EMPTY"), Event("rmm", "sea", address=BUFFER)],
        [ripas(BUFFER, "DESTROYED"), Event("rmm", "sea", address=BUFFER)],
        device=None,
    ),
    "P9: pages stay shared each time": Case(
        "P9",
        "guest",
        rebound(1),
        rebound(0),
        device=None,
        says="4 pages more stayed shared",
    ),
    "P10: a page of RAM is destroyed": Case(
        "P10",
        "host",
        [Event("rmm", "ripas", phys=BUFFER, size=PAGE, status="ok", attrs="DESTROYED")],
        [Event("rmm", "ripas", phys=BUFFER, size=PAGE, status="ok", attrs="EMPTY")],
        device=None,
    ),
    "P11: a shared page is unmapped": Case(
        "P11",
        "host",
        [asked(BUFFER, "EMPTY"), unshared(BUFFER)],
        [asked(BUFFER, "EMPTY"), asked(BUFFER, "RAM"), unshared(BUFFER)],
        device=None,
    ),
    "P1: encrypted under a live mapping": Case(
        "P1",
        "guest",
        [set_memory(BUFFER, "shared"), dma_alloc(), set_memory(BUFFER, "private")],
        [
            set_memory(BUFFER, "shared"),
            dma_alloc(),
            Event("guest", "dma_free", device="disk", address=BUFFER | S, size=PAGE),
            set_memory(BUFFER, "private"),
        ],
    ),
    "P1: mapped while private": Case(
        "P1",
        "guest",
        [set_memory(BUFFER, "private"), dma_alloc()],
        [set_memory(BUFFER, "private"), set_memory(BUFFER, "shared"), dma_alloc()],
    ),
    "P4: private memory reached": Case(
        "P4",
        "vmm",
        [access(BUFFER, "ok", attrs="private", pa=HOST)],
        [
            access(BUFFER | S, "ok", attrs="shared"),
            access(BUFFER, "ok", attrs="private", device="tdisp", sid=0x20),
        ],
    ),
    "P4: stopped by granule protection": Case(
        "P4", "vmm", [access(BUFFER, "GPF")], [access(BUFFER, "F_TRANSLATION")], says="stopped it"
    ),
    "A1: no invalidation": Case(
        "A1",
        "vmm",
        [*SHARED, iommu_unmap(POOL | S), access(POOL | S, "ok", attrs="shared")],
        [*SHARED, access(POOL | S, "ok", attrs="shared"), iommu_unmap(POOL | S)],
        says="CMD_TLBI",
    ),
    "A1: no invalidation, and granule protection stops it": Case(
        "A1",
        "vmm",
        [*SHARED, iommu_unmap(POOL | S), access(POOL | S, "GPF")],
        [*SHARED, iommu_unmap(POOL | S), access(POOL | S, "F_TRANSLATION")],
    ),
    "A2: use after unmap that no fault shows": Case(
        "A2",
        "device",
        [dma_map(), dma_unmap(), access(POOL | S, "ok", attrs="shared")],
        [dma_map(), access(POOL | S, "ok", attrs="shared"), dma_unmap()],
        says="let it through",
    ),
    "D1: wrong data": Case(
        "D1",
        "device",
        [Event("device", "payload", device="disk", address=POOL | S, status="wrong")],
        [Event("device", "payload", device="disk", address=POOL | S, status="ok")],
        severity="warning",
    ),
}
