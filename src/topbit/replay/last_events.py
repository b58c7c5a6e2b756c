"""By which event was each DMA address mapped, unmapped and synchronised last?"""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from topbit.recording import Recording
from topbit.recording.recording import NUMBER
from topbit.replay.columns import given
from topbit.replay.given_addresses import GivenAddresses, Places
from topbit.replay.loops import loops_for

NEVER = np.iinfo(np.uint32).max


def last_events(recording: Recording, addresses: GivenAddresses) -> pl.DataFrame:
    """Which is the last event of each kind on each address that was given to a device?

    `addresses`: those of the recording.

    Returns:
        column `address`, and for each kind the row of its last event, or null.
    """
    places, kinds = addresses.places, addresses.kinds
    if places is None:
        return _grouped(recording, *kinds)
    tables = _tables(addresses, places, loops_for(recording))
    there = np.flatnonzero((tables != NEVER).any(axis=0))
    found = {kind: table[there] for kind, table in zip(kinds, tables, strict=True)}
    return pl.DataFrame({"address": places.address(there), **found}).with_columns(
        pl.when(pl.col(kind) != NEVER).then(pl.col(kind)).alias(kind) for kind in kinds
    )


def _grouped(recording: Recording, *kinds: str) -> pl.DataFrame:
    schema = {"address": pl.UInt64(), **dict.fromkeys(kinds, pl.UInt32())}
    joined = pl.DataFrame(schema={"address": pl.UInt64()}).lazy()
    for kind in kinds:
        rows = recording.scan(kind).filter(given)
        last = rows.group_by("address").agg(pl.max(NUMBER).alias(kind))
        joined = joined.join(last, on="address", how="full", coalesce=True)
    # In batches: the whole recording is asked.
    return joined.collect(engine="streaming").cast(pl.Schema(schema)).sort("address")


def _tables(addresses: GivenAddresses, places: Places, loops: Any) -> NDArray[np.uint32]:
    """By which event was each place used last? By kind and place. `loops`: of numba's, if any."""
    count = len(addresses.kinds)
    # What gave no address stands in a table of its own, which nobody asks.
    tables = np.full((count + 1, places.number), NEVER, dtype=np.uint32)
    begins = np.arange(count + 1, dtype=np.int64) * places.number
    for start, kind, given_ones in addresses.stretches():
        if loops:
            where = np.uint64(places.low), np.uint64(places.shift)
            loops.note_last(start, kind, given_ones, *where, tables)
            continue
        at = begins[kind] + places.of(given_ones)
        # Of several values for one place the last one stays (NumPy, assignment by index arrays).
        tables.reshape(-1)[at] = np.arange(start, start + len(at), dtype=np.uint32)
    return tables[:-1]
