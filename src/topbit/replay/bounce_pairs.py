"""Which bounces are followed by a map of another buffer?"""

from __future__ import annotations

import numpy as np
import polars as pl

from topbit.recording import Recording
from topbit.recording.recording import NUMBER
from topbit.replay.columns import canonical
from topbit.replay.given_addresses import STRETCH

MAP, BOUNCED = "dma_map", "swiotlb_bounced"
UNKNOWN = (1 << 64) - 1
"""Stands for a size or buffer that is not told."""


def unlike_pairs(recording: Recording) -> pl.DataFrame:
    """Which bounces are followed by a map of the same size and another buffer?

    Of all bounces and maps; what lies between them is left out.

    Returns:
        NUMBER of the bounce and of the map (`next`).
    """
    kinds = recording.places_among(BOUNCED, MAP)
    frame = recording.frame.select("size", "phys")
    if recording.platform.dma_ranges:
        # A bounce tells the bus address of its buffer.
        bus = pl.when(pl.Series(kinds == 0)).then(canonical(recording.platform, "phys"))
        frame = frame.with_columns(phys=bus.otherwise("phys"))
    found = [(np.zeros(0, np.int64),) * 2]
    # The bounce or map before those of a stretch.
    before = np.zeros(0, np.int64), np.zeros(0, np.bool_), *(np.zeros(0, np.uint64),) * 2
    for start in range(0, len(kinds), STRETCH):
        kind = kinds[start : start + STRETCH]
        rows = np.flatnonzero(kind < 2)
        told = (frame[name].slice(start, len(kind)) for name in ("size", "phys"))
        values = (column.fill_null(UNKNOWN).to_numpy()[rows] for column in told)
        here = rows + start, kind[rows] == 0, *values
        number, bounce, size, buffer = map(np.concatenate, zip(before, here, strict=True))
        before = number[-1:], bounce[-1:], size[-1:], buffer[-1:]
        unlike = bounce[:-1] & ~bounce[1:] & (size[:-1] == size[1:]) & (buffer[:-1] != buffer[1:])
        for name in (size, buffer):
            unlike &= (name[:-1] != UNKNOWN) & (name[1:] != UNKNOWN)
        at = np.flatnonzero(unlike)
        found.append((number[at], number[at + 1]))
    number, following = map(np.concatenate, zip(*found, strict=True))
    return pl.DataFrame({NUMBER: number, "next": following}, schema_overrides=_NUMBERS)


_NUMBERS = {NUMBER: pl.UInt32(), "next": pl.UInt32()}
