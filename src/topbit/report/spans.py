"""How much of each place of a picture do address ranges cover?

A picture has some hundred places, a recording a million ranges.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

U64 = npt.NDArray[np.uint64]
Floats = npt.NDArray[np.float64]
Counts = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Spans:
    """Which addresses do these ranges cover together: disjoint runs, in order?

    Attributes:
        starts, ends: first address of each run, and the one after its last.
    """

    starts: U64
    ends: U64

    @classmethod
    def of(cls, starts: U64, sizes: U64) -> Spans:
        """Which runs do ranges make? A size of 0 counts as 1; none reaches beyond 64 bits."""
        order = np.argsort(starts, kind="stable")
        starts, sizes = starts[order], np.maximum(sizes[order], 1)
        room = np.uint64(np.iinfo(np.uint64).max) - starts
        ends = np.maximum.accumulate(starts + np.minimum(sizes, room))
        begins = np.ones(len(starts), dtype=bool)
        begins[1:] = starts[1:] > ends[:-1]
        return cls(starts[begins], ends[np.append(begins[1:], True)[: len(ends)]])

    @property
    def size(self) -> int:
        """How many bytes are covered?"""
        return int((self.ends - self.starts).sum())

    def __len__(self) -> int:
        """How many runs are there?"""
        return len(self.starts)

    def within(self, start: int, end: int) -> Spans:
        """Which of it lies in [start, end)?"""
        keep = (self.ends > start) & (self.starts < end)
        # No run ends behind the highest address.
        first, last = np.uint64(start), np.uint64(min(end, np.iinfo(np.uint64).max))
        return Spans(np.maximum(self.starts[keep], first), np.minimum(self.ends[keep], last))

    def covered(self, start: int, end: int, places: int) -> Floats:
        """Which part of each of so many places of [start, end) is covered: 0 to 1?"""
        inside = self.within(start, end)
        edges = np.linspace(0.0, float(end - start), places + 1)
        # How much is covered below an edge: whole runs, and a part of the one around it.
        low = (inside.starts - np.uint64(start)).astype(np.float64)
        high = (inside.ends - np.uint64(start)).astype(np.float64)
        before = np.concatenate([[0.0], np.cumsum(high - low)])
        run = np.searchsorted(low, edges, side="right")
        below = before[run]
        partly = run > 0
        over = np.maximum(high[run[partly] - 1] - edges[partly], 0.0)
        below[partly] -= over
        return np.diff(below) / ((end - start) / places)


def counted(addresses: U64, start: int, end: int, places: int) -> Counts:
    """How many of the addresses lie in each of so many places of [start, end)?"""
    inside = addresses[(addresses >= start) & (addresses < end)] - np.uint64(start)
    place = inside.astype(np.float64) * (places / (end - start))
    return np.bincount(np.minimum(place.astype(np.int64), places - 1), minlength=places)
