"""Which of the host's own pages are free, for what it hands to the RMM and for its tables?"""

from __future__ import annotations

from dataclasses import dataclass, field

from topbit.memory import PhysicalMemory

PAGE = 4096


@dataclass(slots=True)
class PagePool:
    """Which host pages are free? A plain allocator of contiguous, zeroed-by-the-user pages.

    Attributes:
        next: first free physical address.
        end: first address behind the pool.
    """

    next: int
    end: int
    free: list[int] = field(default_factory=list)

    def page(self) -> int:
        """Which 4 KiB page may be used now?

        Raises:
            MemoryError: none is left.
        """
        return self.free.pop() if self.free else self.run(1)

    def run(self, count: int, align: int = PAGE) -> int:
        """Where do `count` contiguous pages start, aligned to `align` bytes?

        Raises:
            MemoryError: none are left.
        """
        start = -(-self.next // align) * align
        if start + count * PAGE > self.end:
            raise MemoryError("the host's page pool is empty")
        self.next = start + count * PAGE
        return start


class PageRange:
    """Which physical pages of [base, base + size) are free for tables?

    Calling it with a power-of-two size gives a zeroed block aligned to that size.
    """

    def __init__(self, memory: PhysicalMemory, base: int, size: int) -> None:
        self._memory = memory
        self._next = base
        self._end = base + size

    @property
    def free(self) -> int:
        """How many bytes are left?"""
        return self._end - self._next

    def __call__(self, size: int) -> int:
        """At which physical address do `size` zeroed bytes stand, aligned to their size?

        Raises:
            MemoryError: the range is used up.
        """
        pa = -(-self._next // size) * size
        if pa + size > self._end:
            raise MemoryError
        self._next = pa + size
        self._memory.fill(pa, size)
        return pa
