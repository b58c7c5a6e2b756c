"""What does a driver call to map memory, and what does the kernel trace? (kernel/dma/mapping.c)

Emits the events of include/trace/events/dma.h with the kernel's own semantics: `phys` of a mapping
is the original buffer even when it bounced.
"""

from __future__ import annotations

from topbit.addressing.dma_direct import DMA_MAPPING_ERROR
from topbit.arch.ipa import DmaAddr, Ipa
from topbit.events import Emit, Event
from topbit.linux.coherent import CoherentMemory
from topbit.linux.device import Device
from topbit.linux.direct import DmaDirect
from topbit.linux.dma_attrs import BIDIRECTIONAL, NO_ATTRS, DmaAttr, shown


class DmaApi:
    """Which DMA API calls does a driver make? (include/linux/dma-mapping.h)"""

    def __init__(self, direct: DmaDirect, coherent: CoherentMemory, emit: Emit) -> None:
        self.direct = direct
        self.coherent = coherent
        self.emit = emit

    def dma_map_phys(
        self, dev: Device, phys: Ipa, size: int, direction: str, attrs: DmaAttr = NO_ATTRS
    ) -> DmaAddr:
        """Map a buffer. Returns its dma_addr_t, or DMA_MAPPING_ERROR."""
        dma_addr = self.direct.map_phys(dev, phys, size, direction, attrs)
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
                attrs=shown(attrs),
            )
        )
        return dma_addr

    def dma_unmap_phys(
        self, dev: Device, dma_addr: DmaAddr, size: int, direction: str, attrs: DmaAttr = NO_ATTRS
    ) -> None:
        """End a mapping."""
        self.emit(
            Event(
                "guest",
                "dma_unmap",
                device=dev.name,
                address=dma_addr,
                size=size,
                direction=direction,
                attrs=shown(attrs),
            )
        )
        self.direct.unmap_phys(dev, dma_addr, size, direction, attrs)

    def dma_sync_single_for_cpu(
        self, dev: Device, dma_addr: DmaAddr, size: int, direction: str
    ) -> None:
        """Let the CPU read what the device wrote to a part of a live mapping."""
        self._trace_sync(dev, dma_addr, size, direction, "for_cpu")
        self.direct.sync_single_for_cpu(dev, dma_addr, size, direction)

    def dma_sync_single_for_device(
        self, dev: Device, dma_addr: DmaAddr, size: int, direction: str
    ) -> None:
        """Let the device read what the CPU wrote to a part of a live mapping."""
        self._trace_sync(dev, dma_addr, size, direction, "for_device")
        self.direct.sync_single_for_device(dev, dma_addr, size, direction)

    def _trace_sync(
        self, dev: Device, dma_addr: DmaAddr, size: int, direction: str, whom: str
    ) -> None:
        self.emit(
            Event(
                "guest",
                "dma_sync",
                device=dev.name,
                address=dma_addr,
                size=size,
                direction=direction,
                detail=whom,
            )
        )

    def dma_alloc_coherent(
        self, dev: Device, size: int, *, atomic: bool = False
    ) -> tuple[Ipa, DmaAddr] | None:
        """Allocate memory that CPU and device share. Returns (phys, dma_addr) or None."""
        got = self.coherent.alloc(dev, size, atomic=atomic)
        self.emit(
            Event(
                "guest",
                "dma_alloc",
                device=dev.name,
                address=got[1] if got else 0,
                phys=got[0] if got else None,
                size=size,
                direction=BIDIRECTIONAL,
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
                direction=BIDIRECTIONAL,
            )
        )
        self.coherent.free(dev, phys, size)
