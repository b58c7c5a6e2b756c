"""Which slots of a bounce pool are free? (struct io_tlb_pool, kernel/dma/swiotlb.c)

A pool is slots of 2 KiB, in areas, one for each CPU, each of which is searched from where the last
search of it ended. A slot knows how many free ones follow it in its segment of 128; so a mapping
never crosses a segment, and 256 KiB is the longest. What a mapping begins with:

- its low bits are those of the original buffer under the device's min_align_mask; what of them
  does not choose the slot is an offset into it, and slots before that offset are padding;
- the bits under alloc_align_mask of the first slot, padding included, are zero;
- a mapping of a page or more, with neither mask, begins at a page.

All of this holds for the pool's *device* address: a wrong bit in it leaves no slot that fits.
Facts: Linux 6.12, 7.2 and 7.3 swiotlb_search_pool_area, swiotlb_release_slots, limit_nareas.
"""

from __future__ import annotations

from dataclasses import dataclass

from topbit.arch.ipa import DmaAddr, Ipa
from topbit.linux.device import Device
from topbit.linux.pageattr import PAGE_SIZE

IO_TLB_SHIFT = 11
IO_TLB_SIZE = 1 << IO_TLB_SHIFT
IO_TLB_SEGSIZE = 128
INVALID_PHYS_ADDR = Ipa((1 << 64) - 1)


def nr_slots(size: int) -> int:
    """How many slots have `size` bytes?"""
    return -(-size // IO_TLB_SIZE)


def limit_nareas(nareas: int, nslots: int) -> int:
    """How many areas has a pool at most, so that each has a segment?"""
    return nslots // IO_TLB_SEGSIZE if nslots < nareas * IO_TLB_SEGSIZE else nareas


def swiotlb_align_offset(dev: Device, align_mask: int, address: Ipa) -> int:
    """How far into its first slot (padding included) does a mapping of `address` begin? Bytes."""
    return address & dev.min_align_mask & (align_mask | (IO_TLB_SIZE - 1))


@dataclass(slots=True)
class Area:
    """One area: slots taken, and where its next search begins (struct io_tlb_area)."""

    taken: int = 0
    index: int = 0


class IoTlbPool:
    """The slots of one pool.

    Args:
        start: first address of its memory (phys_addr_t).
        nslabs: slots; a multiple of 128.
        nareas: areas wanted, a power of two.

    Attributes:
        free: for each slot, free slots from it on in its segment; 0: it is taken.
        orig_addr: for each slot, the original buffer's address of what it holds.
        alloc_size: for each slot, bytes of the mapping from the original's start in it on.
        pad_slots: padding slots before the first slot of a mapping.
        transient: it holds one mapping, and goes with it.
    """

    def __init__(
        self, start: Ipa, nslabs: int, nareas: int = 1, *, transient: bool = False
    ) -> None:
        self.start = start
        self.nslabs = nslabs
        self.end = start + (nslabs << IO_TLB_SHIFT)
        self.transient = transient
        self.areas = [Area() for _ in range(limit_nareas(nareas, nslabs) or 1)]
        self.area_nslabs = nslabs // len(self.areas)
        self.free = [min(IO_TLB_SEGSIZE - i % IO_TLB_SEGSIZE, nslabs - i) for i in range(nslabs)]
        self.orig_addr = [INVALID_PHYS_ADDR] * nslabs
        self.alloc_size = [0] * nslabs
        self.pad_slots = [0] * nslabs

    def contains(self, phys: Ipa) -> bool:
        """Does `phys` lie in the pool?"""
        return self.start <= phys < self.end

    def used(self) -> int:
        """How many slots are taken? (mem_pool_used)"""
        return sum(area.taken for area in self.areas)

    def mark_used(self) -> None:
        """Take all slots for ever: the pool cannot be used (swiotlb_mark_pool_used)."""
        for area in self.areas:
            area.index, area.taken = 0, self.area_nslabs
        self.free = [0] * self.nslabs

    def slot_addr(self, index: int) -> Ipa:
        """At which address is a slot?"""
        return self.start + (index << IO_TLB_SHIFT)

    def index_of(self, tlb_addr: Ipa) -> int:
        """In which slot lies an address of the pool?"""
        return (tlb_addr - self.start) >> IO_TLB_SHIFT

    def search_area(
        self,
        dev: Device,
        area_index: int,
        orig_addr: Ipa,
        tbl_dma_addr: DmaAddr,
        alloc_size: int,
        alloc_align_mask: int,
    ) -> int | None:
        """Which slot of one area does a mapping get? It and those that follow are taken then.

        Args:
            dev: its min_align_mask and segment boundary are kept.
            area_index: the area.
            orig_addr: the original buffer; 0 for an allocation, which has none.
            tbl_dma_addr: the pool's first *device* address.
            alloc_size: bytes, padding included.
            alloc_align_mask: bits of the first slot's device address that must be zero.

        Returns:
            the first slot's number in the pool; None if nothing fits.
        """
        area = self.areas[area_index]
        count = nr_slots(alloc_size)
        align_mask = dev.min_align_mask
        if not alloc_align_mask and not align_mask and alloc_size >= PAGE_SIZE:
            alloc_align_mask = PAGE_SIZE - 1
        alloc_align_mask |= IO_TLB_SIZE - 1
        align_mask &= ~alloc_align_mask
        stride = (max(alloc_align_mask, align_mask) >> IO_TLB_SHIFT) + 1
        if count > self.area_nslabs - area.taken:
            return None
        table = tbl_dma_addr & dev.seg_boundary_mask
        per_boundary = (dev.seg_boundary_mask >> IO_TLB_SHIFT) + 1
        base, index, checked = area_index * self.area_nslabs, area.index, 0
        while checked < self.area_nslabs:
            slot = base + index
            address = table + (slot << IO_TLB_SHIFT)
            differs = address ^ (orig_addr or address)
            aligned = not (address & alloc_align_mask or differs & align_mask)
            within = (nr_slots(table) + slot) % per_boundary + count <= per_boundary
            if aligned and within and self.free[slot] >= count:
                self._take(slot, count, alloc_size - swiotlb_align_offset(dev, 0, orig_addr))
                area.index = self._wrapped(index + count)
                area.taken += count
                return slot
            step = stride if aligned else 1
            index = self._wrapped(index + step)
            checked += step
        return None

    def _wrapped(self, index: int) -> int:
        return 0 if index >= self.area_nslabs else index

    def _take(self, first: int, count: int, size: int) -> None:
        for slot in range(first, first + count):
            self.free[slot] = 0
            self.alloc_size[slot] = size - ((slot - first) << IO_TLB_SHIFT)
        self._count_before(first, 0)

    def _count_before(self, first: int, count: int) -> None:
        """Tell the free slots before `first`, in its segment, that `count` follow there."""
        slot = first - 1
        while slot % IO_TLB_SEGSIZE != IO_TLB_SEGSIZE - 1 and self.free[slot]:
            count += 1
            self.free[slot] = count
            slot -= 1

    def release(self, dev: Device, tlb_addr: Ipa) -> None:
        """Give the slots of the mapping that begins at `tlb_addr` back (swiotlb_release_slots)."""
        offset = swiotlb_align_offset(dev, 0, tlb_addr)
        first = self.index_of(tlb_addr - offset)
        first -= self.pad_slots[first]
        count = nr_slots(self.alloc_size[first] + offset)
        after = first + count
        segment_end = (first // IO_TLB_SEGSIZE + 1) * IO_TLB_SEGSIZE
        run = self.free[after] if after < segment_end else 0
        for slot in range(after - 1, first - 1, -1):
            run += 1
            self.free[slot] = run
            self.orig_addr[slot] = INVALID_PHYS_ADDR
            self.alloc_size[slot] = self.pad_slots[slot] = 0
        self._count_before(first, run)
        self.areas[first // self.area_nslabs].taken -= count
