"""Which events can matter for the pages that a question is about?

A recording has millions of events, a question is about few pages. The others are left out before
the rest is replayed.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import polars as pl

from topbit.recording import Platform, Recording
from topbit.recording.recording import NUMBER
from topbit.recording.schema import KINDS
from topbit.replay.columns import PAGE_SHIFT, canonical, other_bits

U64 = npt.NDArray[np.uint64]

HIGHEST = (1 << 64) - 1
"""The highest address that 64 bits can hold."""
BY_IPA = ("convert", "set_memory", "ripas")
"""Kinds whose range stands in `phys`, an IPA with the shared bit clear."""
BY_DMA_ADDRESS = ("dma_map", "dma_unmap", "dma_alloc", "dma_free")
"""Kinds whose `address` is what the guest gave a device, before the bus undoes `dma-ranges`."""


class PageSet:
    """Which pages of one address space are meant?

    Args:
        first, last: numbers of the first and the last page of each run, in any order.
    """

    def __init__(self, first: U64, last: U64) -> None:
        order = np.argsort(first)
        first, reached = first[order], np.maximum.accumulate(last[order])
        # Runs that touch are one: it begins beyond where all that began before have ended.
        begins = np.ones(len(first), dtype=bool)
        begins[1:] = first[1:] > reached[:-1] + np.uint64(1)
        self._first: U64 = first[begins]
        self._last: U64 = reached[np.append(begins[1:], True)[: len(first)]]

    @classmethod
    def of(cls, starts: U64, sizes: U64) -> PageSet:
        """Which pages do these ranges touch? A size of 0 counts as 1."""
        return cls(*_pages(starts, sizes))

    def __len__(self) -> int:
        """How many runs of pages are there?"""
        return len(self._first)

    def widened(self) -> PageSet:
        """Which pages are these and the ones beside them?"""
        one = np.uint64(1)
        return PageSet(np.maximum(self._first, one) - one, self._last + one)

    def common_with(self, other: PageSet) -> PageSet:
        """Which pages are in both?"""
        # Each run meets those of the other set from the first that does not end below it on.
        low = np.searchsorted(other._last, self._first)
        met = np.searchsorted(other._first, self._last, side="right") - low
        mine = np.repeat(np.arange(len(self)), met)
        theirs = np.arange(len(mine)) + np.repeat(low - (np.cumsum(met) - met), met)
        first = np.maximum(self._first[mine], other._first[theirs])
        return PageSet(first, np.minimum(self._last[mine], other._last[theirs]))

    @property
    def in_reach(self) -> pl.Expr:
        """Expression: does a range, `size` bytes from `start` on, lie between the lowest page and
        the highest, at least in part? Only such a one may touch any. Of an empty set: never.
        """
        if not len(self):
            return pl.lit(False)
        low = pl.lit(int(self._first[0]) << PAGE_SHIFT, pl.UInt64)
        high = pl.lit(min((int(self._last[-1]) + 1 << PAGE_SHIFT) - 1, HIGHEST), pl.UInt64)
        start = pl.col("start")
        return (start <= high) & ((start >= low) | (pl.col("size") > low - start))

    def touched_by(self, starts: U64, sizes: U64) -> npt.NDArray[np.bool_]:
        """Which of these ranges (as for `of`) have a page in common with the set?"""
        first, last = _pages(starts, sizes)
        begins, _ = self._run_at(first)
        return begins <= last

    def holds(self, starts: U64, sizes: U64) -> npt.NDArray[np.bool_]:
        """Which of these ranges (as for `of`) lie in the set with all of their pages?"""
        first, last = _pages(starts, sizes)
        begins, ends = self._run_at(first)
        return (begins <= first) & (last <= ends)

    def _run_at(self, page: U64) -> tuple[U64, U64]:
        """Which is the first run, by first and last page, that does not end below each page?"""
        beyond = np.append(self._first, np.uint64(HIGHEST))
        run = np.searchsorted(self._last, page)
        return beyond[run], np.append(self._last, np.uint64(HIGHEST))[run]


def _pages(starts: U64, sizes: U64) -> tuple[U64, U64]:
    """Which are the first and the last page of each range?"""
    beyond_first = np.minimum(np.maximum(sizes, 1) - np.uint64(1), np.uint64(HIGHEST) - starts)
    return starts >> np.uint64(PAGE_SHIFT), (starts + beyond_first) >> np.uint64(PAGE_SHIFT)


def ipa_of(platform: Platform) -> pl.Expr:
    """Expression: at which IPA, shared bit clear, does what an event is about begin?

    A page and its alias are one then, so that nothing that is about either is left out.
    """
    kind = pl.col("event")
    (_, by_ipa), (_, by_dma), (_, other) = _starts(platform, ())
    return (
        pl.when(kind.is_in(BY_IPA))
        .then(by_ipa)
        .when(kind.is_in(BY_DMA_ADDRESS))
        .then(by_dma)
        .otherwise(other)
    )


def _starts(platform: Platform, kinds: Sequence[str]) -> list[tuple[list[str], pl.Expr]]:
    """Where do ranges of these kinds of events begin, kinds of one way together? As `ipa_of`."""
    ways = [
        (BY_IPA, pl.col("phys")),
        (BY_DMA_ADDRESS, canonical(platform)),
        (KINDS.keys() - {*BY_IPA, *BY_DMA_ADDRESS}, pl.col("address") & other_bits(platform)),
    ]
    return [([kind for kind in kinds if kind in some], start) for some, start in ways]


def numbers_near(
    recording: Recording,
    pages: PageSet,
    *kinds: str,
    start: pl.Expr | None = None,
    where: pl.Expr | None = None,
) -> pl.Series:
    """Which events of these kinds touch one of the pages? Their rows in the recording, in order.

    Args:
        recording, pages, kinds: which.
        start: where their range begins, an IPA with the shared bit clear; `ipa_of` if left out.
        where: only those for which this is true.
    """
    near: list[pl.Series] = [pl.Series(NUMBER, dtype=pl.UInt32)]
    for some, begin in _starts(recording.platform, kinds) if start is None else [(kinds, start)]:
        for rows in recording.parts(*some):
            spans = (
                rows.filter(True if where is None else where)
                .select(NUMBER, start=begin, size=pl.col("size").fill_null(1))
                .filter(pages.in_reach)
                .collect()
            )
            touched = pages.touched_by(spans["start"].to_numpy(), spans["size"].to_numpy())
            near.append(spans[NUMBER].filter(pl.Series(touched)))
    return pl.concat(near).sort()


def pages_of(platform: Platform, rows: pl.DataFrame) -> PageSet:
    """Which pages are these events about?"""
    return page_set(rows.select("size", start=ipa_of(platform)))


def page_set(spans: pl.DataFrame) -> PageSet:
    """Which pages do ranges touch that stand in the columns `start` and `size`?"""
    spans = spans.drop_nulls("start")
    return PageSet.of(spans["start"].to_numpy(), spans["size"].fill_null(1).to_numpy())
