"""Random operations on a pool that grows (CONFIG_SWIOTLB_DYNAMIC)."""

from __future__ import annotations

from dataclasses import dataclass

from swiotlb_oracle import BASE, BUFFERS, Twin
from topbit.linux.pageattr import PAGE_SIZE
from topbit.linux.swiotlb import Growth
from topbit.linux.swiotlb_pool import IO_TLB_SHIFT

MAX_PAGE_ORDER = 10


@dataclass
class GrowingTwin(Twin):
    """A twin whose pool has few or many slots at first, and whose pages are given as it says."""

    size: int = 16 << 20
    given_back: int = 0

    def __post_init__(self) -> None:
        self.next, self.largest = BUFFERS, 0
        super().__post_init__()
        self._room(0)

    def first_size(self) -> int:
        return 2 << 20 if self.seed % 2 else super().first_size()

    def growth(self) -> Growth:
        return Growth(self._pages, self._free_pages, self.first_size() >> IO_TLB_SHIFT)

    def _pages(self, count: int) -> int | None:
        order = (count - 1).bit_length()
        size = PAGE_SIZE << order
        at = -(-self.next // size) * size
        if order >= self.largest or at + size > self.size - self.pool_size:
            return None
        self.next = at + size
        return BASE + at

    def _free_pages(self, phys: int, count: int) -> None:
        self.given_back += 1 << (count - 1).bit_length()

    def _room(self, largest: int) -> None:
        self.largest = largest
        self._do("p", BUFFERS, largest)

    def _map(self) -> None:
        if self.random.random() < 0.05:
            self._room(self.random.choice((0, 2, 4, 6, 9, MAX_PAGE_ORDER + 1)))
        if self.random.random() < 0.02:
            self.pool.dyn_alloc()
            self._do("g")
            self._result(self.pool.nslabs)
        super()._map()

    def _result(self, result: int) -> None:
        self.results.append((result, self.pool.slots_used() + (self.given_back << 32)))
