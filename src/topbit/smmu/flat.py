"""How are millions of addresses translated without walking the tables for each?

The leaves of a stream's tables are flattened into one array: per page the difference between
output and input address. Like a TLB that has seen every page, the copy is used until a command
invalidates anything (`Tlb.generation`), and like a TLB it holds no faults: an address that finds
no usable leaf in it is walked in the tables as they are.

Pages are grouped in slots of 1 GiB; only slots that have leaves take space.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from topbit.arch.gpt import PAS
from topbit.arch.ipa import Pa
from topbit.arch.stage2 import (
    AF,
    LAST_LEVEL,
    LEAF_TYPES,
    S2AP_READ,
    S2AP_WRITE,
    TABLE,
    TYPE,
    output_array,
)
from topbit.smmu.batch import Addresses, Codes, Mask, walk_array
from topbit.smmu.bus import Bus
from topbit.smmu.ste import Stage2
from topbit.smmu.tlb import Tlb

Slots: TypeAlias = NDArray[np.int64]
_Run: TypeAlias = tuple[int, Addresses, Addresses]

SLOT_SHIFT = 30
MAX_PAGES = 1 << 22  # 32 MiB per copy, 16 GiB of 4K pages; larger tables are walked
CHUNK = 1 << 15
NUMBA_FROM = 1 << 20  # addresses for which compiling and starting threads is worth it
_MISS = np.uint64(1)  # no leaf: the lowest bit, which no difference of page addresses has


@dataclass(frozen=True, slots=True)
class Flat:
    """Which difference leads from an input page to its output page?

    Attributes:
        first: number of the first slot that has leaves.
        starts: for slot `first + i`, where its pages begin in `delta`; one more entry at the
            end, and each slot without leaves, points to the misses.
        contiguous: `starts` is a plain multiple: no slot between has no leaves.
        page_shift: log2 of the page size.
        delta: one miss, the pages of each slot, and as many misses again. Per page it holds the
            output minus the input address modulo 2^64, or _MISS.
    """

    first: int
    starts: Slots
    contiguous: bool
    page_shift: int
    delta: Addresses


class FlatTables:
    """Which flattened copies are still good? Those made since `tlb` last forgot anything."""

    def __init__(self, tlb: Tlb) -> None:
        self._tlb = tlb
        self._generation = -1
        self._flats: dict[tuple[Stage2, bool], Flat | None] = {}

    def translate(
        self,
        stage2: Stage2,
        iovas: Addresses,
        write: bool,
        bus: Bus,
        oas_bits: int,
        pas: Addresses,
        codes: Codes,
    ) -> Mask | None:
        """Translate `iovas` into `pas` and `codes`; see `batch.walk_array`."""
        flat = None if stage2.realm else self._flat(stage2, write, bus)
        if flat is None:
            return walk_array(stage2, iovas, write, bus, oas_bits, pas, codes)
        _look_up(flat, iovas, pas, codes)
        missed = np.flatnonzero(codes)
        if missed.size:
            walked_pas = np.empty(missed.shape, np.uint64)
            walked_codes = np.empty(missed.shape, np.uint8)
            walk_array(stage2, iovas[missed], write, bus, oas_bits, walked_pas, walked_codes)
            pas[missed] = walked_pas
            codes[missed] = walked_codes
        return None

    def _flat(self, stage2: Stage2, write: bool, bus: Bus) -> Flat | None:
        generation = self._tlb.generation
        if generation != self._generation:
            self._flats.clear()
            self._generation = generation
        key = stage2, write
        if key not in self._flats:
            self._flats[key] = flatten(stage2, write, bus)
        return self._flats[key]


def flatten(stage2: Stage2, write: bool, bus: Bus) -> Flat | None:
    """What is the flattened copy of a stream's tables? None: too large, or nothing mapped."""
    runs = _leaves(stage2, write, bus)
    if runs is None or not any(ipas.size for _, ipas, _ in runs):
        return None
    shift = stage2.granule.shift
    per_slot = 1 << (SLOT_SHIFT - shift)
    used = [(ipas >> np.uint64(SLOT_SHIFT)).astype(np.int64) for _, ipas, _ in runs]
    slots = np.unique(np.concatenate(used))
    first, count = int(slots[0]), int(slots[-1] - slots[0]) + 1
    if slots.size * per_slot > MAX_PAGES or count > MAX_PAGES:
        return None
    misses = 1 + slots.size * per_slot
    starts = np.full(count + 1, misses, np.int64)
    starts[slots - first] = 1 + np.arange(slots.size) * per_slot
    delta = np.full(misses + per_slot, _MISS, np.uint64)
    for slot, (leaf_shift, ipas, oas) in zip(used, runs, strict=True):
        within = (ipas & np.uint64((1 << SLOT_SHIFT) - 1)) >> np.uint64(shift)
        position = starts[slot - first] + within.astype(np.int64)
        pages = 1 << (leaf_shift - shift)
        if pages == 1:
            delta[position] = oas - ipas
        else:
            for start, difference in zip(position.tolist(), oas - ipas, strict=True):
                delta[start : start + pages] = difference
    return Flat(first, starts, slots.size == count, shift, delta)


def _leaves(stage2: Stage2, write: bool, bus: Bus) -> list[_Run] | None:
    """Which usable leaves do the tables hold: (log2 of the size, input, output addresses)?

    Leaves larger than a slot come as pieces of one slot. Tables are read level by level, all of
    a level at once. None: more than MAX_PAGES entries (tables that point to each other can hold
    any number).
    """
    granule = stage2.granule
    words, base = bus.memory.words, bus.memory.base
    need = np.uint64((S2AP_WRITE if write else S2AP_READ) | (AF if stage2.access_flag else 0) | 1)
    tables = np.array([stage2.root], np.uint64)
    inputs = np.zeros(1, np.uint64)
    entries = 1 << (stage2.input_bits - granule.level_shift(stage2.start_level))
    runs = []
    for level in range(stage2.start_level, LAST_LEVEL + 1):
        readable = (tables >= base) & (tables + np.uint64(entries * 8) <= np.uint64(bus.memory.end))
        readable &= tables < np.uint64(bus.memory.end)
        if bus.gpc is not None:
            readable &= _tables_granted(bus, tables, entries)
        tables, inputs = tables[readable], inputs[readable]
        if tables.size * entries > MAX_PAGES:
            return None
        slot = ((tables - np.uint64(base)) >> np.uint64(3)).astype(np.int64)
        found = words[slot[:, None] + np.arange(entries)]
        index = np.arange(entries, dtype=np.uint64) << np.uint64(granule.level_shift(level))
        ipas = inputs[:, None] + index
        kind = found & np.uint64(TYPE)
        if level in granule.block_levels():
            leaf = (kind == LEAF_TYPES[level]) & (found & need == need)
            oas = output_array(found[leaf], granule, level)
            fits = oas >> np.uint64(stage2.output_bits) == 0
            run = _pieces(granule.level_shift(level), ipas[leaf][fits], oas[fits])
            if run is None:
                return None
            runs.append(run)
        if level < LAST_LEVEL:
            down = kind == TABLE
            tables = output_array(found[down], granule)
            fits = tables >> np.uint64(stage2.output_bits) == 0
            tables, inputs = tables[fits], ipas[down][fits]
            entries = granule.entries
    return runs


def _pieces(shift: int, ipas: Addresses, oas: Addresses) -> _Run | None:
    """Which leaves of at most a slot make up leaves of one size? None: more than MAX_PAGES."""
    if shift <= SLOT_SHIFT:
        return shift, ipas, oas
    count = 1 << (shift - SLOT_SHIFT)
    if ipas.size * count > MAX_PAGES:
        return None
    steps = np.arange(count, dtype=np.uint64) << np.uint64(SLOT_SHIFT)
    return SLOT_SHIFT, (ipas[:, None] + steps).ravel(), (oas[:, None] + steps).ravel()


def _tables_granted(bus: Bus, tables: Addresses, entries: int) -> Mask:
    """Which tables may be fetched? One that granule protection refuses is left to the walk."""
    gpc = bus.gpc
    assert gpc is not None
    size = entries * 8
    granted = [gpc(Pa(pa), size, False, PAS.NS) is None for pa in tables.tolist()]
    return np.array(granted, np.bool_)


def _look_up(flat: Flat, iovas: Addresses, pas: Addresses, codes: Codes) -> None:
    """Translate by the copy; `codes` is 1 where it has no leaf."""
    if iovas.size >= NUMBA_FROM:
        try:
            from topbit.smmu.flat_numba import look_up
        except ImportError:
            pass
        else:
            look_up(
                iovas,
                flat.starts,
                flat.first,
                SLOT_SHIFT,
                flat.page_shift,
                flat.delta,
                pas,
                codes,
            )
            return
    look_up_numpy(flat, iovas, pas, codes)


def look_up_numpy(flat: Flat, iovas: Addresses, pas: Addresses, codes: Codes) -> None:
    """Translate by the copy with NumPy alone, in chunks whose arrays stay in the cache."""
    page_shift = np.uint64(flat.page_shift)
    per_slot_shift = SLOT_SHIFT - flat.page_shift
    # One before the first page, so that what lies below clips to the miss at position 0.
    before = np.uint64(((flat.first << per_slot_shift) - 1) % (1 << 64))
    within = np.int64((1 << per_slot_shift) - 1)
    page_buffer = np.empty(CHUNK, np.uint64)
    delta_buffer = np.empty(CHUNK, np.uint64)
    for start in range(0, iovas.size, CHUNK):
        part = slice(start, start + CHUNK)
        ipas = iovas[part]
        page = page_buffer[: ipas.size]
        found = delta_buffer[: ipas.size]
        np.right_shift(ipas, page_shift, out=page)
        position = page.view(np.int64)
        if flat.contiguous:
            np.subtract(page, before, out=page)
        else:
            slot = (position >> per_slot_shift) - flat.first
            slot[slot < 0] = flat.starts.size - 1
            position = flat.starts.take(slot, mode="clip") + (position & within)
        flat.delta.take(position, mode="clip", out=found)
        np.add(ipas, found, out=pas[part])
        codes[part] = found & _MISS
