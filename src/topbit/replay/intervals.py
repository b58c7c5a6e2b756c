"""Which value holds at an address? A map from disjoint address ranges to values.

Used to replay a recording: which DMA mapping, which stage-2 entry, which page state was there
when an access came.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from typing import Generic, TypeVar

V = TypeVar("V")


class IntervalMap(Generic[V]):
    """Which value has each address? Later ranges overwrite earlier ones; ranges can be cut."""

    def __init__(self) -> None:
        self._starts: list[int] = []
        self._ends: list[int] = []
        self._values: list[V] = []

    def set(self, start: int, size: int, value: V) -> None:
        """Give [start, start + size) the value."""
        if size <= 0:
            return
        self.clear(start, size)
        at = bisect_left(self._starts, start)
        # Neighbours of equal value merge, so that page-wise mapping stays one range.
        if at and self._ends[at - 1] == start and self._values[at - 1] == value:
            self._ends[at - 1] = start + size
            return
        self._starts.insert(at, start)
        self._ends.insert(at, start + size)
        self._values.insert(at, value)

    def clear(self, start: int, size: int) -> None:
        """Take [start, start + size) out."""
        end = start + size
        first = max(bisect_right(self._starts, start) - 1, 0)
        last = first
        kept: list[tuple[int, int, V]] = []
        while last < len(self._starts) and self._starts[last] < end:
            old_start, old_end, value = self._starts[last], self._ends[last], self._values[last]
            if old_end <= start:
                kept.append((old_start, old_end, value))
            else:
                if old_start < start:
                    kept.append((old_start, start, value))
                if old_end > end:
                    kept.append((end, old_end, value))
            last += 1
        self._starts[first:last] = [piece[0] for piece in kept]
        self._ends[first:last] = [piece[1] for piece in kept]
        self._values[first:last] = [piece[2] for piece in kept]

    def at(self, address: int) -> V | None:
        """Which value has this address?"""
        index = bisect_right(self._starts, address) - 1
        if index >= 0 and address < self._ends[index]:
            return self._values[index]
        return None

    def overlapping(self, start: int, size: int) -> Iterator[tuple[int, int, V]]:
        """Which (start, end, value) ranges touch [start, start + size)?"""
        index = max(bisect_right(self._starts, start) - 1, 0)
        while index < len(self._starts) and self._starts[index] < start + size:
            if self._ends[index] > start:
                yield self._starts[index], self._ends[index], self._values[index]
            index += 1

    def covers(self, start: int, size: int) -> bool:
        """Has every address of [start, start + size) a value?"""
        reached = start
        for piece_start, piece_end, _ in self.overlapping(start, size):
            if piece_start > reached:
                return False
            reached = piece_end
        return reached >= start + size

    def __len__(self) -> int:
        return len(self._starts)
