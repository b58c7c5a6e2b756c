"""Random stage-2 streams, tables and steps, run on the model and on QEMU at the same bytes.

A step is an access, a table or STE word changed by a CPU, or an invalidation (maybe of the wrong
thing), so stale entries arise and must be stale on both sides.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field

from qemu_smmu import SIDS, STRTAB
from smmu_pair import DATA, DATA_SIZE, OAS_BITS, PAGE_MASK, Pair
from topbit.arch.smmuv3 import ADDRESS_BITS, STE, Command, Config, Opcode
from topbit.arch.stage2 import AF, S2AP_READ, S2AP_WRITE, Granule

TABLES = 0x4900_0000
TABLES_END = 0x4A00_0000
HOLE = 0x7000_0000  # no memory from here up: tables there abort the walk
RW = S2AP_READ | S2AP_WRITE

# (granule shift, start level, narrowest, widest input): one root table, so no concatenation.
GEOMETRIES = (
    (12, 0, 40, 44),
    (12, 1, 31, 39),
    (12, 2, 25, 30),
    (14, 1, 37, 44),
    (14, 2, 26, 36),
    (16, 1, 43, 44),
    (16, 2, 30, 42),
    (16, 3, 25, 29),
)
TG_CODES = {12: 0, 16: 1, 14: 2}


@dataclass
class Stream:
    """One translated address space and the pages that were mapped in it."""

    sid: int
    granule: Granule
    start_level: int
    ipa_bits: int
    ste: STE
    leaves: dict[int, int] = field(default_factory=dict)  # IPA of the page -> descriptor's PA


class Case:
    """One random case: up to three streams, then steps."""

    def __init__(self, pair: Pair, seed: int) -> None:
        self.pair = pair
        self.memory = pair.memory
        self.rng = random.Random(seed)
        self.next_table = TABLES

    def run(self, steps: int) -> None:
        rng, pair = self.rng, self.pair
        pair.begin()
        self.streams = [self._stream(sid) for sid in SIDS]
        for _ in range(steps):
            chance = rng.random()
            if chance < 0.80:
                self._access(rng.choice(self.streams))
            elif chance < 0.90:
                self._change_leaf(rng.choice(self.streams))
            elif chance < 0.93:
                self._change_ste(rng.choice(self.streams))
            else:
                self._invalidate(rng.choice(self.streams))
        pair.end()

    def _stream(self, sid: int) -> Stream:
        rng = self.rng
        shift, level, narrow, wide = rng.choice(GEOMETRIES)
        granule = Granule(shift)
        ipa_bits = rng.randint(narrow, wide)
        sizes = [code for code, size in ADDRESS_BITS.items() if ipa_bits <= size <= 48]
        ste = STE(
            V=1,
            Config=Config.S2,
            SHCFG=1,
            S2VMID=rng.choice((1, 1, 2, 0x8001)) if shift == 12 else sid + 0x100,
            S2T0SZ=64 - ipa_bits,
            S2SL0=(2 if shift == 12 else 3) - level,
            S2TG=TG_CODES[shift],
            S2PS=rng.choice(sizes),
            S2AA64=1,
            S2AFFD=rng.randint(0, 1),
            S2R=int(rng.random() < 0.9),
        )
        entries = 1 << (ipa_bits - granule.level_shift(level))
        ste.S2TTB = self._table(max(entries * 8, granule.bytes))
        # A few streams are broken or plain from the start.
        twist = rng.random()
        if twist < 0.04:
            ste.Config = rng.choice((Config.ABORT, 1, 2, 3, Config.BYPASS))
        elif twist < 0.10:
            name, value = rng.choice(
                (("V", 0), ("S2T0SZ", 40), ("S2ENDI", 1), ("S2S", 1), ("S2TG", 3), ("S2SL0", 3))
            )
            setattr(ste, name, value)
        stream = Stream(sid, granule, level, ipa_bits, ste)
        self.pair.write_ste(sid, ste)
        for _ in range(rng.randint(3, 14)):
            self._map(stream)
        return stream

    def _table(self, size: int) -> int:
        pa = -(-self.next_table // size) * size
        self.next_table = pa + size
        assert self.next_table <= TABLES_END
        self.memory.fill(pa, size)
        return pa

    def _map(self, stream: Stream) -> None:
        """Map a random page or block, often at both spellings of an address."""
        rng, granule = self.rng, stream.granule
        ipa = rng.getrandbits(stream.ipa_bits - 1)
        if rng.random() < 0.5:
            ipa &= 0xFF_FFFF >> rng.choice((0, 6))
            ipa %= 1 << (stream.ipa_bits - 1)
        block = rng.random() < 0.25 and granule.shift == 12 and stream.start_level <= 2
        for half in rng.choice(((0,), (1,), (0, 1))):
            target = ipa | half << (stream.ipa_bits - 1)
            self._place(stream, target, 2 if block else 3)

    def _place(self, stream: Stream, ipa: int, level: int) -> None:
        granule = stream.granule
        table = stream.ste.S2TTB
        for at in range(stream.start_level, level):
            where = table + 8 * self._index(stream, ipa, at)
            descriptor = self.memory.read_u64(where)
            if descriptor & 3 == 1:
                return
            if not descriptor & 1 and self.rng.random() < 0.03:
                descriptor = HOLE + self.rng.randrange(1 << 10) * granule.bytes | 3
                self.memory.write_u64(where, descriptor)
            elif not descriptor & 1:
                descriptor = self._table(granule.bytes) | 3
                self.memory.write_u64(where, descriptor)
            if descriptor & 0xFFFF_FFFF_F000 >= HOLE:
                stream.leaves[ipa & -granule.bytes] = where
                return
            table = descriptor & 0xFFFF_FFFF_F000
        where = table + 8 * self._index(stream, ipa, level)
        if level < 3 and self.memory.read_u64(where) & 3 == 3:
            return
        self.memory.write_u64(where, self._leaf(stream, level))
        size = granule.level_size(level)
        stream.leaves[ipa & ~(size - 1)] = where

    def _index(self, stream: Stream, ipa: int, level: int) -> int:
        index = ipa >> stream.granule.level_shift(level)
        return index if level == stream.start_level else index & (stream.granule.entries - 1)

    def _leaf(self, stream: Stream, level: int) -> int:
        """A descriptor to somewhere in the data area, sometimes a faulty one."""
        rng = self.rng
        size = stream.granule.level_size(level)
        oa = DATA + rng.randrange(DATA_SIZE // size) * size
        permissions = rng.choice((RW, RW, RW, S2AP_READ, S2AP_WRITE, 0))
        flag = AF if rng.random() < 0.9 else 0
        if rng.random() < 0.05:  # beyond the output size; no second fault at once
            bits = ADDRESS_BITS[min(stream.ste.S2PS, 4)]
            oa, permissions, flag = oa | 1 << rng.randrange(bits, 48), RW, AF
        kind = 3 if level == 3 else 1
        return oa | flag | permissions | 0x33C | kind if rng.random() < 0.97 else oa

    def _access(self, stream: Stream) -> None:
        rng = self.rng
        if self._may_bypass(stream.sid):
            address = DATA + rng.randrange(0, DATA_SIZE, 4)
            self.pair.access(stream.sid, address, rng.random() < 0.4)
            return
        mapped = list(stream.leaves)
        if mapped and rng.random() < 0.8:
            offset = rng.randrange(0, stream.granule.bytes, 4)
            self.pair.access(stream.sid, rng.choice(mapped) + offset, rng.random() < 0.4)
            return
        address = rng.choice(mapped) if mapped else rng.getrandbits(stream.ipa_bits)
        address ^= 1 << rng.choice((stream.ipa_bits - 1, stream.ipa_bits - 1, stream.granule.shift))
        if rng.random() < 0.2:
            address = rng.getrandbits(OAS_BITS)
        self.pair.access(stream.sid, address & ~3, False)

    def _may_bypass(self, sid: int) -> bool:
        """Does the STE in memory or in the cache say bypass? Then addresses are physical."""
        cached = self.pair.model.caches.stes.get(sid)
        current = STE.Config.get(self.memory.read_u64(STRTAB + 64 * sid))
        return current == Config.BYPASS or (cached is not None and cached.config == Config.BYPASS)

    def _change_leaf(self, stream: Stream) -> None:
        """A CPU changes a descriptor; most of the time it forgets the invalidation."""
        if not stream.leaves:
            return
        ipa, where = self.rng.choice(list(stream.leaves.items()))
        level = 3 if self.memory.read_u64(where) & 3 != 1 else 2
        if stream.granule.shift != 12:
            level = 3
        self.memory.write_u64(where, 0 if self.rng.random() < 0.3 else self._leaf(stream, level))
        if self.rng.random() < 0.4:
            self._invalidate(stream, ipa)

    def _change_ste(self, stream: Stream) -> None:
        changed = STE.of(*stream.ste.words)
        if self.rng.random() < 0.5:
            changed.Config = self.rng.choice((Config.ABORT, Config.BYPASS, Config.S2))
        else:
            changed.S2R = 1 - changed.S2R
        self.pair.write_ste(stream.sid, changed)
        if self.rng.random() < 0.5:
            self.pair.command(Command(Opcode=Opcode.CFGI_STE, StreamID=stream.sid, Leaf=1))

    def _invalidate(self, stream: Stream, ipa: int | None = None) -> None:
        rng = self.rng
        vmid = stream.ste.S2VMID if rng.random() < 0.8 else 2
        if ipa is None:
            ipa = rng.choice(list(stream.leaves) or [0])
            if rng.random() < 0.3:
                ipa ^= 1 << (stream.ipa_bits - 1)  # the other spelling: hits nothing
        commands = (
            Command(Opcode=Opcode.TLBI_S2_IPA, VMID=vmid, Address=ipa & ~PAGE_MASK),
            Command(Opcode=Opcode.TLBI_S12_VMALL, VMID=vmid),
            Command(Opcode=Opcode.TLBI_NSNH_ALL),
            Command(Opcode=Opcode.CFGI_STE, StreamID=stream.sid, Leaf=1),
            Command(Opcode=Opcode.CFGI_STE_RANGE, Range=31),
        )
        self.pair.command(rng.choices(commands, (6, 2, 1, 2, 1))[0])
