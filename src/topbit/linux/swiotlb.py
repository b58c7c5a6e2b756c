"""Which bounce buffer does a mapping get, and when is its data copied? (kernel/dma/swiotlb.c)

The original is copied in on every map, whatever the direction, so that a device that writes less
than it said leaks nothing of an earlier user; it is copied back by unmap and sync, by direction.
Facts: Linux 6.12, 7.2 and 7.3 swiotlb_tbl_map_single, swiotlb_bounce, swiotlb_find_slots,
swiotlb_max_mapping_size, swiotlb_alloc; CONFIG_SWIOTLB_DYNAMIC: swiotlb_dyn_alloc.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from topbit.addressing.scheme import U64
from topbit.arch.ipa import DmaAddr, Ipa
from topbit.events import Emit, Event
from topbit.linux.device import Device
from topbit.linux.dma_attrs import BIDIRECTIONAL, FROM_DEVICE, TO_DEVICE
from topbit.linux.pageattr import PAGE_SHIFT, PAGE_SIZE, LinearMap
from topbit.linux.swiotlb_pool import (
    INVALID_PHYS_ADDR,
    IO_TLB_SEGSIZE,
    IO_TLB_SHIFT,
    IO_TLB_SIZE,
    IoTlbPool,
    nr_slots,
    swiotlb_align_offset,
)

MAX_MAPPING = IO_TLB_SEGSIZE * IO_TLB_SIZE
MIN_SLABS = (1 << 20) >> IO_TLB_SHIFT
MOST_SLABS = PAGE_SIZE << 10 >> IO_TLB_SHIFT  # of what the page allocator gives (MAX_PAGE_ORDER)
TblDmaAddr = Callable[[Ipa], DmaAddr]
AllocPages = Callable[[int], Ipa | None]
FreePages = Callable[[Ipa, int], None]


@dataclass(slots=True)
class Growth:
    """How does a pool grow when it is full? (CONFIG_SWIOTLB_DYNAMIC)

    Attributes:
        alloc_pages: gives N fresh contiguous pages, or None.
        free_pages: takes them back.
        nslabs: slots of each pool that is added.
        wanted: a new pool was asked for, by a mapping that could not wait for it.
    """

    alloc_pages: AllocPages
    free_pages: FreePages
    nslabs: int
    wanted: bool = False


class IoTlbMem:
    """One swiotlb allocator: the default one, or a restricted pool (struct io_tlb_mem).

    Args:
        memory: how the kernel reaches its RAM.
        start, size: its first pool's RAM (phys_addr_t), bytes; whole 256 KiB segments.
        emit: takes what is printed.
        nareas: areas of the pool, one for each CPU.
        force_bounce: every mapping bounces (SWIOTLB_FORCE, swiotlb=force, a restricted pool).
        for_alloc: coherent memory comes out of it too (a restricted pool).
        growth: how it grows; None: it does not.

    Attributes:
        cc_shared: its memory is shared with the host.
        cpu: on which CPU the kernel runs: where the search begins.
        pools: its pools, the newest first.
        transient: pools of one mapping each (of all devices).
    """

    def __init__(
        self,
        memory: LinearMap,
        start: Ipa,
        size: int,
        emit: Emit,
        *,
        nareas: int = 1,
        force_bounce: bool = False,
        for_alloc: bool = False,
        growth: Growth | None = None,
    ) -> None:
        self.memory = memory
        self.start = start
        self.size = size
        self.emit = emit
        self.nareas = nareas
        self.force_bounce = force_bounce
        self.for_alloc = for_alloc
        self.growth = growth
        self.cc_shared = False
        self.cpu = 0
        self.pools = [IoTlbPool(start, size >> IO_TLB_SHIFT, nareas)]
        self.transient: list[IoTlbPool] = []

    @property
    def nslabs(self) -> int:
        """How many slots are in all pools?"""
        return sum(pool.nslabs for pool in self.pools)

    def slots_used(self) -> int:
        """How many slots of its pools are taken? (mem_used, io_tlb_used)"""
        return sum(pool.used() for pool in self.pools)

    def update_mem_attributes(self, *, disables: bool) -> int:
        """Share the whole first pool. Returns 0 or -EINVAL (swiotlb_update_mem_attributes).

        Args:
            disables: a pool that could not be shared is not used (7.3 on). Before, the result was
                ignored.
        """
        self.cc_shared = True
        failed = self.memory.set_memory_decrypted(self.start, self.size >> PAGE_SHIFT)
        if failed and disables:
            self.pools[-1].mark_used()
        return failed

    def find_pool(self, phys: Ipa) -> IoTlbPool | None:
        """In which pool lies `phys`, if in any? (swiotlb_find_pool)"""
        return next((p for p in (*self.pools, *self.transient) if p.contains(phys)), None)

    def max_mapping_size(self, dev: Device) -> int:
        """How long may one mapping be? (swiotlb_max_mapping_size), bytes."""
        return MAX_MAPPING - nr_slots(dev.min_align_mask) * IO_TLB_SIZE

    def tbl_map_single(
        self,
        dev: Device,
        orig_addr: Ipa,
        size: int,
        tbl_dma_addr: TblDmaAddr,
        *,
        alloc_align_mask: int = 0,
        warn: bool = True,
    ) -> Ipa | None:
        """At which bounce address does [orig_addr, +size) go, its content copied there?

        Args:
            dev: for whom.
            orig_addr, size: the original buffer.
            tbl_dma_addr: which device address a pool's first address has.
            alloc_align_mask: bits of the first slot, and of the allocated size, that must be zero.
            warn: print that the pool is full.

        Returns:
            phys_addr_t in the pool, or None: "swiotlb buffer is full".
        """
        offset = swiotlb_align_offset(dev, alloc_align_mask, orig_addr)
        taken = -(-(size + offset) // (alloc_align_mask + 1)) * (alloc_align_mask + 1)
        found = self._find_slots(dev, orig_addr, taken, tbl_dma_addr, alloc_align_mask)
        if found is None:
            if warn:
                self._full(dev, taken)
            return None
        pool, first = found
        padding = offset >> IO_TLB_SHIFT
        first += padding
        pool.pad_slots[first] = padding
        for i in range(nr_slots(taken) - padding):
            pool.orig_addr[first + i] = orig_addr + (i << IO_TLB_SHIFT)
        tlb_addr = pool.slot_addr(first) + (offset & (IO_TLB_SIZE - 1))
        self.bounce(dev, tlb_addr, size, TO_DEVICE, pool)
        return tlb_addr

    def _full(self, dev: Device, size: int) -> None:
        total, used = self.nslabs, self.slots_used()
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

    def _find_slots(
        self,
        dev: Device,
        orig_addr: Ipa,
        size: int,
        tbl_dma_addr: TblDmaAddr,
        alloc_align_mask: int,
    ) -> tuple[IoTlbPool, int] | None:
        """Which slots fit: this CPU's area first, then the others, in every pool."""
        if self.growth is not None and size > MAX_MAPPING:
            return None
        for further in range(self.nareas):
            for pool in self.pools:
                if further >= len(pool.areas):
                    continue
                area = self._area(pool, further)
                table = tbl_dma_addr(pool.start)
                slot = pool.search_area(dev, area, orig_addr, table, size, alloc_align_mask)
                if slot is not None:
                    return pool, slot
        if self.growth is None:
            return None
        return self._grow(dev, orig_addr, size, tbl_dma_addr, alloc_align_mask)

    def _area(self, pool: IoTlbPool, further: int) -> int:
        """Which area is the `further`th from this CPU's? The last is followed by the first."""
        count = len(pool.areas)
        if self.growth is not None:
            return (self.cpu + further) & (count - 1)
        return ((self.cpu & (count - 1)) + further) % count

    def _grow(
        self,
        dev: Device,
        orig_addr: Ipa,
        size: int,
        tbl_dma_addr: TblDmaAddr,
        alloc_align_mask: int,
    ) -> tuple[IoTlbPool, int] | None:
        """Ask for another pool, and make one for this mapping alone meanwhile."""
        assert self.growth is not None
        self.growth.wanted = True
        pool = self._new_pool(nr_slots(size), 1, transient=True)
        if pool is None:
            return None
        table = tbl_dma_addr(pool.start)
        slot = pool.search_area(dev, 0, orig_addr, table, size, alloc_align_mask)
        if slot is None:
            self._free_pool(pool)
            return None
        self.transient.append(pool)
        return pool, slot

    def dyn_alloc(self) -> None:
        """Add the pool that was asked for (the worker swiotlb_dyn_alloc)."""
        if self.growth is None or not self.growth.wanted:
            return
        self.growth.wanted = False
        pool = self._new_pool(self.growth.nslabs, self.nareas)
        if pool is None:
            detail = "software IO TLB: Failed to allocate new pool"
            self.emit(Event("guest", "trouble", status="pool_disabled", detail=detail))
        else:
            self.pools.insert(0, pool)

    def _new_pool(self, nslabs: int, nareas: int, *, transient: bool = False) -> IoTlbPool | None:
        """Make a pool, of fewer slots if there is no room for all (swiotlb_alloc_pool)."""
        least = nslabs if transient else MIN_SLABS
        nslabs = min(nslabs, MOST_SLABS)
        while (start := self._pages_for(nslabs)) is None:
            if nslabs <= least:
                return None
            nslabs = -(-(nslabs >> 1) // IO_TLB_SEGSIZE) * IO_TLB_SEGSIZE
        return IoTlbPool(start, nslabs, nareas, transient=transient)

    def _pages_for(self, nslabs: int) -> Ipa | None:
        """Which pages can be used for so many slots? Those that cannot be shared are leaked."""
        assert self.growth is not None
        pages = _pages(nslabs)
        start = self.growth.alloc_pages(pages)
        if start is not None and self.cc_shared and self.memory.set_memory_decrypted(start, pages):
            return None
        return start

    def _free_pool(self, pool: IoTlbPool) -> None:
        assert self.growth is not None
        pages = _pages(pool.nslabs)
        if not self.cc_shared or not self.memory.set_memory_encrypted(pool.start, pages):
            self.growth.free_pages(pool.start, pages)

    def tbl_unmap_single(
        self, dev: Device, tlb_addr: Ipa, size: int, direction: str, *, sync: bool = True
    ) -> bool:
        """End the mapping at `tlb_addr`; copies what the device wrote back first.

        Returns:
            False: the address lies in no pool, and nothing was done.
        """
        pool = self.find_pool(tlb_addr)
        if pool is None:
            return False
        if sync and direction in (FROM_DEVICE, BIDIRECTIONAL):
            self.bounce(dev, tlb_addr, size, FROM_DEVICE, pool)
        if pool.transient:
            self.transient.remove(pool)
            self._free_pool(pool)
        else:
            pool.release(dev, tlb_addr)
        return True

    def sync_single_for_device(self, dev: Device, addr: Ipa, size: int, direction: str) -> None:
        """Copy what the driver changed to the bounce buffer, if `addr` is in one."""
        pool = self.find_pool(addr)
        if pool is not None and direction in (TO_DEVICE, BIDIRECTIONAL):
            self.bounce(dev, addr, size, TO_DEVICE, pool)

    def sync_single_for_cpu(self, dev: Device, addr: Ipa, size: int, direction: str) -> None:
        """Copy what the device wrote to the driver's buffer, if `addr` is in a bounce buffer."""
        pool = self.find_pool(addr)
        if pool is not None and direction in (FROM_DEVICE, BIDIRECTIONAL):
            self.bounce(dev, addr, size, FROM_DEVICE, pool)

    def bounce(
        self, dev: Device, tlb_addr: Ipa, size: int, direction: str, pool: IoTlbPool
    ) -> None:
        """Copy `size` bytes at `tlb_addr`: from the original (TO_DEVICE) or to it (swiotlb_bounce).

        The address may lie anywhere in a mapping: a part of it may be copied. More than is left of
        the mapping is warned of and cut.
        """
        slot = pool.index_of(tlb_addr)
        orig_addr = pool.orig_addr[slot]
        if orig_addr == INVALID_PHYS_ADDR:
            return
        into_slot = (tlb_addr & (IO_TLB_SIZE - 1)) - swiotlb_align_offset(dev, 0, orig_addr)
        orig_addr = Ipa((orig_addr + into_slot) & U64)
        left = pool.alloc_size[slot] - into_slot
        if size > left:
            line = f"Buffer overflow detected. Allocation size: {left}. Mapping size: {size}."
            detail = f"{dev.name}: {line}"
            self.emit(
                Event("guest", "trouble", device=dev.name, status="bounce_sync", detail=detail)
            )
            size = left
        if direction == TO_DEVICE:
            self.memory.write(tlb_addr, self.memory.read(orig_addr, size))
        else:
            self.memory.write(orig_addr, self.memory.read(tlb_addr, size))

    def alloc(self, dev: Device, size: int, tbl_dma_addr: TblDmaAddr) -> Ipa | None:
        """Which pages of a restricted pool does an allocation get? (swiotlb_alloc)"""
        align = (PAGE_SIZE << (-(-size // PAGE_SIZE) - 1).bit_length()) - 1
        found = self._find_slots(dev, Ipa(0), size, tbl_dma_addr, align)
        return found and found[0].slot_addr(found[1])

    def free(self, dev: Device, phys: Ipa) -> None:
        """Give pages of `alloc` back (swiotlb_free)."""
        pool = self.find_pool(phys)
        if pool is not None:
            pool.release(dev, phys)


def _pages(nslabs: int) -> int:
    return -(-(nslabs << IO_TLB_SHIFT) // PAGE_SIZE)
