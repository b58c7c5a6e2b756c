"""What does each unmap end, and does it fit that?

Only addresses whose maps and unmaps do not add up are looked at. Of each of them, and of each
device, the map or unmap before an unmap tells what it ends.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from topbit.recording import Recording
from topbit.recording.recording import NUMBER
from topbit.replay.columns import given
from topbit.replay.given_addresses import U64, GivenAddresses, Places
from topbit.replay.last_events import NEVER
from topbit.replay.odd_addresses import MAP, UNMAP, odd_addresses, odd_places

FITS, WRONG_SIZE, WRONG_WAY, TWICE, LONE = 0, 1, 2, 4, 8
"""What an unmap does: bits, of which it can have WRONG_SIZE and WRONG_WAY together."""
MISFIT = WRONG_SIZE | WRONG_WAY | TWICE

MOST_SEQUENCES = 1 << 22
"""So many addresses, of so many devices together, have a place in a table of what came last."""

_NOTHING = (1 << 64) - 1
_HALF = np.uint64(32)


class Unmaps(NamedTuple):
    """What do unmaps do?

    Attributes:
        counts: how many (`len`) of each `device` do what (`does`, bits as above).
        misfits: NUMBER, `device` and `does` of those that do not fit, in order, with the number of
            the `mapping` that each ends, or of the unmap that stands before it.
    """

    counts: pl.DataFrame
    misfits: pl.DataFrame


class _Words(NamedTuple):
    """A column of words as numbers; that of no word is the last."""

    codes: pl.Series
    words: list[str]

    @classmethod
    def of(cls, column: pl.Series) -> _Words:
        if not isinstance(column.dtype, pl.Enum):
            column = column.cast(pl.Enum(column.unique().drop_nulls().sort()))
        words = column.dtype.categories.to_list() if isinstance(column.dtype, pl.Enum) else []
        return cls(column.to_physical(), words)

    def part(self, start: int, length: int) -> NDArray[np.int64]:
        codes = self.codes.slice(start, length).cast(pl.Int64)
        return codes.fill_null(len(self.words)).to_numpy()


def unmaps(recording: Recording, addresses: GivenAddresses, live: pl.DataFrame) -> Unmaps:
    """What do the unmaps do of addresses whose maps and unmaps do not add up?

    Args:
        recording: the recording.
        addresses: those of the recording, with the kinds MAP and UNMAP.
        live: the mappings that are known to be live at its end.
    """
    places, devices = addresses.places, _Words.of(recording.frame["device"])
    if places is None or places.number * (len(devices.words) + 1) > MOST_SEQUENCES:
        return _sorted(recording, odd_addresses(recording, live))
    odd = odd_places(recording, addresses, places, live)
    return _in_order(recording, addresses, places, devices, odd)


def _in_order(
    recording: Recording,
    addresses: GivenAddresses,
    places: Places,
    devices: _Words,
    odd: NDArray[np.bool_],
) -> Unmaps:
    """Go through all events once, with what came last of each address and device."""
    sizes, ways = recording.frame["size"], _Words.of(recording.frame["direction"])
    several = len(devices.words) + 1
    added, taken = addresses.kinds.index(MAP), addresses.kinds.index(UNMAP)
    last = _Events.none(places.number * several if odd.any() else 0)
    counts = np.zeros(several << 4, np.int64)
    found = [(np.zeros(0, np.int64),) * 4]
    for start, kinds, given_ones in addresses.stretches() if odd.any() else ():
        at = places.of(given_ones)
        rows = np.flatnonzero(odd[at] & ((kinds == added) | (kinds == taken)))
        if not len(rows):
            continue
        sequence = at[rows] * several + devices.part(start, len(at))[rows]
        # By sequence, and then in order.
        key = sequence.astype(np.uint64) << _HALF | rows.astype(np.uint64)
        key.sort()
        sequence, rows = (key >> _HALF).view(np.int64), key.astype(np.uint32).astype(np.int64)
        now = _Events(
            rows + start,
            sizes.slice(start, len(at)).fill_null(_NOTHING).to_numpy()[rows],
            ways.part(start, len(at))[rows],
            kinds[rows] == taken,
        )
        before = last.replaced(sequence, now)
        does = _does(now, before, len(ways.words))
        device = sequence % several
        counts += np.bincount((device << 4 | does)[now.unmaps], minlength=len(counts))
        misfit = np.flatnonzero(now.unmaps & ((does & MISFIT) != 0))
        found.append((now.numbers[misfit], device[misfit], does[misfit], before.numbers[misfit]))
    numbers, device, does, mapping = (np.concatenate(parts) for parts in zip(*found, strict=True))
    words = pl.Series([*devices.words, None], dtype=pl.String)
    there = np.flatnonzero(counts)
    told = pl.DataFrame({"device": words[there >> 4], "does": there & 15, "len": counts[there]})
    misfits = {NUMBER: numbers, "device": words[device], "does": does, "mapping": mapping}
    return Unmaps(told, pl.DataFrame(misfits).sort(NUMBER))


class _Events(NamedTuple):
    """Maps and unmaps, column by column."""

    numbers: NDArray[np.int64]
    sizes: U64
    ways: NDArray[np.int64]
    unmaps: NDArray[np.bool_]

    @classmethod
    def none(cls, count: int) -> _Events:
        """A table of events none of which has been seen."""
        numbers, sizes = np.full(count, NEVER, np.int64), np.zeros(count, np.uint64)
        return cls(numbers, sizes, np.zeros(count, np.int64), np.zeros(count, np.bool_))

    def replaced(self, sequence: NDArray[np.int64], now: _Events) -> _Events:
        """Which event stands before each? The last of each sequence is kept in this table.

        `sequence`: of each event, in order.
        """
        first = np.append(True, sequence[1:] != sequence[:-1])
        last = np.append(first[1:], True)
        before: list[NDArray[Any]] = []
        for known, values in zip(self, now, strict=True):
            earlier = np.roll(values, 1)
            earlier[first] = known[sequence[first]]
            known[sequence[last]] = values[last]
            before.append(earlier)
        return _Events(*before)


def _does(now: _Events, before: _Events, no_way: int) -> NDArray[np.int64]:
    """What does each do, if it is an unmap?"""
    is_there = before.numbers != NEVER
    mapped = is_there & ~before.unmaps
    sizes = (now.sizes != _NOTHING) & (before.sizes != _NOTHING) & (now.sizes != before.sizes)
    ways = (now.ways != no_way) & (before.ways != no_way) & (now.ways != before.ways)
    does: NDArray[np.int64] = (
        (mapped & sizes) * WRONG_SIZE
        + (mapped & ways) * WRONG_WAY
        + (is_there & before.unmaps) * TWICE
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
