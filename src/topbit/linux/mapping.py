"""What does a driver call to map memory, and what does the kernel trace? (kernel/dma/mapping.c)

Emits the events of include/trace/events/dma.h and swiotlb.h with the kernel's own semantics:
`phys` of a mapping is the original buffer even when it bounced, and swiotlb_bounced
shows phys_to_dma() of the original, never the bounce address.
"""

from __future__ import annotations

from topbit.addressing.dma_direct import DMA_MAPPING_ERROR, phys_to_dma
from topbit.arch.ipa import DmaAddr, Ipa
from topbit.events import Emit, Event
from topbit.linux.device import Device
from topbit.linux.direct import DmaDirect


class DmaApi:
    """Which DMA API calls does a driver make? (include/linux/dma-mapping.h)"""

    def __init__(self, direct: DmaDirect, emit: Emit, *, swiotlb_force: bool) -> None:
        self.direct = direct
        self.emit = emit
        self.swiotlb_force = swiotlb_force

    def dma_map_phys(self, dev: Device, phys: Ipa, size: int, direction: str) -> DmaAddr:
        """Map a buffer. Returns its dma_addr_t, or DMA_MAPPING_ERROR."""
        if dev.force_unencrypted:
            self.emit(
                Event(
                    "guest",
                    "swiotlb_bounced",
                    device=dev.name,
                    phys=phys_to_dma(dev.dma, phys),
                    size=size,
                    mask=dev.dma.dma_mask,
                    status="FORCE" if self.swiotlb_force else "NORMAL",
                )
            )
        dma_addr = self.direct.map_phys(dev, phys, size)
        self.emit(
            Event(
                "guest",
                "dma_map",
                device=dev.name,
                address=dma_addr,
                phys=phys,
                size=size,
                direction=direction,
                mask=dev.dma.dma_mask,
                status="error" if dma_addr == DMA_MAPPING_ERROR else "ok",
            )
        )
        return dma_addr

    def dma_unmap_phys(self, dev: Device, dma_addr: DmaAddr, size: int, direction: str) -> None:
        """End a mapping."""
        self.emit(
            Event(
                "guest",
                "dma_unmap",
                device=dev.name,
                address=dma_addr,
                size=size,
                direction=direction,
            )
        )
        self.direct.unmap_phys(dev, dma_addr, direction)

    def dma_alloc_coherent(self, dev: Device, size: int) -> tuple[Ipa, DmaAddr] | None:
        """Allocate memory that CPU and device share. Returns (phys, dma_addr) or None."""
        got = self.direct.alloc(dev, size)
        self.emit(
            Event(
                "guest",
                "dma_alloc",
                device=dev.name,
                address=got[1] if got else 0,
                phys=got[0] if got else None,
                size=size,
                direction="BIDIRECTIONAL",
                mask=dev.coherent_dma_mask,
                status="ok" if got else "error",
            )
        )
        return got

    def dma_free_coherent(self, dev: Device, size: int, phys: Ipa, dma_addr: DmaAddr) -> None:
        """Give coherent memory back."""
        self.emit(
            Event(
                "guest",
                "dma_free",
                device=dev.name,
                address=dma_addr,
                size=size,
                direction="BIDIRECTIONAL",
            )
        )
        self.direct.free(dev, phys, size)
