"""Which entries and which physical blocks does one range call of RMI 2.0 mean?

A range call names IPAs [base, top) and physical blocks, by one descriptor in a register or by a
list in a host page. It works through leaf table after leaf table and returns how far it came
(`out_top`); it fails only if it did nothing at all.
Source: DEN0137 2.0 beta 0; observed on TF-RMM v0.9.0, whose calls end with the leaf table.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from topbit.arch.ipa import Ipa, Pa
from topbit.arch.rmi import AddrRange, MapFlags, RmiStatus
from topbit.memory import Words
from topbit.rmm.granules import GRANULE, NS
from topbit.rmm.rmi.rtt import is_aligned, rtt_error
from topbit.rmm.s2tt import ENTRIES, SHIFTS, Rtt
from topbit.rmm.state import Realm, RealmState, RmmState

ERROR_INPUT, ERROR_REALM = int(RmiStatus.ERROR_INPUT), int(RmiStatus.ERROR_REALM)
LEVEL_OF_SIZE = (3, 2, 1)


def leading(condition: np.ndarray[tuple[int], np.dtype[np.bool_]]) -> int:
    """How many elements at the beginning are true?"""
    if not len(condition):
        return 0
    first = int(condition.argmin())
    return len(condition) if condition[first] else first


def uniform(words: Words) -> bool:
    """Do all the words say the same? (compared as bytes: a fifth of the time of NumPy's `all`)"""
    data = words.tobytes()
    return data == data[:8] * len(words)


@dataclass(slots=True)
class Run:
    """Which contiguous physical blocks does one descriptor name?"""

    pa: Pa
    level: int
    count: int
    state: int


def _run(descriptor: int) -> Run | None:
    size = AddrRange.SIZE.get(descriptor)
    if size >= len(LEVEL_OF_SIZE):
        return None
    return Run(
        Pa(AddrRange.ADDR.get(descriptor)),
        LEVEL_OF_SIZE[size],
        AddrRange.COUNT.get(descriptor),
        AddrRange.STATE.get(descriptor),
    )


def _runs(rmm: RmmState, flags: int, oaddr: int) -> list[Run] | None:
    """Which blocks do the flags and the `oaddr` argument name? None if they are wrong."""
    kind = MapFlags.OADDR_TYPE.get(flags)
    if kind == MapFlags.SINGLE:
        descriptors = [oaddr]
    elif kind == MapFlags.LIST:
        at = Pa(oaddr)
        count = min(MapFlags.LIST_COUNT.get(flags), (GRANULE - (at & (GRANULE - 1))) >> 3)
        if at & 7 or not count or rmm.granules.get(at & -GRANULE) != NS:
            return None
        descriptors = [int(word) for word in rmm.memory.table(at, count)]
    else:
        return None
    runs = [_run(descriptor) for descriptor in descriptors]
    if runs[0] is None:
        return None
    usable: list[Run] = []
    for run in runs:
        if run is None or run.level != runs[0].level:
            break
        usable.append(run)
    return usable


@dataclass(slots=True)
class Chunk:
    """Which entries of one leaf table, and which physical blocks, meet in one step?"""

    ipa: Ipa
    pa: Pa
    words: Words


def chunks(rtt: Rtt, base: Ipa, top: int, level: int, runs: list[Run]) -> Iterator[Chunk | int]:
    """Where do the runs and the leaf tables from `base` meet? An int is the status of the end."""
    shift = SHIFTS[level]
    ipa = base
    for run in runs:
        pa, left = run.pa, run.count
        while left:
            room = (top - ipa) >> shift
            if not room:
                return
            at, word, _ = rtt.walk(ipa, level)
            if at != level:
                yield rtt_error(at)
                return
            words = rtt.rest_of_table(word)[: min(room, left)]
            yield Chunk(ipa, pa, words)
            ipa += len(words) << shift
            pa += len(words) << shift
            left -= len(words)


def map_arguments(
    rmm: RmmState,
    rd: int,
    base: int,
    top: int,
    flags: int,
    oaddr: int,
    state: int,
    *,
    protected: bool,
) -> tuple[Realm, Ipa, int, list[Run]] | int:
    """Which Realm, first address, level and blocks does a map call mean? Else what refuses it."""
    realm = rmm.realms.get(rd)
    if realm is None:
        return ERROR_INPUT
    if realm.state == RealmState.SYSTEM_OFF:
        return ERROR_REALM
    runs = _runs(rmm, flags, oaddr) if top > base else None
    if not runs or runs[0].state != state:
        return ERROR_INPUT
    rtt, level = realm.rtt, runs[0].level
    if not rtt.start_level <= level or not is_aligned(base, level) or top & (GRANULE - 1):
        return ERROR_INPUT
    in_half = rtt.space.in_par if protected else rtt.space.in_unprotected
    if not in_half(base, top - base):
        return ERROR_INPUT
    if (top - base) >> SHIFTS[level] == 0:
        return rtt_error(level)
    usable: list[Run] = []
    for run in runs:
        end = run.pa + (run.count << SHIFTS[level])
        limit = 1 << (52 if rtt.lpa2 else rmm.pa_bits)
        if run.state != state or not is_aligned(run.pa, level) or end > limit:
            break
        last = usable[-1] if usable else None
        if last is not None and last.pa + (last.count << SHIFTS[level]) == run.pa:
            last.count += run.count
        else:
            usable.append(run)
    return (realm, base, level, usable) if usable else ERROR_INPUT


_RAMPS = {
    level: np.arange(ENTRIES, dtype=np.uint64) << np.uint64(SHIFTS[level]) for level in (1, 2, 3)
}


def write_run(rtt: Rtt, words: Words, pa: Pa, level: int, attributes: int) -> None:
    """Make the words of one table map contiguous blocks from `pa` on."""
    if rtt.lpa2:
        words[:] = rtt.address_run(pa, len(words), level) | np.uint64(attributes)
    else:
        np.add(_RAMPS[level][: len(words)], np.uint64(pa | attributes), out=words)
