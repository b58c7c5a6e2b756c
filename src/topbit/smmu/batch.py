"""Where does the stage-2 walk of each of an array of addresses end?

The reference: the same walk as `walk.walk`, for uint64 arrays, on the table bytes as they are,
without any cache. `flat` holds the fast path that must agree with it.
"""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from topbit.arch.gpt import PAS
from topbit.arch.ipa import Pa
from topbit.arch.smmuv3 import EventType
from topbit.arch.stage2 import (
    AF,
    LAST_LEVEL,
    LEAF_TYPES,
    NS,
    S2AP_READ,
    S2AP_WRITE,
    TABLE,
    TYPE,
    output_array,
)
from topbit.memory import PhysicalMemory
from topbit.smmu.bus import Bus, Gpc
from topbit.smmu.ste import Stage2

Addresses: TypeAlias = NDArray[np.uint64]
Codes: TypeAlias = NDArray[np.uint8]
Mask: TypeAlias = NDArray[np.bool_]

CHUNK = 1 << 15  # addresses walked at a time: their working arrays stay in the cache
_PAGE_MASK = np.uint64(0xFFF)


def walk_array(
    stage2: Stage2,
    iovas: Addresses,
    write: bool,
    bus: Bus,
    oas_bits: int,
    pas: Addresses,
    codes: Codes,
) -> Mask | None:
    """Walk the tables for each of `iovas`; results go to `pas` and `codes`.

    Returns:
        for a Realm stream, which leaves have the NS bit set; else None.
    """
    descriptors = np.zeros_like(iovas) if stage2.realm else None
    for start in range(0, len(iovas), CHUNK):
        part = slice(start, start + CHUNK)
        walker = _Walk(stage2, bus.memory, bus.gpc, oas_bits)
        walker.run(iovas[part], write, pas[part], codes[part])
        if descriptors is not None:
            descriptors[part] = walker.descriptors
    return None if descriptors is None else descriptors & np.uint64(NS) != 0


class _Walk:
    """The walk of one chunk of addresses, level by level.

    `live` are the positions in the chunk of the addresses that are still walking.
    """

    def __init__(
        self, stage2: Stage2, memory: PhysicalMemory, gpc: Gpc | None, oas_bits: int
    ) -> None:
        self.stage2 = stage2
        self.memory = memory
        self.gpc = gpc
        self.oas_bits = np.uint64(oas_bits)
        self.output_bits = np.uint64(stage2.output_bits)

    def run(self, iovas: Addresses, write: bool, pas: Addresses, codes: Codes) -> None:
        stage2, granule = self.stage2, self.stage2.granule
        self.need = np.uint64(S2AP_WRITE if write else S2AP_READ)
        self.pas, self.codes = pas, codes
        self.descriptors = np.zeros_like(iovas)
        pas[:] = 0
        codes[:] = 0
        self.live: NDArray[np.intp] | slice = slice(None)
        self.ipas = iovas
        self._drop(iovas >> self.oas_bits != 0, EventType.F_ADDR_SIZE)
        self._drop(self.ipas >> np.uint64(stage2.input_bits) != 0, EventType.F_TRANSLATION)
        table: Addresses = np.full(self.ipas.shape, stage2.root, np.uint64)
        for level in range(stage2.start_level, LAST_LEVEL + 1):
            index = self.ipas >> np.uint64(granule.level_shift(level))
            if level > stage2.start_level:
                index &= np.uint64(granule.entries - 1)
            where = table + (index << np.uint64(3))
            descriptor = self._fetch(where)
            if level < LAST_LEVEL:
                tables = descriptor & np.uint64(TYPE) == TABLE
                if not tables.all():
                    self._finish(level, descriptor, ~tables)
                    descriptor = descriptor[tables]
                    self._keep(tables)
                table = output_array(descriptor, granule)
                bad = table >> self.output_bits != 0
                if bad.any():
                    table = table[~bad]
                    self._drop(bad, EventType.F_ADDR_SIZE)
                if not self.ipas.size:
                    return
            else:
                self._finish(level, descriptor, None)

    def _fetch(self, where: Addresses) -> Addresses:
        """Which descriptors stand at `where`? Fetches that abort are dropped."""
        memory = self.memory
        slot = (where - np.uint64(memory.base)) >> np.uint64(3)
        aborts = slot >= np.uint64(memory.words.size)
        if self.gpc is not None:
            pas = PAS.REALM if self.stage2.realm else PAS.NS
            aborts |= ~granted(self.gpc, where, False, pas)
        if aborts.any():
            slot = slot[~aborts]
            self._drop(aborts, EventType.F_WALK_EABT)
        return memory.words.take(slot.view(np.int64), mode="clip")

    def _drop(self, which: Mask, code: int) -> None:
        if which.any():
            self.codes[self.live] = np.where(which, np.uint8(code), self.codes[self.live])
            self._keep(~which)

    def _keep(self, which: Mask) -> None:
        live = np.arange(self.codes.size) if isinstance(self.live, slice) else self.live
        self.live = live[which]
        self.ipas = self.ipas[which]

    def _finish(self, level: int, descriptor: Addresses, which: Mask | None) -> None:
        """Store the results of the addresses whose walk ends at this level."""
        stage2, granule = self.stage2, self.stage2.granule
        live, ipas = self.live, self.ipas
        if which is not None:
            live = (np.arange(self.codes.size) if isinstance(live, slice) else live)[which]
            ipas, descriptor = ipas[which], descriptor[which]
        oa = output_array(descriptor, granule, level)
        kind = np.uint64(LEAF_TYPES[level])
        # From the weakest reason to the strongest: each overrides those before it.
        code = np.where(descriptor & self.need, np.uint8(0), np.uint8(EventType.F_PERMISSION))
        if stage2.access_flag:
            code[descriptor & np.uint64(AF) == 0] = EventType.F_ACCESS
        code[oa >> self.output_bits != 0] = EventType.F_ADDR_SIZE
        if level in granule.block_levels():
            code[descriptor & np.uint64(TYPE) != kind] = EventType.F_TRANSLATION
        else:
            code[:] = EventType.F_TRANSLATION
        pa = oa | ipas & np.uint64(granule.level_size(level) - 1)
        pa[code != 0] = 0
        self.pas[live] = pa
        self.codes[live] = code
        self.descriptors[live] = descriptor


def granted(gpc: Gpc, addresses: Addresses, write: bool, pas: PAS) -> Mask:
    """Which addresses lie in pages that granule protection grants?"""
    pages, position = np.unique(addresses & ~_PAGE_MASK, return_inverse=True)
    granted = np.array([gpc(Pa(int(page)), 1, write, pas) is None for page in pages], np.bool_)
    return granted[position]
