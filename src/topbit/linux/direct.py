"""Which DMA address does a buffer get without a guest IOMMU? (kernel/dma/direct.c, direct.h)

Facts: Linux 7.2 kernel/dma/direct.c:dma_direct_alloc, dma_direct_map_phys; swiotlb.c:swiotlb_map.
In a Realm every device is forced to shared memory: streaming maps bounce through the pool,
coherent memory is shared when it is allocated.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from topbit.addressing.dma_direct import (
    DMA_MAPPING_ERROR,
    BusDmaRegion,
    dma_capable,
    dma_to_phys,
    phys_to_dma,
    phys_to_dma_unencrypted,
    translate_dma_to_phys,
)
from topbit.arch.ipa import DmaAddr, Ipa
from topbit.events import Emit, Event
from topbit.linux.device import Device
from topbit.linux.pageattr import PAGE_SHIFT, PAGE_SIZE, LinearMap
from topbit.linux.swiotlb import IoTlbPool

HelperTrace = Callable[[str, Device, Ipa, DmaAddr], None]


class DmaDirect:
    """How does the kernel map memory for a device, and what does it print when it cannot?

    Args:
        memory: the kernel's RAM.
        pool: the default swiotlb pool.
        alloc_pages: gives the phys_addr_t of N fresh contiguous pages, or None.
        free_pages: takes them back.
        emit: takes what it prints when it cannot, as events.
        trace: takes every use of an address helper: (name, device, phys, dma_addr).
    """

    def __init__(
        self,
        memory: LinearMap,
        pool: IoTlbPool,
        alloc_pages: Callable[[int], Ipa | None],
        free_pages: Callable[[Ipa, int], None],
        emit: Emit,
        trace: HelperTrace,
    ) -> None:
        self.memory = memory
        self.pool = pool
        self.alloc_pages = alloc_pages
        self.free_pages = free_pages
        self.emit = emit
        self.trace = trace

    def phys_to_dma_direct(self, dev: Device, phys: Ipa) -> DmaAddr:
        """Which address does the device get for a page that it uses where it stands?"""
        if dev.force_unencrypted:
            return self._phys_to_dma_unencrypted(dev, phys)
        return DmaAddr(phys_to_dma(dev.dma, phys))

    def _phys_to_dma_unencrypted(self, dev: Device, phys: Ipa) -> DmaAddr:
        dma_addr = DmaAddr(phys_to_dma_unencrypted(dev.dma, phys))
        self.trace("phys_to_dma_unencrypted", dev, phys, dma_addr)
        return dma_addr

    def map_phys(self, dev: Device, phys: Ipa, size: int) -> DmaAddr:
        """Which dma_addr_t stands for [phys, +size)? DMA_MAPPING_ERROR if none can."""
        if dev.force_unencrypted:
            return self._swiotlb_map(dev, phys, size)
        dma_addr = DmaAddr(phys_to_dma(dev.dma, phys))
        if dma_capable(dev.dma, dma_addr, size):
            return dma_addr
        self._overflow("dma_overflow", "DMA addr", dev, dma_addr, size)
        return DMA_MAPPING_ERROR

    def _overflow(self, trouble: str, what: str, dev: Device, dma_addr: DmaAddr, size: int) -> None:
        """Print that an address does not fit the device's mask or bus."""
        mask, limit = dev.dma.dma_mask, dev.dma.bus_dma_limit
        self.emit(
            Event(
                "guest",
                "trouble",
                device=dev.name,
                address=dma_addr,
                size=size,
                mask=mask,
                status=trouble,
                attrs=f"bus_limit=0x{limit:x}",
                detail=f"{dev.name}: {what} 0x{dma_addr:016x}+{size} overflow "
                f"(mask {mask:x}, bus limit {limit:x}).",
            )
        )

    def _warn(self, trouble: str, line: str) -> None:
        self.emit(Event("guest", "trouble", status=trouble, detail=line))

    def _swiotlb_map(self, dev: Device, phys: Ipa, size: int) -> DmaAddr:
        tbl_dma_addr = DmaAddr(phys_to_dma_unencrypted(dev.dma, self.pool.start))
        tlb_addr = self.pool.map(phys, size, tbl_dma_addr, dev.min_align_mask)
        if tlb_addr is None:
            total, used = self.pool.nslabs, self.pool.slots_used()
            self.emit(
                Event(
                    "guest",
                    "swiotlb_full",
                    device=dev.name,
                    size=size,
                    status="error",
                    attrs=f"total={total}|used={used}",
                    detail=f"{dev.name}: swiotlb buffer is full (sz: {size} bytes), total "
                    f"{total} (slots), used {used} (slots)",
                )
            )
            return DMA_MAPPING_ERROR
        dma_addr = self._phys_to_dma_unencrypted(dev, tlb_addr)
        if dma_capable(dev.dma, dma_addr, size):
            return dma_addr
        self.pool.unmap(tlb_addr, "TO_DEVICE", sync=False)
        self._overflow("bounce_overflow", "swiotlb addr", dev, dma_addr, size)
        return DMA_MAPPING_ERROR

    def unmap_phys(self, dev: Device, dma_addr: DmaAddr, direction: str) -> Ipa:
        """End a mapping. Returns the phys_addr_t that dma_to_phys() found for it.

        Where that address is no pool slot nothing is copied back: this is how a wrong
        dma_to_phys() loses a device's data without a word.
        """
        phys = self._dma_to_phys(dev, dma_addr)
        if phys in self.pool.slots:
            self.pool.unmap(phys, direction)
        return phys

    def _dma_to_phys(self, dev: Device, dma_addr: DmaAddr) -> Ipa:
        """dma_to_phys() and, where the bus has dma-ranges, the lookup in it, both traced."""

        def lookup(regions: Sequence[BusDmaRegion], bus: int) -> int:
            found = translate_dma_to_phys(regions, bus)
            if regions:
                self.trace("translate_dma_to_phys", dev, Ipa(found), DmaAddr(bus))
            return found

        phys = Ipa(dma_to_phys(dev.dma, dma_addr, lookup))
        self.trace("dma_to_phys", dev, phys, dma_addr)
        return phys

    def alloc(self, dev: Device, size: int) -> tuple[Ipa, DmaAddr] | None:
        """Which coherent memory gets the device: (phys, dma_addr)? None if it cannot drive any.

        Pages whose conversion fails are leaked, as the kernel does.
        """
        count = -(-size // PAGE_SIZE)
        phys = self.alloc_pages(count)
        if phys is None:
            return None
        dma_addr = self.phys_to_dma_direct(dev, phys)
        limit = min(filter(None, (dev.coherent_dma_mask, dev.dma.bus_dma_limit)))
        if dma_addr == DMA_MAPPING_ERROR or dma_addr + size - 1 > limit:
            self.free_pages(phys, count)
            return None
        if dev.force_unencrypted and self.memory.set_memory_decrypted(phys, count):
            self._warn("share_failed", f"Failed to decrypt memory, {count} pages will be leaked")
            return None
        self.memory.write(phys, bytes(count << PAGE_SHIFT))
        return phys, dma_addr

    def free(self, dev: Device, phys: Ipa, size: int) -> None:
        """Give coherent memory back; makes it private again first."""
        count = -(-size // PAGE_SIZE)
        if dev.force_unencrypted and self.memory.set_memory_encrypted(phys, count):
            self._warn("leaked", "leaking DMA memory that can't be re-encrypted")
            return
        self.free_pages(phys, count)
