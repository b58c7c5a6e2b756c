"""Which parts of the address space are worth a closer look?

RAM and what else is used, and within that the bounce pools and the places of refused accesses.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from topbit.recording import Platform
from topbit.report.spans import U64, Spans

RAM = "RAM"
_PAGE = 4096
_SMALLEST = 16 * _PAGE
"""Bytes: nothing is enlarged to less."""
_WORTH = 8
"""A place is enlarged if it is so many times smaller than what it lies in."""


@dataclass(frozen=True, slots=True)
class Window:
    """Which part of a half is enlarged?

    Attributes:
        title: what it is.
        start, end: [start, end) with the shared bit clear.
        inside: which window, by its place among them, it is a part of; None: of the whole half.
    """

    title: str
    start: int
    end: int
    inside: int | None = None

    @property
    def size(self) -> int:
        """How many bytes are that?"""
        return self.end - self.start


@dataclass(frozen=True, slots=True)
class Seen:
    """What is there to be looked at? All addresses have the shared bit clear.

    Attributes:
        mapped: what any stage 2 held.
        used: addresses that devices were given, and that they used and were let through at.
        refused: addresses that they were refused at.
        found: where findings show.
    """

    mapped: Sequence[Spans]
    used: U64
    refused: U64
    found: U64


def windows(platform: Platform, seen: Seen, most: int) -> tuple[Window, ...]:
    """What is enlarged: where anything is, and within it the pools and where accesses failed?

    Args:
        platform: where RAM, pools and doorbells lie.
        seen: what is there besides.
        most: not more windows than this.
    """
    ram, pools = ranges(platform.ram), ranges(platform.pools)
    troubled = np.concatenate([seen.found, seen.refused])
    used = np.concatenate([troubled, seen.used])
    everything = _joined([ram, pools, *seen.mapped, Spans.of(used, np.ones_like(used))])
    found: list[Window] = []
    for start, end in _clusters(everything, max(1 << 28, ram.size // 8)):
        start, end = _rounded(start, end)
        found.append(Window(_title(platform, ram, start, end), start, end))
    # The places with trouble first, then the largest.
    found.sort(key=lambda w: (-_points_in(troubled, w), w.title != RAM, -w.size))
    found = found[:most]
    for number, outer in enumerate(list(found)):
        inner = [("swiotlb pool", *span) for span in _pairs(pools.within(outer.start, outer.end))]
        around = Spans.of(troubled, np.full_like(troubled, _PAGE)).within(outer.start, outer.end)
        inner += [
            ("refused accesses" if _any(seen.refused, *span) else "findings", *span)
            for span in _clusters(around, outer.size // 64)
        ]
        for title, start, end in inner:
            start, end = _rounded(start, end)
            known = any(w.start <= start and end <= w.end for w in found if w.inside is not None)
            if (end - start) * _WORTH <= outer.size and not known and len(found) < most:
                found.append(Window(title, start, end, number))
    return tuple(found)


def ranges(told: Sequence[tuple[int, int]]) -> Spans:
    """Which addresses do (start, size) ranges cover?"""
    pairs = np.array(told, dtype=np.uint64).reshape(-1, 2)
    return Spans.of(pairs[:, 0], pairs[:, 1])


def _title(platform: Platform, ram: Spans, start: int, end: int) -> str:
    if len(ram.within(start, end)):
        return RAM
    if any(start <= base < end for base, _ in platform.pools):
        return "swiotlb pool"
    doorbell = any(start <= each < end for each in platform.msi_doorbells)
    if doorbell:
        return "MSI doorbell"
    return "outside RAM" if len(ram) else "addresses used"


def _joined(spans: Sequence[Spans]) -> Spans:
    starts = np.concatenate([each.starts for each in spans])
    ends = np.concatenate([each.ends for each in spans])
    return Spans.of(starts, ends - starts)


def _pairs(spans: Spans) -> list[tuple[int, int]]:
    return list(zip(spans.starts.tolist(), spans.ends.tolist(), strict=True))


def _clusters(spans: Spans, gap: int) -> list[tuple[int, int]]:
    """Which ranges hold the runs, where runs with less than a gap between them are together?"""
    found: list[tuple[int, int]] = []
    for start, end in _pairs(spans):
        if found and start - found[-1][1] < gap:
            found[-1] = (found[-1][0], end)
        else:
            found.append((start, end))
    return found


def _rounded(start: int, end: int) -> tuple[int, int]:
    """Which range of whole 64 KiB is around it, and not smaller than that is worth?"""
    return start & -_SMALLEST, -(-end // _SMALLEST) * _SMALLEST


def _any(points: U64, start: int, end: int) -> bool:
    return bool(((points >= start) & (points < end)).any())


def _points_in(points: U64, window: Window) -> int:
    return int(((points >= window.start) & (points < window.end)).sum())
