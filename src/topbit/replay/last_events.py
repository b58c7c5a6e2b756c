"""By which event was each DMA address mapped, unmapped and synchronised last?"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from topbit.recording import Recording
from topbit.recording.recording import NUMBER
from topbit.recording.schema import DMA_MAPPING_ERROR, ERROR
from topbit.replay.columns import given

MOST_PLACES = 1 << 22
"""Entries of a table with a place for each possible address. A pool of 64 MiB in slots of 2 KiB
has 32,768."""

STRETCH = 1 << 16
"""Events that are looked at at once: their numbers, half a MiB a column, stay in a cache."""

NEVER = np.iinfo(np.uint32).max


def last_events(recording: Recording, *kinds: str) -> pl.DataFrame:
    """Which is the last event of each kind on each address that was given to a device?

    Returns:
        column `address`, and for each kind the row of its last event, or null.
    """
    of = recording.places_among(*kinds)
    places = _places(recording, of, len(kinds))
    if places is None or places.number > MOST_PLACES:
        return _grouped(recording, kinds)
    tables = _tables(recording, of, len(kinds), places)
    there = np.flatnonzero((tables != NEVER).any(axis=0))
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


class _Stretch(NamedTuple):
    """Which addresses were given to devices, in one stretch of the recording?

    Attributes:
        start: the row of its first event.
        kinds: which of the kinds that are asked for each event is of; their number if it is of
            none, or gave no address.
        addresses: what each gave; where nothing was given, one that was given elsewhere.
    """

    start: int
    kinds: NDArray[np.uint8]
    addresses: NDArray[np.uint64]


def _stretches(recording: Recording, kinds: NDArray[np.uint8], none: int) -> Iterator[_Stretch]:
    """Of which events is `given` true? Stretches before the first of them are left out.

    `kinds`: of which of the kinds each event is; `none`: of none of them.
    """
    addresses, status = (recording.frame[name] for name in ("address", "status"))
    first = None
    for start in range(0, len(kinds), STRETCH):
        of, said = kinds[start : start + STRETCH], status[start : start + STRETCH]
        # Neither an address that is missing nor this one was given.
        address = addresses[start : start + STRETCH].fill_null(DMA_MAPPING_ERROR).to_numpy()
        wanted = (of != none) & (address != DMA_MAPPING_ERROR)
        if said.null_count() < len(said):
            wanted &= said.cast(pl.String).ne_missing(ERROR).to_numpy()
        if first is None:
            if not wanted.any():
                continue
            first = address[wanted.argmax()]
        # All are kept: to pick out those that are wanted takes longer than to look at the others.
        kind = np.where(wanted, of, np.uint8(none))
        yield _Stretch(start, kind, np.where(wanted, address, first))


def _places(recording: Recording, kinds: NDArray[np.uint8], none: int) -> _Places | None:
    low, high, apart, first = DMA_MAPPING_ERROR, 0, 0, None
    for _, _, addresses in _stretches(recording, kinds, none):
        first = addresses[0] if first is None else first
        low, high = min(low, int(addresses.min())), max(high, int(addresses.max()))
        # The lowest bit in which two differ is the lowest of their difference.
        apart |= int(np.bitwise_or.reduce(addresses ^ first))
    if first is None:
        return None
    shift = (apart & -apart).bit_length() - 1 if apart else 0
    return _Places(low, shift, ((high - low) >> shift) + 1)


def _tables(
    recording: Recording, kinds: NDArray[np.uint8], none: int, places: _Places
) -> NDArray[np.uint32]:
    """By which event was each place used last? By kind and place."""
    tables = np.full((none + 1, places.number), NEVER, dtype=np.uint32)
    low, shift = np.uint64(places.low), np.uint64(places.shift)
    begins = np.arange(none + 1, dtype=np.uint64) * np.uint64(places.number)
    for start, kind, addresses in _stretches(recording, kinds, none):
        at = begins[kind] + ((addresses - low) >> shift)
        # Of several values for one place the last one stays (NumPy, assignment by index arrays).
        rows = np.arange(start, start + len(at), dtype=np.uint32)
        tables.reshape(-1)[at.view(np.int64)] = rows
    return tables[:-1]
