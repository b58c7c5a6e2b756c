"""Which value holds at an address? A map from disjoint address ranges to values.

Used to replay a recording: which DMA mapping, which stage-2 entry, which page state was there
when an access came.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from typing import Generic, TypeVar

V = TypeVar("V")

RUN = 512
"""How many starts a run holds at most: an insertion moves no more than these."""


class IntervalMap(Generic[V]):
    """Which value has each address? Later ranges overwrite earlier ones; ranges can be cut.

    - The starts of all ranges stand in order, in runs of at most `RUN`: two bisections find one.
    - Where a range ends and which value it has stands under its start.

    `set` and `clear` take O(log n) for each range that they add, cut or take away.
    """

    def __init__(self) -> None:
        self._runs: list[list[int]] = []
        self._firsts: list[int] = []
        self._ranges: dict[int, tuple[int, V]] = {}

    def set(self, start: int, size: int, value: V) -> None:
        """Give [start, start + size) the value."""
        if size <= 0:
            return
        end = start + size
        known = self._ranges.get(start)
        if known is not None and known[0] == end:
            self._ranges[start] = (end, value)
            return
        self.clear(start, size)
        # Neighbours of equal value merge, so that page-wise mapping stays one range.
        beyond = self._ranges.get(end)
        if beyond is not None and beyond[1] == value:
            self._take_out(end, end + 1)
            end = self._ranges.pop(end)[0]
        before = self._last_below(start)
        if before is not None and self._ranges[before] == (start, value):
            self._ranges[before] = (end, value)
        else:
            self._put_in(start, end, value)

    def clear(self, start: int, size: int) -> None:
        """Take [start, start + size) out."""
        if size <= 0:
            return
        end = start + size
        reached, rest = end, None
        before = self._last_below(start)
        if before is not None and self._ranges[before][0] > start:
            reached, value = self._ranges[before]
            rest = (reached, value)
            self._ranges[before] = (start, value)
        for inside in self._take_out(start, end):
            rest = self._ranges.pop(inside)
        # Of what is cut only the last range can go on beyond the end.
        if rest is not None and rest[0] > end:
            self._put_in(end, *rest)

    def at(self, address: int) -> V | None:
        """Which value has this address?"""
        start = self._last_below(address + 1)
        if start is None:
            return None
        end, value = self._ranges[start]
        return value if address < end else None

    def overlapping(self, start: int, size: int) -> Iterator[tuple[int, int, V]]:
        """Which (start, end, value) ranges touch [start, start + size)?"""
        before = self._last_below(start)
        if before is not None and self._ranges[before][0] > start:
            yield before, *self._ranges[before]
        for index in range(max(bisect_right(self._firsts, start) - 1, 0), len(self._runs)):
            run = self._runs[index]
            low, high = bisect_left(run, start), bisect_left(run, start + size)
            for inside in run[low:high]:
                yield inside, *self._ranges[inside]
            if high < len(run):
                return

    def covers(self, start: int, size: int) -> bool:
        """Has every address of [start, start + size) a value?"""
        first = self._last_below(start + 1)
        if first is None or self._ranges[first][0] <= start:
            return size <= 0
        if self._ranges[first][0] >= start + size:
            return True
        reached = start
        for piece_start, piece_end, _ in self.overlapping(start, size):
            if piece_start > reached:
                return False
            reached = piece_end
        return reached >= start + size

    def __len__(self) -> int:
        return len(self._ranges)

    def _last_below(self, address: int) -> int | None:
        """Which range starts last of those that start below the address?"""
        index = bisect_left(self._firsts, address) - 1
        if index < 0:
            return None
        run = self._runs[index]
        return run[bisect_left(run, address) - 1]

    def _put_in(self, start: int, end: int, value: V) -> None:
        """Add a range that touches no other."""
        self._ranges[start] = (end, value)
        index = bisect_right(self._firsts, start) - 1
        if index < 0:
            if not self._runs:
                self._runs.append([])
                self._firsts.append(start)
            index = 0
        run = self._runs[index]
        run.insert(bisect_left(run, start), start)
        self._firsts[index] = run[0]
        if len(run) > RUN:
            half = len(run) // 2
            self._runs.insert(index + 1, run[half:])
            self._firsts.insert(index + 1, run[half])
            del run[half:]

    def _take_out(self, start: int, end: int) -> list[int]:
        """Which starts lay in [start, end)? They do no longer."""
        taken: list[int] = []
        index = max(bisect_right(self._firsts, start) - 1, 0)
        while index < len(self._runs) and self._firsts[index] < end:
            run = self._runs[index]
            low, high = bisect_left(run, start), bisect_left(run, end)
            taken += run[low:high]
            del run[low:high]
            if run:
                self._firsts[index] = run[0]
                index += 1
            else:
                del self._runs[index], self._firsts[index]
        return taken
