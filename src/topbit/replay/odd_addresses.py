"""Of which addresses do the maps and unmaps not add up?

Nearly always all add up, which one sum for each address tells. Only of the others the order of
events is of interest.
"""

from __future__ import annotations

import numpy as np
import polars as pl
from numpy.typing import NDArray

from topbit.recording import Recording
from topbit.replay.columns import given
from topbit.replay.given_addresses import U64, GivenAddresses, Places

MAP, UNMAP = "dma_map", "dma_unmap"

_SIZE, _WAY, _MIX = 0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F, 0xD6E8FEB86659FD93
_FOLD = 32


def odd_places(
    recording: Recording, addresses: GivenAddresses, places: Places, live: pl.DataFrame
) -> NDArray[np.bool_]:
    """Of which places do the maps and unmaps not add up, where there are unmaps?

    Args:
        recording: the recording.
        addresses: those of the recording, with the kinds MAP and UNMAP.
        places: of the addresses.
        live: the mappings that are known to be live at its end.
    """
    frame = recording.frame.select("size", "direction")
    added, taken = addresses.kinds.index(MAP), addresses.kinds.index(UNMAP)
    sums, unmapped = np.zeros(places.number, np.uint64), np.zeros(places.number, np.bool_)
    for start, kinds, given_ones in addresses.stretches():
        at = places.of(given_ones)
        pairs = _pairs(frame.slice(start, len(at)))
        is_unmap = kinds == taken
        # Two's complement: what is added and taken away again is nothing.
        signed = np.where(is_unmap, np.uint64(0) - pairs, pairs)
        np.add.at(sums, at, np.where((kinds == added) | is_unmap, signed, np.uint64(0)))
        unmapped[at[is_unmap]] = True
    np.subtract.at(sums, places.of(live["address"].to_numpy()), _pairs(live))
    odd: NDArray[np.bool_] = (sums != 0) & unmapped
    return odd


def _pairs(rows: pl.DataFrame) -> U64:
    """A number that a mapping and its unmap share. The names of the directions differ in length.

    It is no sum of parts of them: of two mappings the size of one and the direction of the other
    make another.
    """
    names = rows["direction"]
    if isinstance(names.dtype, pl.Enum):
        lengths = [*map(len, names.dtype.categories), 0]
        codes = names.to_physical().cast(pl.UInt32).fill_null(len(lengths) - 1)
        ways = np.array(lengths, np.uint64)[codes.to_numpy()]
    else:
        ways = names.str.len_chars().fill_null(0).cast(pl.UInt64).to_numpy()
    pair = rows["size"].fill_null(0).to_numpy() * np.uint64(_SIZE) + ways * np.uint64(_WAY)
    mixed: U64 = (pair ^ (pair >> np.uint64(_FOLD))) * np.uint64(_MIX)
    return mixed


def odd_addresses(recording: Recording, live: pl.DataFrame) -> pl.Series:
    """Which addresses are they? As `odd_places`, where no table has a place for each."""
    way = pl.col("direction").cast(pl.String).str.len_chars().fill_null(0).cast(pl.UInt64)
    pair = pl.col("size").fill_null(0) * pl.lit(_SIZE, pl.UInt64) + way * pl.lit(_WAY, pl.UInt64)
    pair = (pair ^ (pair // (1 << _FOLD))) * pl.lit(_MIX, pl.UInt64)
    sums = [
        rows.group_by("address").agg(pair.sum().alias(name))
        for rows, name in (
            (recording.scan(UNMAP).filter(given), "taken"),
            (recording.scan(MAP).filter(given), "added"),
            (live.lazy(), "live"),
        )
    ]
    joined = sums[0].join(sums[1], on="address", how="left")
    joined = joined.join(sums[2], on="address", how="left").fill_null(0)
    odd = joined.filter(pl.col("added") - pl.col("live") != pl.col("taken"))
    return odd.select("address").collect(engine="streaming")["address"]
