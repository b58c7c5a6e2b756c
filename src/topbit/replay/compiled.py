"""What do the maps and unmaps of a stretch of events do? For numba, one event after the other.

Imported only where numba is loaded already: its import takes longer than this saves.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from topbit.replay.unmap_terms import (
    FOLD,
    LONE,
    MISFIT,
    MIX,
    NOTHING,
    SIZE,
    TWICE,
    WAY,
    WRONG_SIZE,
    WRONG_WAY,
)

NEVER = -1
_NOTHING = np.uint64(NOTHING)
_SIZE, _WAY, _MIX, _FOLD = np.uint64(SIZE), np.uint64(WAY), np.uint64(MIX), np.uint64(FOLD)


def note_last(start: int, kinds: Any, addresses: Any, low: Any, shift: Any, tables: Any) -> None:
    """Which event is the last of its kind at its place?

    Args:
        start: the row of the first event.
        kinds, addresses: of each event.
        low, shift: where the places lie, as in `Places`.
        tables: the last row of each kind, which is filled; the last of them is of no kind.
    """
    none = len(tables) - 1
    for row in range(len(kinds)):
        if kinds[row] != none:
            tables[kinds[row], (addresses[row] - low) >> shift] = start + row


def add_up(
    kinds: Any,
    wanted: Any,
    addresses: Any,
    low: Any,
    shift: Any,
    sizes: Any,
    ways: Any,
    lengths: Any,
    sums: Any,
    unmapped: Any,
) -> None:
    """Add what each map tells to its place's sum, and take away what each unmap does.

    Args:
        kinds, addresses, sizes, ways: of each event; sizes in bytes, numbers of directions.
        wanted: the kinds of a map and of an unmap.
        low, shift: where the places lie, as in `Places`.
        lengths: of the directions' names.
        sums, unmapped: of each place: what is left, and whether there is an unmap.
    """
    added, taken = wanted
    for row in range(len(kinds)):
        kind = kinds[row]
        if kind != added and kind != taken:
            continue
        place = (addresses[row] - low) >> shift
        pair = sizes[row] * _SIZE + lengths[ways[row]] * _WAY
        pair = (pair ^ (pair >> _FOLD)) * _MIX
        if kind == added:
            sums[place] += pair
        else:
            sums[place] -= pair
            unmapped[place] = True


def look_back(
    start: int,
    kinds: Any,
    wanted: Any,
    addresses: Any,
    low: Any,
    shift: Any,
    odd: Any,
    sizes: Any,
    ways: Any,
    no_way: int,
    devices: Any,
    several: int,
    last: Any,
    counts: Any,
    found: Any,
) -> int:
    """What does each unmap at an odd place do?

    Args:
        start: the row of the first event.
        kinds, addresses, sizes, ways, devices: of each event, as above.
        wanted, low, shift: as above.
        odd: the places that are looked at.
        no_way: the number of no direction.
        several: how many devices there are.
        last: of each place and device the last event's row (NEVER), size, direction, whether it is
            an unmap. It is filled.
        counts: how many unmaps of a device (from bit 4 on) do what. They are filled.
        found: of those that do not fit row, device, what they do, and the row before.

    Returns:
        how many do not fit.
    """
    added, taken = wanted
    last_row, last_size, last_way, last_unmaps = last
    many = 0
    for row in range(len(kinds)):
        kind = kinds[row]
        if kind != added and kind != taken:
            continue
        of_address = np.int64((addresses[row] - low) >> shift)
        if not odd[of_address]:
            continue
        device, way, size, does = np.int64(devices[row]), np.int64(ways[row]), sizes[row], 0
        place = of_address * several + device
        if kind == taken:
            before, earlier = last_size[place], last_way[place]
            if last_row[place] == NEVER:
                does = LONE
            elif last_unmaps[place]:
                does = TWICE
            else:
                if size != before and size != _NOTHING and before != _NOTHING:
                    does |= WRONG_SIZE
                if way != earlier and way != no_way and earlier != no_way:
                    does |= WRONG_WAY
            counts[device << 4 | does] += 1
            if does & MISFIT:
                found[0, many] = start + row
                found[1, many] = device
                found[2, many] = does
                found[3, many] = last_row[place]
                many += 1
        last_row[place], last_size[place] = start + row, size
        last_way[place], last_unmaps[place] = way, kind == taken
    return many


note_last = njit(cache=True, nogil=True)(note_last)
add_up = njit(cache=True, nogil=True)(add_up)
look_back = njit(cache=True, nogil=True)(look_back)
