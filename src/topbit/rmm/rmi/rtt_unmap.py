"""What does one call of RMI 2.0 unmap, and which physical ranges are free then?

The same states as after the single-page calls of 1.0.
Source: DEN0137 2.0 beta 0; observed on TF-RMM v0.9.0.
"""

from __future__ import annotations

import numpy as np

from topbit.arch.ipa import Ipa, Pa
from topbit.arch.rmi import Ripas, RmiStatus
from topbit.arch.rmi_range import AddrRange, MapFlags
from topbit.arch.stage2 import output_array
from topbit.memory import Words
from topbit.rmm import s2tt as entries
from topbit.rmm.granules import DATA, DELEGATED, GRANULE, NS, State
from topbit.rmm.realm import Realm
from topbit.rmm.rmi.addr_range import Run, leading
from topbit.rmm.rmi.op import BLOCKED, is_blocked
from topbit.rmm.rmi.rtt import is_aligned, rtt_error
from topbit.rmm.s2tt import (
    HIPAS_ASSIGNED_DEV,
    HIPAS_MASK,
    LAST,
    RIPAS_MASK,
    SHIFTS,
    UNASSIGNED_NS,
)
from topbit.rmm.state import RmmState

SUCCESS, ERROR_INPUT = int(RmiStatus.SUCCESS), int(RmiStatus.ERROR_INPUT)
# Enough for 128 GiB of pages; one table in many places looks like far more.
MAX_TABLES = 1 << 16


def rtt_data_unmap(
    rmm: RmmState, rd: int, base: int, top: int, flags: int, oaddr: int
) -> tuple[int, ...]:
    """RMI_RTT_DATA_UNMAP(rd, base, top, flags, oaddr) -> out_top, range, count of ranges."""
    return _unmap(rmm, rd, base, top, flags, oaddr, "data")


def rtt_unprot_unmap(
    rmm: RmmState, rd: int, base: int, top: int, flags: int, oaddr: int
) -> tuple[int, ...]:
    """RMI_RTT_UNPROT_UNMAP(rd, base, top, flags, oaddr) -> out_top, range, count of ranges."""
    return _unmap(rmm, rd, base, top, flags, oaddr, "unprotected")


def rtt_dev_unmap(
    rmm: RmmState, rd: int, base: int, top: int, flags: int, oaddr: int
) -> tuple[int, ...]:
    """RMI_RTT_DEV_UNMAP(rd, base, top, flags, oaddr) -> out_top, range, count of ranges."""
    return _unmap(rmm, rd, base, top, flags, oaddr, "device")


class _Freed:
    """Which physical ranges did an unmap call free? (what it tells the host about them)

    In a list a block is joined to the first range, in the order in which they began, that it
    touches at either end, as TF-RMM does: so the same list has room for the same blocks.
    """

    def __init__(self, kind: int, limit: int, state: int) -> None:
        self.kind = kind
        self.limit = 1 if kind == MapFlags.SINGLE else limit
        self.state = state
        self.runs: list[Run] = []

    def take(self, pa: Pa, level: int, count: int) -> int:
        """Describe `count` contiguous blocks from `pa` on, as many as there is room for."""
        if self.kind == MapFlags.NONE:
            return count
        size = 1 << SHIFTS[level]
        done = 0
        while done < count:
            at, left = pa + done * size, count - done
            alone = left == 1 and self.kind == MapFlags.LIST
            before = self._touching(at, level, front=alone)
            if before is None:
                if len(self.runs) == self.limit:
                    break
                before = Run(at, level, 0, self.state)
                self.runs.append(before)
            if at < before.pa:
                before.pa, more = at, 1
            else:
                # The last block may touch another range, and that one may come first.
                more = min(max(left - 1, 1), AddrRange.MAX_COUNT - before.count)
            before.count += more
            done += more
        return done

    def _touching(self, pa: Pa, level: int, *, front: bool) -> Run | None:
        """Which range does a block at `pa` touch, at its end or, with `front`, at its beginning?"""
        size = 1 << SHIFTS[level]
        for run in self.runs:
            if run.level != level or run.count == AddrRange.MAX_COUNT:
                continue
            if run.pa + run.count * size == pa or (front and pa + size == run.pa):
                return run
        return None

    def descriptors(self) -> list[int]:
        """How do the runs look as range descriptors?"""
        return [
            AddrRange(SIZE=3 - run.level, COUNT=run.count, ADDR=run.pa, STATE=run.state).words[0]
            for run in self.runs
        ]


def _unmap(
    rmm: RmmState, rd: int, base: int, top: int, flags: int, oaddr: int, flavor: str
) -> tuple[int, ...]:
    if is_blocked(rmm):
        return (BLOCKED, 0, 0, 0)
    realm = rmm.realms.get(rd)
    if realm is None or (base | top) & (GRANULE - 1) or top <= base:
        return (ERROR_INPUT, 0, 0, 0)
    rtt = realm.rtt
    unprotected = flavor == "unprotected"
    in_half = rtt.space.in_unprotected if unprotected else rtt.space.in_par
    kind, limit = MapFlags.OADDR_TYPE.get(flags), MapFlags.LIST_COUNT.get(flags)
    if not in_half(base, top - base) or kind > MapFlags.LIST:
        return (ERROR_INPUT, 0, 0, 0)
    out = Pa(oaddr)
    if kind == MapFlags.LIST:
        if out & 7 or not limit or rmm.granules.get(out & -GRANULE) != NS:
            return (ERROR_INPUT, 0, 0, 0)
        limit = min(limit, (GRANULE - (out & (GRANULE - 1))) >> 3)
    elif oaddr or limit:
        return (ERROR_INPUT, 0, 0, 0)

    state = AddrRange.UNDELEGATED if unprotected else AddrRange.DELEGATED
    freed = _Freed(kind, limit, state)
    status, out_top = SUCCESS, base
    for _ in range(MAX_TABLES):
        if out_top == top or status != SUCCESS:
            break
        level, word, _ = rtt.walk(out_top, LAST)
        shift = SHIFTS[level]
        words = rtt.rest_of_table(word)[: (top - out_top) >> shift]
        if not is_aligned(out_top, level) or not len(words):
            status = rtt_error(level)
            break
        done, status = _unmap_words(rmm, realm, words, level, flavor, freed, out_top)
        out_top += done << shift
        if done and status != _FULL:
            status = SUCCESS  # what stopped it may stand in a table of another level
    if out_top == base and status != SUCCESS and status != _FULL:
        return (status, 0, 0, 0)
    descriptors = freed.descriptors()
    if kind == MapFlags.LIST and descriptors:
        rmm.memory.table(out, len(descriptors))[:] = descriptors
    single = descriptors[0] if kind == MapFlags.SINGLE and descriptors else 0
    return (SUCCESS, out_top, single, len(descriptors) if kind == MapFlags.LIST else 0)


_FULL = -1  # the output can describe no further range: stop, with success


def _unmap_words(
    rmm: RmmState, realm: Realm, words: Words, level: int, flavor: str, freed: _Freed, ipa: Ipa
) -> tuple[int, int]:
    """How many entries of a leaf table were passed, and what stopped the sweep?"""
    rtt, shift = realm.rtt, SHIFTS[level]
    live = entries.is_live(words)
    at = 0
    while at < len(words):
        gap = leading(~live[at:])
        at += gap
        if at == len(words):
            break
        run = words[at : at + leading(live[at:])]
        owned = _owned(run, level, flavor)
        oa = output_array(run, rtt.granule)
        step = np.uint64(1 << shift)
        contiguous = np.concatenate(([True], oa[1:] == oa[:-1] + step))
        pa = Pa(int(oa[0]))
        count = _backed(rmm, pa, leading(owned & contiguous), level, flavor)
        if not count:
            return at, rtt_error(level)
        taken = freed.take(pa, level, count)
        if not taken:
            return at, _FULL
        _free(rmm, realm, run[:taken], ipa + (at << shift), pa, level, flavor)
        live[at : at + taken] = False
        at += taken
    return at, SUCCESS


def _owned(words: Words, level: int, flavor: str) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    """Which live words may a call of this flavor unmap?"""
    if level < entries.MIN_BLOCK_LEVEL:
        return np.zeros(words.shape, np.bool_)
    if flavor == "unprotected":
        unprotected: np.ndarray[tuple[int], np.dtype[np.bool_]] = ~entries.is_table(words, level)
        return unprotected
    valid = (words & np.uint64(1)) != 0
    memattr = words & np.uint64(entries.MEMATTR_MASK)
    hipas = words & np.uint64(HIPAS_MASK)
    device: np.ndarray[tuple[int], np.dtype[np.bool_]] = np.where(
        valid, memattr == np.uint64(entries.MEMATTR_DEVICE), hipas == np.uint64(HIPAS_ASSIGNED_DEV)
    )
    right = device if flavor == "device" else ~device
    return right & ~entries.is_table(words, level)


def _backed(rmm: RmmState, pa: Pa, count: int, level: int, flavor: str) -> int:
    """How many of `count` contiguous blocks are in the state that a mapping of them implies?"""
    size = count << SHIFTS[level]
    if flavor == "data":
        return rmm.granules.run(pa, size, DATA) >> SHIFTS[level]
    if flavor == "device":
        return rmm.granules.device_run(pa, size, State.DEV_MAPPED) >> SHIFTS[level]
    return count


def _free(
    rmm: RmmState, realm: Realm, words: Words, ipa: Ipa, pa: Pa, level: int, flavor: str
) -> None:
    """Make contiguous live entries unassigned, and give their granules back."""
    size = len(words) << SHIFTS[level]
    if flavor == "unprotected":
        words[:] = UNASSIGNED_NS
    else:
        empty = ((words & np.uint64(1)) == 0) & ((words & np.uint64(RIPAS_MASK)) == 0)
        destroyed = np.uint64(entries.unassigned(Ripas.DESTROYED))
        words[:] = np.where(empty, np.uint64(entries.unassigned(Ripas.EMPTY)), destroyed)
        if flavor == "data":
            rmm.granules.span(pa, size)[:] = DELEGATED
        else:
            rmm.granules.move_device(pa, size, State.DEV_MAPPED, State.DEV_DELEGATED)
        if rmm.listening and not empty.all():
            rmm.say_ripas(realm, ipa, size, Ripas.DESTROYED)
    rmm.invalidate(realm, ipa, size)
    if rmm.listening:
        rmm.say_rtt("rtt_unmap", realm, ipa, pa, size)
