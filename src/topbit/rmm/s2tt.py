"""What stands in a Realm translation table (RTT), and where does a walk for an IPA end?

RTTs are VMSAv8-64 stage-2 tables with 4 KiB granules in memory bytes. A valid word is what the
hardware walks. An invalid word holds the RMM's own state, out of the hardware's sight: HIPAS in
[5:3], RIPAS in [2:1], the output address of an assigned but inaccessible page, and bit 55 for an
unprotected entry. No word is trusted: one that does not lead to a granule in state RTT is no
table, and what an entry says of a granule is held against the granule's state before it counts.
Sources: DDI0487 D8.3; DEN0137, "Realm Translation Table".
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from topbit.arch import stage2
from topbit.arch.ipa import Ipa, IpaSpace, Pa
from topbit.arch.rmi import Ripas, RttState
from topbit.arch.stage2 import (
    LEAF_TYPES,
    OA_MASK_48,
    TABLE,
    TYPE,
    Geometry,
    Granule,
    address_array,
    address_bits,
    output_address,
)
from topbit.memory import Words
from topbit.rmm.granules import DATA, RTT, SHIFT, Granules, State

LAST = stage2.LAST_LEVEL
NS = stage2.NS
G4K = stage2.G4K
ENTRIES = 512
MIN_BLOCK_LEVEL = 1
G4K_LPA2 = Granule(12, ds=True)

HIPAS_ASSIGNED = 1 << 3
HIPAS_ASSIGNED_DEV = 3 << 3
HIPAS_MASK = 7 << 3
RIPAS_SHIFT = 1
RIPAS_MASK = 3 << RIPAS_SHIFT

UNASSIGNED_NS = NS
NOWHERE = Pa(0)  # the output address of what has none

MEMATTR_MASK = 0xF << 2
MEMATTR_PROTECTED = 0b0110 << 2  # FEAT_S2FWB: Normal Write-Back
MEMATTR_DEVICE = 0b0101 << 2  # FEAT_S2FWB: Normal Non-cacheable, Device where stage 1 says so
S2AP_RW = stage2.S2AP_READ | stage2.S2AP_WRITE
XN = 1 << 54

PROTECTED = MEMATTR_PROTECTED | S2AP_RW | stage2.SH_INNER | stage2.AF
PROTECTED_DEV = MEMATTR_DEVICE | S2AP_RW | stage2.SH_OUTER | stage2.AF | XN
UNPROTECTED = NS | XN | stage2.SH_INNER | stage2.AF
HOST_ATTRIBUTES = MEMATTR_MASK | S2AP_RW  # what the host chooses of an unprotected mapping

# Members by names of their own: to look one up in its enumeration takes ten times as long.
_UNASSIGNED, _ASSIGNED, _TABLE, _ASSIGNED_DEV = RttState
_RIPAS = _EMPTY, _RAM, _, _DEV = tuple(Ripas)  # by value: a fifth of the time of Ripas(value)
SHIFTS = tuple(G4K.level_shift(level) for level in (0, 1, 2, 3, -1))  # by level


def unassigned(ripas: int) -> int:
    """Which word is an unassigned protected entry of this RIPAS?"""
    return ripas << RIPAS_SHIFT


_LOST = unassigned(Ripas.DESTROYED)
_HIGHEST_PAGE = Pa(0x000F_FFFF_FFFF_F000)
IS_TABLE = len(Ripas)  # in place of a RIPAS, which a table has not


class Walk(NamedTuple):
    """Where did a walk end?

    Attributes:
        level: level of the entry.
        word: index of the entry among the 64-bit words of the memory.
        entry: the word there; for a table descriptor that leads to no table, the unassigned
            entry that it reads as (DESTROYED, or unprotected).
    """

    level: int
    word: int
    entry: int


class Entry(NamedTuple):
    """What does one RTT entry say, as RTT_READ_ENTRY reports it?"""

    state: RttState
    ripas: Ripas
    oa: Pa
    ns: bool  # of the unprotected half
    valid: bool  # the hardware translates through it


class Rtt:
    """Which tables translate the IPAs of one Realm?

    Args:
        granules: the states of the memory in which the tables stand.
        base: PA of the first root table (they are concatenated).
        start_level: level of the root, -1 to 2.
        ipa_bits: width of the IPA space; its top bit is the shared bit.
        lpa2: FEAT_LPA2 descriptors (52-bit output addresses).
    """

    __slots__ = (
        "_count",
        "_states",
        "_u64",
        "base",
        "first",
        "geometry",
        "granule",
        "granules",
        "lpa2",
        "memory",
        "memory_base",
        "space",
        "start_level",
    )

    def __init__(
        self, granules: Granules, base: Pa, start_level: int, ipa_bits: int, lpa2: bool
    ) -> None:
        self.granules = granules
        self.memory = memory = granules.memory
        self.base = base
        self.start_level = start_level
        self.space = IpaSpace(ipa_bits)
        self.lpa2 = lpa2
        self.granule = G4K_LPA2 if lpa2 else G4K
        self.geometry = Geometry(ipa_bits, start_level, self.granule, 52 if lpa2 else 48)
        self.memory_base = memory.base
        self.first = (base - memory.base) >> 3
        self._u64 = memory.scalar_words
        self._states = granules.scalar
        self._count = len(granules.state)

    @property
    def roots(self) -> int:
        """How many concatenated root tables are there?"""
        return self.granule.root_tables(self.space.bits, self.start_level)

    def is_root(self, pa: Pa) -> bool:
        """Is the granule at `pa` one of the root tables?"""
        return self.base <= pa < self.base + (self.roots << SHIFT)

    def reaches(self, pa: Pa) -> bool:
        """Is `pa` memory or a mapped device of a Realm, as a protected entry must say?"""
        return self.granules.get(pa & -1 << SHIFT) in (DATA, State.DEV_MAPPED)

    def walk(self, ipa: Ipa, level: int) -> Walk:
        """Where does the walk for `ipa` end that goes no deeper than `level`?"""
        words = self._u64
        at = self.start_level
        index = self.first + (ipa >> SHIFTS[at])
        entry = words[index]
        while entry & TYPE == TABLE and at < LAST:
            pa = self.pa_of(entry) if self.lpa2 else OA_MASK_48 & entry
            page = (pa - self.memory_base) >> SHIFT
            if not 0 <= page < self._count or self._states[page] != RTT:
                return Walk(at, index, _LOST if self.space.in_par(ipa) else UNASSIGNED_NS)
            if at == level:
                break
            at += 1
            index = (page << 9) + (ipa >> SHIFTS[at] & 511)
            entry = words[index]
        return Walk(at, index, entry)

    def write(self, index: int, entry: int) -> None:
        """Store one word, by its index among the words of the memory."""
        self._u64[index] = entry

    def rest_of_table(self, index: int) -> Words:
        """Which words follow in the same table, from `index` on? (live view)"""
        return self.memory.words[index : (index | 511) + 1]

    def table(self, pa: Pa) -> Words:
        """Which 512 words are the table at `pa`? (live view)"""
        first = (pa - self.memory_base) >> 3
        return self.memory.words[first : first + ENTRIES]

    def pa_of(self, entry: int) -> Pa:
        """Which output or table address does a word hold?

        The usual form, of 48 bits, stands here and in `walk` once more: without, an RMM call takes
        an eighth longer.
        """
        return output_address(entry, self.granule) if self.lpa2 else OA_MASK_48 & entry

    def address(self, pa: Pa) -> int:
        """Which bits of a word hold the address `pa`?"""
        return address_bits(pa, self.granule) if self.lpa2 else pa

    def address_run(self, pa: Pa, count: int, level: int) -> Words:
        """Which address bits do `count` words for contiguous blocks from `pa` hold?"""
        step = 1 << SHIFTS[level]
        run = np.arange(pa, pa + count * step, step, dtype=np.uint64)
        return address_array(run, self.granule) if self.lpa2 else run

    @property
    def address_mask(self) -> int:
        """Which bits of a word may hold an address?"""
        return self.address(_HIGHEST_PAGE)

    def attributes(self, of: int) -> int:
        """Which attributes does a descriptor carry? With LPA2, [9:8] hold the address, not SH."""
        return of & ~stage2.SH_INNER if self.lpa2 else of

    def assigned(self, pa: Pa, ripas: int, level: int = LAST, *, dev: bool = False) -> int:
        """Which word is an assigned protected entry?"""
        if ripas == _RAM and not dev:
            return self.address(pa) | self.attributes(PROTECTED) | LEAF_TYPES[level]
        if ripas == _DEV and dev:
            return self.address(pa) | self.attributes(PROTECTED_DEV) | LEAF_TYPES[level]
        return self.address(pa) | (HIPAS_ASSIGNED_DEV if dev else HIPAS_ASSIGNED) | ripas << 1

    def assigned_ns(self, descriptor: int, level: int) -> int:
        """Which word maps an unprotected entry? `descriptor`: PA | MemAttr<<2 | S2AP<<6."""
        attributes = descriptor & HOST_ATTRIBUTES | self.attributes(UNPROTECTED)
        return self.address(_HIGHEST_PAGE & descriptor) | attributes | LEAF_TYPES[level]

    def decode(self, entry: int, level: int) -> Entry:
        """What does the word of an entry at `level` say?"""
        if entry & 1:
            if level < LAST and entry & 2:
                return Entry(_TABLE, _EMPTY, self.pa_of(entry), False, True)
            oa = self.pa_of(entry)
            if entry & NS:
                return Entry(_ASSIGNED, _EMPTY, oa, True, True)
            if entry & MEMATTR_MASK == MEMATTR_DEVICE:
                return Entry(_ASSIGNED_DEV, _DEV, oa, False, True)
            return Entry(_ASSIGNED, _RAM, oa, False, True)
        if entry & NS:
            return Entry(_UNASSIGNED, _EMPTY, NOWHERE, True, False)
        ripas = _RIPAS[entry >> RIPAS_SHIFT & 3]
        hipas = entry & HIPAS_MASK
        if not hipas:
            return Entry(_UNASSIGNED, ripas, NOWHERE, False, False)
        state = _ASSIGNED if hipas == HIPAS_ASSIGNED else _ASSIGNED_DEV
        return Entry(state, ripas, self.pa_of(entry), False, False)


def is_table(words: NDArray[np.uint64], level: int) -> NDArray[np.bool_]:
    """Which of the words of a table at `level` are table descriptors?"""
    if level == LAST:
        return np.zeros(words.shape, np.bool_)
    tables: NDArray[np.bool_] = words & np.uint64(TYPE) == np.uint64(TABLE)
    return tables


def is_live(words: NDArray[np.uint64]) -> NDArray[np.bool_]:
    """Which words hold an address: a table, an assigned or an unprotected mapping?"""
    live: NDArray[np.bool_] = words & np.uint64(1 | HIPAS_MASK) != np.uint64(0)
    return live


def is_held(words: NDArray[np.uint64], level: int) -> NDArray[np.bool_]:
    """Which words keep their table from being destroyed: tables and assigned protected entries?

    Unprotected mappings do not: they hold no granule of the Realm.
    """
    protected = words & np.uint64(NS) == np.uint64(0)
    held: NDArray[np.bool_] = is_table(words, level) | (is_live(words) & protected)
    return held


def ripas_of(words: NDArray[np.uint64], level: int) -> NDArray[np.uint64]:
    """What is the RIPAS of each word of a table of the protected half? Tables give IS_TABLE."""
    valid = (words & np.uint64(1)) != np.uint64(0)
    device = (words & np.uint64(MEMATTR_MASK)) == np.uint64(MEMATTR_DEVICE)
    mapped = np.where(device, np.uint64(Ripas.DEV), np.uint64(Ripas.RAM))
    ripas = np.where(valid, mapped, words >> np.uint64(RIPAS_SHIFT) & np.uint64(3))
    ripas[is_table(words, level)] = IS_TABLE
    return ripas
