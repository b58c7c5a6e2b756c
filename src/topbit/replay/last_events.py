"""By which event was each DMA address mapped, unmapped and synchronised last?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from topbit.recording import Recording
from topbit.recording.recording import NUMBER
from topbit.replay.columns import given

MOST_PLACES = 1 << 22
"""Entries of a table with a place for each possible address. A pool of 64 MiB in slots of 2 KiB
has 32,768."""

NEVER = np.iinfo(np.uint32).max


def last_events(recording: Recording, *kinds: str) -> pl.DataFrame:
    """Which is the last event of each kind on each address that was given to a device?

    Returns:
        column `address`, and for each kind the row of its last event, or null.
    """
    places = _places(recording, kinds)
    if places is None or places.number > MOST_PLACES:
        return _grouped(recording, kinds)
    tables = [_table(recording, kind, places) for kind in kinds]
    there = np.flatnonzero(np.logical_or.reduce([table != NEVER for table in tables]))
    addresses = (there.astype(np.uint64) << np.uint64(places.shift)) + np.uint64(places.low)
    found = {kind: table[there] for kind, table in zip(kinds, tables, strict=True)}
    return pl.DataFrame({"address": addresses, **found}).with_columns(
        pl.when(pl.col(kind) != NEVER).then(pl.col(kind)).alias(kind) for kind in kinds
    )


def _grouped(recording: Recording, kinds: Sequence[str]) -> pl.DataFrame:
    schema = {"address": pl.UInt64(), **dict.fromkeys(kinds, pl.UInt32())}
    joined = pl.DataFrame(schema={"address": pl.UInt64()}).lazy()
    for kind in kinds:
        rows = recording.scan(kind).filter(given)
        last = rows.group_by("address").agg(pl.max(NUMBER).alias(kind))
        joined = joined.join(last, on="address", how="full", coalesce=True)
    # In batches: the whole recording is asked.
    return joined.collect(engine="streaming").cast(pl.Schema(schema)).sort("address")


class _Places(NamedTuple):
    """Where do all addresses lie: the lowest, the power of two that they lie apart by, how many?"""

    low: int
    shift: int
    number: int


def _places(recording: Recording, kinds: Sequence[str]) -> _Places | None:
    rows = recording.scan(*kinds).filter(given)
    low, high = rows.select(low=pl.min("address"), high=pl.max("address")).collect().row(0)
    if low is None:
        return None
    apart = rows.select((pl.col("address") - low).bitwise_or()).collect().item()
    shift = (apart & -apart).bit_length() - 1 if apart else 0
    return _Places(low, shift, ((high - low) >> shift) + 1)


def _table(recording: Recording, kind: str, places: _Places) -> NDArray[np.uint32]:
    """By which event was each place used last?"""
    place = ((pl.col("address") - places.low) // (1 << places.shift)).cast(pl.UInt32)
    rows = recording.scan(kind).filter(given).select(NUMBER, place=place).collect()
    table = np.full(places.number, NEVER, dtype=np.uint32)
    # Of several values for one place the last one stays (NumPy, assignment by index arrays).
    table[rows["place"].to_numpy()] = rows[NUMBER].to_numpy()
    return table
