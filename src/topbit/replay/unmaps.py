"""What does each unmap end, and does it fit that?

Only addresses whose maps and unmaps do not add up are looked at. Of each of them, and of each
device, the map or unmap before an unmap tells what it ends.
"""

from __future__ import annotations

from typing import Any, NamedTuple, TypeAlias

import numpy as np
import polars as pl
from numpy.typing import NDArray

from topbit.recording import Recording
from topbit.recording.recording import NUMBER
from topbit.replay.columns import given
from topbit.replay.given_addresses import U64, GivenAddresses, Places, Stretch
from topbit.replay.loops import loops_for
from topbit.replay.odd_addresses import MAP, UNMAP, odd_addresses, odd_places
from topbit.replay.unmap_terms import LONE, MISFIT, NOTHING, TWICE, WRONG_SIZE, WRONG_WAY
from topbit.replay.word_codes import WordCodes

MOST_SEQUENCES = 1 << 22
"""So many addresses, of so many devices together, have a place in a table of what came last."""

_NEVER = -1
_MOST_WAYS = 0x7F_FFFF
_NUMBER_AT = 24
"""Bits of an event's number begin behind those of the code of its direction, and one more."""
_HALF = np.uint64(32)
_NONE_FOUND = (np.zeros(0, np.int64),) * 4


_Found: TypeAlias = tuple[
    NDArray[np.int64], NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]
]


class Unmaps(NamedTuple):
    """What do unmaps do?

    Attributes:
        counts: how many (`len`) of each `device` do what (`does`, bits of
            `unmap_terms`).
        misfits: NUMBER, `device` and `does` of those that do not fit, in order, with the number of
            the `mapping` that each ends, or of the unmap that stands before it.
    """

    counts: pl.DataFrame
    misfits: pl.DataFrame


def unmaps(recording: Recording, addresses: GivenAddresses, live: pl.DataFrame) -> Unmaps:
    """What do the unmaps do of addresses whose maps and unmaps do not add up?

    Args:
        recording: the recording.
        addresses: those of the recording, with the kinds MAP and UNMAP.
        live: the mappings that are known to be live at its end.
    """
    places, devices = addresses.places, WordCodes.of(recording.frame["device"])
    ways = WordCodes.of(recording.frame["direction"])
    if (
        places is None
        or places.number * (len(devices.words) + 1) > MOST_SEQUENCES
        or len(ways.words) > _MOST_WAYS
    ):
        return _sorted(recording, odd_addresses(recording, live))
    odd = odd_places(recording, addresses, places, ways, live)
    loops = loops_for(recording)
    look = (_Loops if loops else _Passes)(recording, addresses, places, devices, ways, odd, loops)
    # All events once, with what came last of each address and device.
    found = [_NONE_FOUND]
    found += [look(stretch) for stretch in addresses.stretches()] if odd.any() else []
    counts = look.counts
    numbers, device, does, mapping = (np.concatenate(parts) for parts in zip(*found, strict=True))
    words = pl.Series([*devices.words, None], dtype=pl.String)
    there = np.flatnonzero(counts)
    told = pl.DataFrame({"device": words[there >> 4], "does": there & 15, "len": counts[there]})
    misfits = {NUMBER: numbers, "device": words[device], "does": does, "mapping": mapping}
    return Unmaps(told, pl.DataFrame(misfits).sort(NUMBER))


class _Looker:
    """Who goes through all events once, a stretch at a time?

    Attributes:
        counts: how many unmaps of a device (from bit 4 on) do what.
    """

    def __init__(
        self,
        recording: Recording,
        addresses: GivenAddresses,
        places: Places,
        devices: WordCodes,
        ways: WordCodes,
        odd: NDArray[np.bool_],
        loops: Any,
    ) -> None:
        self._sizes, self._loops = recording.frame["size"], loops
        self._places, self._odd = places, odd
        self._devices, self._ways, self._several = devices, ways, len(devices.words) + 1
        self._wanted = addresses.kinds.index(MAP), addresses.kinds.index(UNMAP)
        self._sequences = places.number * self._several if odd.any() else 0
        self.counts = np.zeros(self._several << 4, np.int64)

    def _size(self, start: int, length: int) -> U64:
        return self._sizes.slice(start, length).fill_null(NOTHING).to_numpy()


class _Loops(_Looker):
    """With numba, event by event."""

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        count = self._sequences
        self._last = (
            np.full(count, self._loops.NEVER, np.int64),
            np.zeros(count, np.uint64),
            np.zeros(count, np.int64),
            np.zeros(count, np.bool_),
        )

    def __call__(self, stretch: Stretch) -> _Found:
        """Which of its unmaps do not fit: row, device, what they do, and the row before?"""
        start, kinds, given_ones = stretch
        count = len(kinds)
        found = np.empty((4, count), np.int64)
        many = self._loops.look_back(
            start,
            kinds,
            self._wanted,
            given_ones,
            np.uint64(self._places.low),
            np.uint64(self._places.shift),
            self._odd,
            self._size(start, count),
            self._ways.part(start, count),
            self._ways.none,
            self._devices.part(start, count),
            self._several,
            self._last,
            self.counts,
            found,
        )
        rows, device, does, before = found[:, :many].copy()
        return rows, device, does, before


class _Passes(_Looker):
    """With NumPy, by sequence."""

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self._last = _Events.none(self._sequences)

    def __call__(self, stretch: Stretch) -> _Found:
        """Which of its unmaps do not fit? As above."""
        start, kinds, given_ones = stretch
        added, taken = self._wanted
        rows = np.flatnonzero((kinds == added) | (kinds == taken))
        at = self._places.of(given_ones[rows])
        kept = self._odd[at]
        rows, at = rows[kept], at[kept]
        if not len(rows):
            return _NONE_FOUND
        device = self._devices.at(start, len(kinds), rows)
        # By sequence, and then in order.
        key = (at * self._several + device).astype(np.uint64) << _HALF | rows.astype(np.uint64)
        key.sort()
        sequence, rows = (key >> _HALF).view(np.int64), key.astype(np.uint32).astype(np.int64)
        size, way = self._size(start, len(kinds))[rows], self._ways.at(start, len(kinds), rows)
        is_unmap = kinds[rows] == taken
        now = _Events.of(rows + start, size, way, is_unmap)
        before = self._last.replaced(sequence, now)
        does = _does(now, before, self._ways.none)
        device = sequence % self._several
        self.counts += np.bincount((device << 4 | does)[is_unmap], minlength=len(self.counts))
        misfit = np.flatnonzero(is_unmap & ((does & MISFIT) != 0))
        return rows[misfit] + start, device[misfit], does[misfit], before.numbers[misfit]


class _Events(NamedTuple):
    """Maps and unmaps, column by column.

    Attributes:
        sizes: of each.
        others: its number, direction and whether it unmaps, in one number each: a table of all
            that came last is asked at places without order.
    """

    sizes: U64
    others: NDArray[np.int64]

    @classmethod
    def of(
        cls,
        numbers: NDArray[np.int64],
        sizes: U64,
        ways: NDArray[np.int64],
        unmaps: NDArray[np.bool_],
    ) -> _Events:
        return cls(sizes, numbers << _NUMBER_AT | ways << 1 | unmaps)

    @classmethod
    def none(cls, count: int) -> _Events:
        """A table of events none of which has been seen."""
        return cls(np.zeros(count, np.uint64), np.full(count, _NEVER, np.int64))

    @property
    def numbers(self) -> NDArray[np.int64]:
        """The row of each."""
        return self.others >> _NUMBER_AT

    @property
    def ways(self) -> NDArray[np.int64]:
        """The code of each one's direction."""
        return self.others >> 1 & _MOST_WAYS

    @property
    def unmaps(self) -> NDArray[np.bool_]:
        """Is each an unmap?"""
        unmaps: NDArray[np.bool_] = (self.others & 1) != 0
        return unmaps

    def replaced(self, sequence: NDArray[np.int64], now: _Events) -> _Events:
        """Which event stands before each? The last of each sequence is kept in this table.

        `sequence`: of each event, in order.
        """
        begins = np.append(True, sequence[1:] != sequence[:-1])
        first = np.flatnonzero(begins)
        last = np.append(first[1:], len(sequence)) - 1
        place = sequence[first]
        before: list[NDArray[Any]] = []
        for known, values in zip(self, now, strict=True):
            earlier = np.roll(values, 1)
            earlier[first] = known[place]
            known[place] = values[last]
            before.append(earlier)
        return _Events(*before)


def _does(now: _Events, before: _Events, no_way: int) -> NDArray[np.int64]:
    """What does each do, if it is an unmap?"""
    is_there, unmapped = before.others != _NEVER, before.unmaps
    mapped = is_there & ~unmapped
    sizes = (now.sizes != NOTHING) & (before.sizes != NOTHING) & (now.sizes != before.sizes)
    ways, earlier = now.ways, before.ways
    changed = (ways != no_way) & (earlier != no_way) & (ways != earlier)
    does: NDArray[np.int64] = (
        (mapped & sizes) * WRONG_SIZE
        + (mapped & changed) * WRONG_WAY
        + (is_there & unmapped) * TWICE
        + ~is_there * LONE
    )
    return does


def _sorted(recording: Recording, odd: pl.Series) -> Unmaps:
    """Put the events of these addresses side by side, however many there are."""
    one, theirs = pl.col("device", "address"), given & pl.col("address").is_in(odd.implode())
    rows = (
        recording.scan(MAP, UNMAP)
        .filter(theirs)
        .select(NUMBER, one, "size", "direction", unmaps=pl.col("event") == UNMAP)
        .collect(engine="streaming")
        .sort("address", "device", NUMBER)
    )
    same = pl.all_horizontal(one.eq_missing(one.shift())).fill_null(False)
    before = pl.col(NUMBER, "unmaps", "size", "direction").shift().name.prefix("before_")
    ended = rows.with_columns(before, same=same).filter("unmaps")
    mapped, after_unmap = pl.col("same") & ~pl.col("before_unmaps"), pl.col("before_unmaps")
    bits = {
        WRONG_SIZE: mapped & (pl.col("size") != pl.col("before_size")),
        WRONG_WAY: mapped & (pl.col("direction") != pl.col("before_direction")),
        TWICE: pl.col("same") & after_unmap,
        LONE: ~pl.col("same"),
    }
    does = [is_so.fill_null(False).cast(pl.Int64) * bit for bit, is_so in bits.items()]
    told = ended.select(NUMBER, "device", does=pl.sum_horizontal(does), mapping=f"before_{NUMBER}")
    misfits = told.filter((pl.col("does") & MISFIT) != 0)
    return Unmaps(told.group_by("device", "does").len(), misfits.sort(NUMBER))
