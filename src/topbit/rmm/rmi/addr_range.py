"""Which entries and which physical blocks does one range call of RMI 2.0 mean?

A range call names IPAs [base, top) and physical blocks, by one descriptor in a register or by a
list in a host page. It works through leaf table after leaf table and returns how far it came
(`out_top`); it fails only if it did nothing at all.
Source: DEN0137 2.0 beta 0; observed on TF-RMM v0.9.0, whose calls end with the leaf table.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from topbit.arch.ipa import Ipa, Pa
from topbit.arch.rmi import RmiStatus
from topbit.arch.rmi_range import AddrRange, MapFlags
from topbit.memory import Words
from topbit.rmm.granules import GRANULE, NS
from topbit.rmm.realm import ENDED, Realm
from topbit.rmm.rmi.rtt import is_aligned, rtt_error
from topbit.rmm.s2tt import ENTRIES, SHIFTS, Rtt
from topbit.rmm.state import RmmState

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


def _descriptors(rmm: RmmState, flags: int, oaddr: int) -> list[int] | None:
    """Which descriptors do the flags and the `oaddr` argument give? None if they are wrong."""
    kind = MapFlags.OADDR_TYPE.get(flags)
    if kind == MapFlags.SINGLE:
        return [oaddr]
    if kind != MapFlags.LIST:
        return None
    at = Pa(oaddr)
    count = min(MapFlags.LIST_COUNT.get(flags), (GRANULE - (at & (GRANULE - 1))) >> 3)
    if at & 7 or not count or rmm.granules.get(at & -GRANULE) != NS:
        return None
    return [int(word) for word in rmm.memory.table(at, count)]


@dataclass(slots=True)
class MapCall:
    """Which entries, and which blocks, does a map call mean, as far as its arguments tell?

    Attributes:
        base, top: IPAs; `level`: of the entries.
        descriptors: the words that name the blocks.
        state: what the descriptors must say of them; None: that is not looked at.
        within: where the blocks must lie, (base, top) each; None: anywhere.
    """

    rmm: RmmState
    realm: Realm
    base: Ipa
    top: int
    level: int
    descriptors: list[int]
    state: int | None
    within: Sequence[tuple[int, int]] | None = None

    @property
    def rtt(self) -> Rtt:
        """Which tables map the Realm's IPAs?"""
        return self.realm.rtt

    def _runs(self) -> Iterator[Run | int]:
        """Which blocks do the descriptors name, adjoining ones as one? At last, what is wrong."""
        pending: Run | None = None
        wrong = ERROR_INPUT  # none is left
        for word in self.descriptors:
            count = AddrRange.COUNT.get(word)
            if not count:
                continue
            state = self.rmm.revision.range_state.get(word)
            pa = Pa(AddrRange.ADDR.get(word))
            if self.state is not None and state != self.state:
                break
            size = AddrRange.SIZE.get(word)
            if size >= len(LEVEL_OF_SIZE) or LEVEL_OF_SIZE[size] != self.level:
                wrong = rtt_error(self.level)
                break
            end = pa + (count << SHIFTS[self.level])
            limit = 1 << (52 if self.rtt.lpa2 else self.rmm.pa_bits)
            if not is_aligned(pa, self.level) or end > limit:
                break
            if pending is not None and pending.pa + (pending.count << SHIFTS[self.level]) == pa:
                pending.count += count
                continue
            if pending is not None:
                yield pending
            pending = Run(pa, self.level, count, state)
        if pending is not None:
            yield pending
        yield wrong

    def _inside(self, pa: Pa, count: int) -> int:
        """How many of `count` blocks from `pa` on lie where they must?"""
        if self.within is None:
            return count
        shift = SHIFTS[self.level]
        ends = (top for base, top in self.within if base <= pa < top)
        return max(0, min(count, (next(ends, pa) - pa) >> shift))

    def chunks(self) -> Iterator[Chunk | int]:
        """Where do blocks and leaf tables meet? An int is the status of what ends it."""
        shift = SHIFTS[self.level]
        ipa, runs = self.base, self._runs()
        pa, left = Pa(0), 0
        while (self.top - ipa) >> shift:
            at, word, _ = self.rtt.walk(ipa, self.level)
            if at != self.level:
                yield rtt_error(at)
                return
            words = self.rtt.rest_of_table(word)[: (self.top - ipa) >> shift]
            while len(words):
                if not left:
                    run = next(runs)
                    if isinstance(run, int):
                        yield run
                        return
                    pa, left = run.pa, run.count
                count = self._inside(pa, min(len(words), left))
                if not count:
                    yield ERROR_INPUT
                    return
                yield Chunk(ipa, pa, words[:count])
                words = words[count:]
                ipa += count << shift
                pa += count << shift
                left -= count


@dataclass(slots=True)
class Chunk:
    """Which entries of one leaf table, and which physical blocks, meet in one step?"""

    ipa: Ipa
    pa: Pa
    words: Words


def map_call(
    rmm: RmmState,
    rd: int,
    base: int,
    top: int,
    flags: int,
    oaddr: int,
    state: int | None,
    *,
    protected: bool,
) -> MapCall | int:
    """What does a map call mean? Else the status that refuses it.

    The order in which wrong arguments are found is TF-RMM's.
    """
    realm = rmm.realms.get(rd)
    if realm is None:
        return ERROR_INPUT
    if realm.state in ENDED:
        return ERROR_REALM
    descriptors = _descriptors(rmm, flags, oaddr) if top > base else None
    if descriptors is None:
        return ERROR_INPUT
    first = descriptors[0]
    size = AddrRange.SIZE.get(first)
    if size >= len(LEVEL_OF_SIZE):
        return ERROR_INPUT
    if state is not None and rmm.revision.range_state.get(first) != state:
        return ERROR_INPUT
    rtt, level = realm.rtt, LEVEL_OF_SIZE[size]
    start = Ipa(base)
    if not rtt.start_level <= level or not is_aligned(base, level) or top & (GRANULE - 1):
        return ERROR_INPUT
    is_protected = rtt.space.in_par(base, top - base)
    # A range over both halves is found out where the entries are looked at.
    if protected != is_protected or not rtt.space.contains(top - 1):
        return ERROR_INPUT
    if (top - base) >> SHIFTS[level] == 0:
        return rtt_error(level)
    return MapCall(rmm, realm, start, top, level, descriptors, state)


_RAMPS = {
    level: np.arange(ENTRIES, dtype=np.uint64) << np.uint64(SHIFTS[level]) for level in (1, 2, 3)
}


def write_run(rtt: Rtt, words: Words, pa: Pa, level: int, attributes: int) -> None:
    """Make the words of one table map contiguous blocks from `pa` on."""
    if rtt.lpa2:
        words[:] = rtt.address_run(pa, len(words), level) | np.uint64(attributes)
    else:
        np.add(_RAMPS[level][: len(words)], np.uint64(pa | attributes), out=words)
