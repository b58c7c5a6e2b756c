"""Where does coherent memory come from when the caller may not sleep? (kernel/dma/pool.c)

Sharing pages may sleep, so a pool is shared beforehand. It never shrinks, and is never made
private again. Facts: Linux 7.2 and 7.3 atomic_pool_expand, __dma_alloc_from_pool.
"""

from __future__ import annotations

from collections.abc import Callable

from topbit.arch.ipa import Ipa
from topbit.events import Emit, Event
from topbit.linux.pageattr import PAGE_SIZE, LinearMap

SMALLEST = 128 << 10  # bytes, for each GiB of RAM
LARGEST = 4 << 20  # MAX_PAGE_ORDER


class AtomicPool:
    """The pool for atomic allocations (GFP_KERNEL's; the zones' pools differ in where they lie).

    Args:
        memory: the kernel's RAM.
        alloc_pages: gives N fresh contiguous pages, or None.
        shared: platforms with encrypted memory share it (CC_ATTR_MEM_ENCRYPT).
        emit: takes what is printed.

    Attributes:
        ready: it could be made.
    """

    def __init__(
        self,
        memory: LinearMap,
        alloc_pages: Callable[[int], Ipa | None],
        emit: Emit,
        *,
        shared: bool,
    ) -> None:
        self.memory = memory
        size = min(max(SMALLEST, memory.size >> 30 << 17), LARGEST)
        pages = size // PAGE_SIZE
        start = alloc_pages(pages)
        failed = start is None or (shared and memory.set_memory_decrypted(start, pages) != 0)
        self.start = start or Ipa(0)
        self.free = [not failed] * pages
        self.ready = not failed
        self.cc_shared = shared
        if failed:
            line = f"DMA: failed to allocate {size >> 10} KiB GFP_KERNEL pool for atomic allocation"
            emit(Event("guest", "trouble", status="atomic_pool", detail=line))

    def alloc(self, size: int) -> Ipa | None:
        """Which zeroed pages does an allocation of `size` bytes get? Aligned to their own size."""
        count = -(-size // PAGE_SIZE)
        align = 1 << (count - 1).bit_length()
        for first in range(0, len(self.free) - count + 1, align):
            if all(self.free[first : first + count]):
                self.free[first : first + count] = [False] * count
                phys = self.start + first * PAGE_SIZE
                self.memory.write(phys, bytes(count * PAGE_SIZE))
                return phys
        return None

    def release(self, phys: Ipa, size: int) -> bool:
        """Take pages back. False: they are none of this pool's (dma_free_from_pool)."""
        first = (phys - self.start) // PAGE_SIZE
        count = -(-size // PAGE_SIZE)
        if not self.ready or not 0 <= first <= len(self.free) - count:
            return False
        self.free[first : first + count] = [True] * count
        return True
