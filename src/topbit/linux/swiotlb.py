"""Which bounce buffer does a mapping get, and when is its data copied? (kernel/dma/swiotlb.c)

Facts: Linux 7.2 kernel/dma/swiotlb.c: 2 KiB slots (IO_TLB_SHIFT), at most 128 of them in one
mapping (IO_TLB_SEGSIZE), a mapping never crosses a group of 128; a mapping of a page or more
without masks is page aligned; the low bits under min_align_mask are kept. The original is copied
in on every map, whatever the direction (swiotlb_tbl_map_single), so that a device that writes
less than it said leaks nothing of an earlier user.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from topbit.arch.ipa import DmaAddr, Ipa
from topbit.linux.pageattr import PAGE_SHIFT, PAGE_SIZE, LinearMap

IO_TLB_SHIFT = 11
IO_TLB_SIZE = 1 << IO_TLB_SHIFT
IO_TLB_SEGSIZE = 128
TO_DEVICE, FROM_DEVICE, BIDIRECTIONAL = "TO_DEVICE", "FROM_DEVICE", "BIDIRECTIONAL"


@dataclass(slots=True)
class Slot:
    """Which mapping lives in the pool? Keyed by its bounce address."""

    orig_addr: Ipa
    size: int
    first: int
    count: int


class IoTlbPool:
    """Which slots of the pool are free, and what do the others stand for? (struct io_tlb_mem)

    Args:
        memory: how the kernel reaches its RAM.
        start, size: the pool's RAM (phys_addr_t), bytes; whole 256 KiB groups.
    """

    def __init__(self, memory: LinearMap, start: Ipa, size: int) -> None:
        self.memory = memory
        self.start = start
        self.size = size
        self.nslabs = size >> IO_TLB_SHIFT
        self.used = np.zeros(self.nslabs, dtype=np.bool_)
        self.slots: dict[Ipa, Slot] = {}

    def update_mem_attributes(self) -> int:
        """Share the whole pool. Returns 0 or -EINVAL (swiotlb_update_mem_attributes)."""
        return self.memory.set_memory_decrypted(self.start, self.size >> PAGE_SHIFT)

    def contains(self, phys: Ipa) -> bool:
        """Is `phys` inside the pool? (is_swiotlb_buffer)"""
        return self.start <= phys < self.start + self.size

    def max_mapping_size(self, min_align_mask: int) -> int:
        """How long may one mapping be? (swiotlb_max_mapping_size), bytes."""
        padding = -(-min_align_mask // IO_TLB_SIZE) * IO_TLB_SIZE if min_align_mask else 0
        return IO_TLB_SEGSIZE * IO_TLB_SIZE - padding

    def map(
        self, orig_addr: Ipa, size: int, tbl_dma_addr: DmaAddr, min_align_mask: int = 0
    ) -> Ipa | None:
        """At which bounce address does [orig_addr, +size) go, its content copied there?

        Args:
            orig_addr: the original buffer.
            size: bytes.
            tbl_dma_addr: the pool's first *device* address; slots must be aligned there, so a
                wrong bit in it leaves no slot that fits and "full" is printed with none used.
            min_align_mask: low bits that the bounce address keeps.

        Returns:
            phys_addr_t in the pool, or None: "swiotlb buffer is full".
        """
        offset = orig_addr & min_align_mask & (IO_TLB_SIZE - 1)
        count = -(-(size + offset) // IO_TLB_SIZE)
        first = self._find(orig_addr, count, size, tbl_dma_addr, min_align_mask)
        if first is None:
            return None
        self.used[first : first + count] = True
        tlb_addr = self.start + (first << IO_TLB_SHIFT) + offset
        self.slots[tlb_addr] = Slot(orig_addr, size, first, count)
        self.bounce(tlb_addr, TO_DEVICE)
        return tlb_addr

    def _find(
        self, orig_addr: Ipa, count: int, size: int, tbl_dma_addr: DmaAddr, min_align_mask: int
    ) -> int | None:
        if count > IO_TLB_SEGSIZE or tbl_dma_addr & (IO_TLB_SIZE - 1):
            return None
        slot_mask = min_align_mask & ~(IO_TLB_SIZE - 1)
        stride = PAGE_SIZE >> IO_TLB_SHIFT if not min_align_mask and size >= PAGE_SIZE else 1
        for first in range(0, self.nslabs - count + 1, stride):
            if first % IO_TLB_SEGSIZE + count > IO_TLB_SEGSIZE:
                continue
            address = self.start + (first << IO_TLB_SHIFT)
            if (address ^ orig_addr) & slot_mask:
                continue
            if not self.used[first : first + count].any():
                return first
        return None

    def unmap(self, tlb_addr: Ipa, direction: str, *, sync: bool = True) -> None:
        """End a mapping; copies what the device wrote back to the original first.

        Raises:
            KeyError: no mapping starts there.
        """
        slot = self.slots[tlb_addr]
        if sync and direction in (FROM_DEVICE, BIDIRECTIONAL):
            self.bounce(tlb_addr, FROM_DEVICE)
        del self.slots[tlb_addr]
        self.used[slot.first : slot.first + slot.count] = False

    def bounce(self, tlb_addr: Ipa, direction: str) -> None:
        """Copy a mapping's data: original to pool (TO_DEVICE) or back (swiotlb_bounce)."""
        slot = self.slots[tlb_addr]
        if direction == TO_DEVICE:
            self.memory.write(tlb_addr, self.memory.read(slot.orig_addr, slot.size))
        else:
            self.memory.write(slot.orig_addr, self.memory.read(tlb_addr, slot.size))

    def slots_used(self) -> int:
        """How many slots are taken? (io_tlb_used)"""
        return int(self.used.sum())
