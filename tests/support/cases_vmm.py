"""V and R: what the VMM maps and the RMM says."""

from __future__ import annotations

import dataclasses

from rule_events import (
    BUFFER,
    HOST,
    LOG,
    PAGE,
    POOL,
    REALM,
    SHARED,
    Case,
    S,
    convert,
    dma_map,
    iommu_map,
    iommu_unmap,
    trouble,
)
from topbit.events import Event

CASES = {
    "V1: only the plain half, in no known order": Case(
        "V1",
        "vmm",
        [dma_map(), iommu_map(POOL, HOST)],
        [dma_map(), iommu_map(POOL, HOST), iommu_map(POOL | S, HOST)],
        platform=LOG,
        says="only the protected address",
    ),
    "V5: beyond the IPA space": Case(
        "V5",
        "vmm",
        [iommu_map(POOL | S << 1, HOST)],
        [iommu_map(POOL | S, HOST)],
        severity="warning",
        says="beyond the guest's IPA space",
    ),
    "V5: over the interrupts": Case(
        "V5",
        "vmm",
        [iommu_map(0, HOST, size=1 << 30)],
        [iommu_map(0x8090000, HOST)],
        severity="warning",
        says="message-signalled",
    ),
    "V5: VFIO refused it": Case(
        "V5",
        "vmm",
        [trouble("vfio_map", address=POOL | S)],
        [trouble("vmm_dma")],
        severity="warning",
        device=None,
        says="could not map memory with bit 40",
    ),
    "V6: a part of a page": Case(
        "V6", "vmm", [convert(POOL, "shared", size=0x800)], [convert(POOL, "shared")], device=None
    ),
    "V6: an entry of the RMP of another size": Case(
        "V6",
        "host",
        [trouble("rmp_update", attrs="ret=2|level=1")],
        [trouble("amd_vi")],
        severity="warning",
        device=None,
        says="2 MiB",
    ),
    "V1: dma-ranges are undone by the bus": Case(
        "V1",
        "vmm",
        [convert(POOL, "shared"), dma_map((POOL - 0x40000000) | S)],
        [*SHARED, dma_map((POOL - 0x40000000) | S)],
        platform=dataclasses.replace(REALM, dma_ranges=[(0x40000000, 0, 1 << 30)]),
    ),
    "V1: nothing mapped": Case(
        "V1",
        "vmm",
        [convert(POOL, "shared"), dma_map()],
        [*SHARED, dma_map(), dma_map(device="virtio"), dma_map(BUFFER, device="tdisp")],
    ),
    "V1: only the protected half": Case(
        "V1",
        "vmm",
        [convert(POOL, "shared"), iommu_map(POOL, HOST + POOL), dma_map()],
        [*SHARED, dma_map()],
        says="only the protected address",
    ),
    "V2: another page": Case(
        "V2",
        "vmm",
        [convert(POOL, "shared", pa=HOST + POOL), iommu_map(POOL | S, HOST + POOL + PAGE)],
        SHARED,
    ),
    "V3: stale mapping": Case(
        "V3",
        "vmm",
        [*SHARED, convert(POOL, "private")],
        [*SHARED, iommu_unmap(POOL | S), convert(POOL, "private")],
    ),
    "V3: unmapped just after the conversion": Case(
        "V3",
        "vmm",
        [*SHARED, convert(POOL, "private"), iommu_unmap(POOL | S, status="error")],
        [*SHARED, convert(POOL, "private"), iommu_unmap(POOL | S)],
    ),
    "V3: a private page is mapped": Case(
        "V3",
        "vmm",
        [convert(BUFFER, "private"), iommu_map(BUFFER, HOST)],
        [convert(BUFFER, "private"), iommu_map(BUFFER, HOST, sid=0x20)],
    ),
    "V4: two pages for one": Case(
        "V4",
        "vmm",
        [iommu_map(POOL, HOST), iommu_map(POOL | S, HOST + POOL)],
        [iommu_map(POOL, HOST + POOL), iommu_map(POOL | S, HOST + POOL)],
    ),
    "V7: shared although the map failed": Case(
        "V7",
        "vmm",
        [iommu_map(POOL | S, HOST, status="error"), convert(POOL, "shared")],
        [iommu_map(POOL | S, HOST, status="error"), convert(POOL, "error")],
    ),
    "V7: private although the unmap failed": Case(
        "V7",
        "vmm",
        [*SHARED, convert(POOL, "private"), iommu_unmap(POOL | S, status="error")],
        [*SHARED, iommu_unmap(POOL | S), convert(POOL, "private")],
    ),
    "V8: bit not masked": Case(
        "V8",
        "vmm",
        [
            Event(
                "vmm",
                "vmm_dma",
                device="virtio",
                address=POOL | S,
                phys=POOL | S,
                status="unmapped",
            )
        ],
        [
            Event(
                "vmm",
                "vmm_dma",
                device="virtio",
                address=POOL | S,
                phys=POOL,
                status="ok",
                attrs="shared",
            )
        ],
        device="virtio",
    ),
    "V8: private memory served": Case(
        "V8",
        "vmm",
        [
            Event(
                "vmm",
                "vmm_dma",
                device="virtio",
                address=BUFFER,
                phys=BUFFER,
                status="ok",
                attrs="private",
            )
        ],
        [Event("vmm", "vmm_dma", device="virtio", address=BUFFER, phys=BUFFER, status="private")],
        device="virtio",
    ),
    "R1: another width": Case(
        "R1",
        "rmm",
        [Event("rmm", "realm_config", address=1 << 39)],
        [Event("rmm", "realm_config", address=S)],
        device=None,
    ),
}
