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
from topbit.replay.loops import loops_for
from topbit.replay.unmap_terms import FOLD, MIX, SIZE, WAY
from topbit.replay.word_codes import WordCodes

MAP, UNMAP = "dma_map", "dma_unmap"


def odd_places(
    recording: Recording,
    addresses: GivenAddresses,
    places: Places,
    ways: WordCodes,
    live: pl.DataFrame,
) -> NDArray[np.bool_]:
    """Of which places do the maps and unmaps not add up, where there are unmaps?

    Args:
        recording: the recording.
        addresses: those of the recording, with the kinds MAP and UNMAP.
        places: of the addresses.
        ways: the directions.
        live: the mappings that are known to be live at its end.
    """
    added, taken = addresses.kinds.index(MAP), addresses.kinds.index(UNMAP)
    sums, unmapped = np.zeros(places.number, np.uint64), np.zeros(places.number, np.bool_)
    sizes, lengths = recording.frame["size"], _lengths(ways)
    loops = loops_for(recording)
    for start, kinds, given_ones in addresses.stretches():
        if loops:
            size = sizes.slice(start, len(kinds)).fill_null(0).to_numpy()
            codes, wanted = ways.part(start, len(kinds)), (added, taken)
            where = given_ones, np.uint64(places.low), np.uint64(places.shift)
            loops.add_up(kinds, wanted, *where, size, codes, lengths, sums, unmapped)
            continue
        is_unmap = kinds == taken
        rows = np.flatnonzero((kinds == added) | is_unmap)
        at, is_unmap = places.of(given_ones[rows]), is_unmap[rows]
        size = sizes.slice(start, len(kinds)).fill_null(0).to_numpy()[rows]
        pairs = _pairs(size, lengths[ways.at(start, len(kinds), rows)])
        # Two's complement: what is added and taken away again is nothing.
        np.add.at(sums, at, np.where(is_unmap, np.uint64(0) - pairs, pairs))
        unmapped[at[is_unmap]] = True
    theirs = WordCodes.of(live["direction"])
    way = _lengths(theirs)[theirs.at(0, len(live), np.arange(len(live)))]
    pairs = _pairs(live["size"].fill_null(0).to_numpy(), way)
    np.subtract.at(sums, places.of(live["address"].to_numpy()), pairs)
    odd: NDArray[np.bool_] = (sums != 0) & unmapped
    return odd


def _lengths(ways: WordCodes) -> U64:
    """How long is the name of each direction, and of none? They differ in that."""
    return np.array([*map(len, ways.words), 0], np.uint64)


def _pairs(sizes: U64, lengths: U64) -> U64:
    """A number that a mapping and its unmap share, of its size and the length of its direction.

    It is no sum of parts of them: of two mappings the size of one and the direction of the other
    make another.
    """
    pair = sizes * np.uint64(SIZE) + lengths * np.uint64(WAY)
    mixed: U64 = (pair ^ (pair >> np.uint64(FOLD))) * np.uint64(MIX)
    return mixed


def odd_addresses(recording: Recording, live: pl.DataFrame) -> pl.Series:
    """Which addresses are they? As `odd_places`, where no table has a place for each."""
    way = pl.col("direction").cast(pl.String).str.len_chars().fill_null(0).cast(pl.UInt64)
    pair = pl.col("size").fill_null(0) * pl.lit(SIZE, pl.UInt64) + way * pl.lit(WAY, pl.UInt64)
    pair = (pair ^ (pair // (1 << FOLD))) * pl.lit(MIX, pl.UInt64)
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
