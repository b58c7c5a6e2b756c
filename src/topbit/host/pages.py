"""Which of the host's own pages are free, for what it hands to the RMM and for its tables?"""

from __future__ import annotations

from topbit.arch.ipa import Pa
from topbit.memory import PhysicalMemory

PAGE = 4096


class PagePool:
    """Which of the host's pages in [base, base + size) are free?

    Attributes:
        free: pages that were given back: whoever has no more use for one appends it.
    """

    def __init__(self, base: Pa, size: int) -> None:
        self.free: list[Pa] = []
        self._next = base
        self._end = base + size

    def page(self) -> Pa:
        """Which 4 KiB page may be used now? What stands in it is unknown.

        Raises:
            MemoryError: none is left.
        """
        return self.free.pop() if self.free else self.run(1)

    def run(self, count: int, align: int = PAGE) -> Pa:
        """Where do `count` contiguous pages start, aligned to `align` bytes?

        Raises:
            MemoryError: none are left.
        """
        start = self._next + -self._next % align
        if start + count * PAGE > self._end:
            raise MemoryError("the host's page pool is empty")
        self._next = start + count * PAGE
        return start


class PageRange:
    """Which physical pages of [base, base + size) are free for tables?

    Calling it with a power-of-two size gives a zeroed block aligned to that size.
    """

    def __init__(self, memory: PhysicalMemory, base: Pa, size: int) -> None:
        self._memory = memory
        self._next = base
        self._end = base + size

    @property
    def free(self) -> int:
        """How many bytes are left?"""
        return self._end - self._next

    def __call__(self, size: int) -> Pa:
        """At which physical address do `size` zeroed bytes stand, aligned to their size?

        Raises:
            MemoryError: the range is used up.
        """
        pa = self._next + -self._next % size
        if pa + size > self._end:
            raise MemoryError
        self._next = pa + size
        self._memory.fill(pa, size)
        return pa
