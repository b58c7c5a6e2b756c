"""Which addresses were given to devices, and at which place of a table does each stand?

Nearly all of them lie in a bounce pool, at the starts of its slots. A table with a place for each
is small, and is filled by going through the recording once, a stretch at a time.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from typing import NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from topbit.recording import Recording
from topbit.recording.schema import DMA_MAPPING_ERROR, ERROR

U64 = NDArray[np.uint64]

MOST_PLACES = 1 << 22
"""Entries of a table with a place for each possible address. A pool of 64 MiB in slots of 2 KiB
has 32,768."""

STRETCH = 1 << 16
"""Events that are looked at at once: their numbers, half a MiB a column, stay in a cache."""


class Places(NamedTuple):
    """Where do all addresses lie: the lowest, the power of two that they lie apart by, how many?"""

    low: int
    shift: int
    number: int

    def of(self, addresses: U64) -> NDArray[np.int64]:
        """At which place does each stand?"""
        return ((addresses - np.uint64(self.low)) >> np.uint64(self.shift)).view(np.int64)

    def address(self, places: NDArray[np.int64]) -> U64:
        """Which address stands at each place?"""
        return (places.astype(np.uint64) << np.uint64(self.shift)) + np.uint64(self.low)


class Stretch(NamedTuple):
    """Which addresses were given to devices, in one stretch of the recording?

    Attributes:
        start: the row of its first event.
        kinds: which of the kinds that are asked for each event is of; their number if it is of
            none, or gave no address.
        addresses: what each gave; where nothing was given, one that was given elsewhere.
    """

    start: int
    kinds: NDArray[np.uint8]
    addresses: U64


class GivenAddresses:
    """Which addresses were given to devices by events of some kinds?

    Args:
        recording: the recording.
        kinds: of events that have an address.
    """

    def __init__(self, recording: Recording, *kinds: str) -> None:
        # Not the recording itself, which lives no longer for what is known of it.
        self.kinds, self._of = kinds, recording.places_among(*kinds)
        self._addresses, self._status = (recording.frame[name] for name in ("address", "status"))

    @cached_property
    def places(self) -> Places | None:
        """Where do they lie? None if they are not dense enough for a table."""
        low, high, apart, first = DMA_MAPPING_ERROR, 0, 0, None
        for _, _, addresses in self.stretches():
            first = addresses[0] if first is None else first
            low, high = min(low, int(addresses.min())), max(high, int(addresses.max()))
            # The lowest bit in which two differ is the lowest of their difference.
            apart |= int(np.bitwise_or.reduce(addresses ^ first))
        if first is None:
            return None
        shift = (apart & -apart).bit_length() - 1 if apart else 0
        number = ((high - low) >> shift) + 1
        return Places(low, shift, number) if number <= MOST_PLACES else None

    def stretches(self) -> Iterator[Stretch]:
        """Which were given? Stretches before the first of them are left out."""
        failed, none, first = self._failed, len(self.kinds), None
        for start in range(0, len(self._of), STRETCH):
            of = self._of.of(start, STRETCH)
            # Neither an address that is missing nor this one was given.
            told = self._addresses[start : start + STRETCH]
            address = told.fill_null(DMA_MAPPING_ERROR).to_numpy()
            wanted = (of != none) & (address != DMA_MAPPING_ERROR)
            if failed is not None:
                wanted &= ~failed[start : start + STRETCH].to_numpy()
            if first is None:
                if not wanted.any():
                    continue
                first = address[wanted.argmax()]
            # All are kept: to pick out those that are wanted takes longer than to look at all.
            kind = np.where(wanted, of, np.uint8(none))
            yield Stretch(start, kind, np.where(wanted, address, first))

    @cached_property
    def _failed(self) -> pl.Series | None:
        """Which events say that they failed? None if none does."""
        status = self._status
        words = status.dtype.categories if isinstance(status.dtype, pl.Enum) else None
        if status.null_count() == len(status) or (words is not None and ERROR not in words):
            return None
        return status.eq_missing(pl.Series([ERROR], dtype=status.dtype))
