"""Where does coherent memory come from when the caller may not sleep? (kernel/dma/pool.c)

Sharing pages may sleep, so a pool is shared beforehand, and grows later, where sleeping is allowed.
It never shrinks, and is never made private again. Facts: Linux 6.12, 7.2 and 7.3
atomic_pool_expand, __dma_alloc_from_pool; lib/genalloc.c.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from topbit.arch.ipa import Ipa
from topbit.events import Emit, Event
from topbit.linux.pageattr import PAGE_SIZE, LinearMap

SMALLEST = 128 << 10  # bytes, for each GiB of RAM
MAX_PAGE_ORDER = 10
LARGEST = PAGE_SIZE << MAX_PAGE_ORDER


def _anything_fits(phys: Ipa) -> bool:
    return True


def leaked(phys: Ipa, pages: int) -> None:
    """Who takes pages of which nobody knows whether they are shared? Nobody."""


@dataclass(frozen=True, slots=True)
class _Chunk:
    """Which pages did the pool get at once, and which of them are free?"""

    start: Ipa
    free: list[bool]

    def fit(self, count: int) -> int | None:
        """Which `count` pages are the first that are free, aligned to their own size?"""
        align = 1 << (count - 1).bit_length()
        for first in range(0, len(self.free) - count + 1, align):
            if all(self.free[first : first + count]):
                return first
        return None


class AtomicPool:
    """The pool for atomic allocations (GFP_KERNEL's; the zones' pools differ in where they lie).

    - Made with the kernel; `alloc()` takes pages out, `release()` takes them back.
    - Less than its first size is free: it is to grow, which `resize()` does.

    Args:
        memory: the kernel's RAM.
        alloc_pages: gives N fresh contiguous pages, or None.
        emit: takes what is printed.
        shared: platforms with encrypted memory share it (CC_ATTR_MEM_ENCRYPT).
        free_pages: takes pages back that could not be shared (up to 7.2); else they are leaked.

    Attributes:
        ready: it could be made.
        least: its first size, bytes.
    """

    def __init__(
        self,
        memory: LinearMap,
        alloc_pages: Callable[[int], Ipa | None],
        emit: Emit,
        *,
        shared: bool,
        free_pages: Callable[[Ipa, int], None] = leaked,
    ) -> None:
        self.memory = memory
        self.cc_shared = shared
        self.least = min(max(SMALLEST, memory.size >> 30 << 17), LARGEST)
        self._alloc_pages, self._free_pages = alloc_pages, free_pages
        self._chunks: list[_Chunk] = []
        self._low = False
        self.ready = self._expand(self.least)
        if not self.ready:
            size = self.least >> 10
            line = f"DMA: failed to allocate {size} KiB GFP_KERNEL pool for atomic allocation"
            emit(Event("guest", "trouble", status="atomic_pool", detail=line))

    @property
    def size(self) -> int:
        """How large is it? Bytes."""
        return sum(len(chunk.free) for chunk in self._chunks) * PAGE_SIZE

    @property
    def available(self) -> int:
        """How much of it is free? Bytes."""
        return sum(sum(chunk.free) for chunk in self._chunks) * PAGE_SIZE

    def _expand(self, size: int) -> bool:
        """Add `size` bytes, or the largest power of two below that there is."""
        pages = min(1 << (-(-size // PAGE_SIZE) - 1).bit_length(), 1 << MAX_PAGE_ORDER)
        while (start := self._alloc_pages(pages)) is None:
            pages >>= 1
            if not pages:
                return False
        if self.cc_shared and self.memory.set_memory_decrypted(start, pages):
            self._free_pages(start, pages)
            return False
        self._chunks.insert(0, _Chunk(start, [True] * pages))
        return True

    def resize(self) -> None:
        """Do what was put off to where sleeping is allowed (atomic_pool_work_fn)."""
        wanted, self._low = self._low, False
        if wanted and self.available < self.least:
            self._expand(self.size)

    def alloc(self, size: int, fits: Callable[[Ipa], bool] = _anything_fits) -> Ipa | None:
        """Which zeroed memory does an allocation of `size` bytes get? Aligned to its own size.

        `fits`: can its device drive it? The first place is asked about, and no other.
        """
        count = -(-size // PAGE_SIZE)
        for chunk in self._chunks if size else ():
            if size > sum(chunk.free) * PAGE_SIZE or (first := chunk.fit(count)) is None:
                continue
            phys = chunk.start + first * PAGE_SIZE
            if not fits(phys):
                return None
            chunk.free[first : first + count] = [False] * count
            self._low |= self.available < self.least
            self.memory.write(phys, bytes(size))
            return phys
        return None

    def release(self, phys: Ipa, size: int) -> bool:
        """Take memory back. False: it is none of this pool's (dma_free_from_pool)."""
        count = -(-size // PAGE_SIZE)
        for chunk in self._chunks:
            first = (phys - chunk.start) // PAGE_SIZE
            if 0 <= first <= len(chunk.free) - count:
                chunk.free[first : first + count] = [True] * count
                return True
        return False
