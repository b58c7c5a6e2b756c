"""Which bounces are followed by a map of another buffer?"""

from __future__ import annotations

from typing import Any, NamedTuple, TypeAlias

import numpy as np
import polars as pl
from numpy.typing import NDArray

from topbit.recording import Recording
from topbit.recording.recording import NUMBER
from topbit.replay.columns import canonical, given
from topbit.replay.given_addresses import STRETCH

MAP, BOUNCED = "dma_map", "swiotlb_bounced"
UNKNOWN = (1 << 64) - 1
"""Stands for a size or buffer that is not told."""
AHEAD = 16
"""How many bounces and maps behind a bounce are looked at for the map of its own buffer."""


_Pairs: TypeAlias = tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]


class _Events(NamedTuple):
    """Bounces and maps, in order: the row of each, is it a bounce, its size and its buffer."""

    number: NDArray[np.int64]
    bounce: NDArray[np.bool_]
    size: NDArray[np.uint64]
    buffer: NDArray[np.uint64]

    @classmethod
    def none(cls) -> _Events:
        nothing = np.zeros(0, np.uint64)
        return cls(np.zeros(0, np.int64), np.zeros(0, np.bool_), nothing, nothing)

    def behind(self, others: _Events) -> _Events:
        """Which are those others, and then these?"""
        both: list[NDArray[Any]] = [*map(np.concatenate, zip(others, self, strict=True))]
        return _Events(*both)

    def part(self, start: int, end: int | None = None) -> _Events:
        parts: list[NDArray[Any]] = [values[start:end] for values in self]
        return _Events(*parts)


def unlike_pairs(recording: Recording) -> pl.DataFrame:
    """Which bounces are followed by a map of the same size and another buffer?

    Of all bounces and maps; what lies between them is left out.

    Returns:
        NUMBER of the bounce and of the map (`next`), and `own`: whether a map of the bounce's own
        buffer follows so soon that it was seen, as with the entries of a scatterlist, which are
        all bounced before any is told of.
    """
    kinds = recording.places_among(BOUNCED, MAP)
    frame = recording.frame.select("size", "phys")
    if recording.platform.dma_ranges:
        # A bounce tells the bus address of its buffer.
        bus = pl.when(pl.Series(kinds.of() == 0)).then(canonical(recording.platform, "phys"))
        frame = frame.with_columns(phys=bus.otherwise("phys"))
    found: list[_Pairs] = [(np.zeros(0, np.int64),) * 3]
    open_ = _Events.none()
    for start in range(0, len(kinds), STRETCH):
        kind = kinds.of(start, STRETCH)
        rows = np.flatnonzero(kind < 2)
        told = (frame[name].slice(start, len(kind)) for name in ("size", "phys"))
        values = (column.fill_null(UNKNOWN).to_numpy()[rows] for column in told)
        events = _Events(rows + start, kind[rows] == 0, *values).behind(open_)
        # The last ones must be looked at with those that follow.
        last = start + STRETCH >= len(kinds)
        count = max(len(events.number) - (0 if last else AHEAD), 0)
        found.append(_unlike(events, count))
        open_ = events.part(count)
    number, following, own = map(np.concatenate, zip(*found, strict=True))
    pairs = {NUMBER: number, "next": following, "own": own}
    return _same_device(recording, pl.DataFrame(pairs, schema_overrides=_NUMBERS))


_NUMBERS = {NUMBER: pl.UInt32(), "next": pl.UInt32()}
_NO_ROW = -1


def _unlike(events: _Events, count: int) -> _Pairs:
    """Which of the first `count` are such bounces, what follows, and which map is of their own?"""
    one, other = events.part(0, count), events.part(1, count + 1)
    one = one.part(0, len(other.number))
    unlike = one.bounce & ~other.bounce & (one.size == other.size) & (one.buffer != other.buffer)
    for values in (one.size, one.buffer, other.buffer):
        unlike &= values != UNKNOWN
    at = np.flatnonzero(unlike)
    ahead = np.minimum(at[:, None] + np.arange(2, AHEAD), len(events.number) - 1)
    is_own = (events.buffer[ahead] == events.buffer[at, None]) & ~events.bounce[ahead]
    is_own &= events.size[ahead] == events.size[at, None]
    first = ahead[np.arange(len(at)), is_own.argmax(axis=1)]
    own = np.where(is_own.any(axis=1), events.number[first], _NO_ROW)
    return events.number[at], events.number[at + 1], own


def _same_device(recording: Recording, pairs: pl.DataFrame) -> pl.DataFrame:
    """The pairs, and for each whether its `own` row is a map of the same device that succeeded."""
    seen = pairs.filter(pl.col("own") != _NO_ROW)
    columns = ("address", "status", "device")
    maps, bounces = (
        recording.frame.select(columns)[seen[which].cast(pl.UInt32)] for which in ("own", NUMBER)
    )
    maps = maps.with_columns(pl.col("status").cast(pl.String), before=bounces["device"])
    good = given & (pl.col("device") == pl.col("before")).fill_null(False)
    own = seen.filter(maps.select(good).to_series())[NUMBER]
    return pairs.with_columns(own=pl.col(NUMBER).is_in(own.implode()))
