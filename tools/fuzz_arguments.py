"""Which arguments have the random calls of `fuzz_rmm`? About as many near to valid as arbitrary."""

from __future__ import annotations

import random

from fuzz_devices import DeviceFuzz
from topbit.arch.rmi import Rmi, Rmi2
from topbit.arch.rmi_range import AddrRange, MapFlags
from topbit.memory import PhysicalMemory
from topbit.rmm import Rmm
from topbit.rmm.device import MappingRequest
from topbit.rmm.realm import RipasChange

U64 = (1 << 64) - 1
BASE, SIZE = 0x8000_0000, 8 << 20
DEVICE, DEVICE_SIZE = 0x1000_0000, 0x20_0000
GRANULES = 96  # calls keep to few granules and IPAs, so that they meet
NS_PAGES = 8


class Arguments:
    """Parameter pages and words for calls on one RMM.

    Attributes:
        random: chooses.
        memory, rmm, devices: what the calls are about.
    """

    random: random.Random
    memory: PhysicalMemory
    rmm: Rmm
    devices: DeviceFuzz

    def realm_page(self, page: int, root: int | None = None) -> None:
        m, r, at = self.memory, self.random, BASE + page * 4096
        m.fill(at, 4096)
        width, level, count = r.choice(
            ((32, 1, 1), (33, 2, 8), (40, 1, 2), (48, 0, 1), (52, -1, 1))
        )
        m.write_u64(at, (1 if width == 52 else 0) | r.choice((0, 8, 8)) * self.rmm.revision.ranges)
        for offset, value in ((0x8, width), (0x18, 1), (0x20, 1), (0x30, r.randrange(2))):
            m.write_u64(at + offset, value)
        m.write_u64(at + 0x800, r.randrange(4))
        chosen = r.randrange(GRANULES) if root is None else root
        m.write_u64(at + 0x808, BASE + chosen // count * count * 4096)
        m.write_u64(at + 0x810, level & U64)
        m.write_u64(at + 0x818, count)

    def rec_page(self, page: int, aux: int | None = None) -> None:
        m, r, at = self.memory, self.random, BASE + page * 4096
        m.fill(at, 4096)
        m.write_u64(at, r.randrange(2) | 1)
        m.write_u64(at + 0x100, r.choice((0, 0, 0, 1, r.getrandbits(40))))
        m.write_u64(at + 0x800, 16)
        first = aux if aux is not None else r.randrange(GRANULES)
        for i in range(16):
            m.write_u64(at + 0x808 + 8 * i, BASE + (first + i) * 4096)

    def descriptor(self) -> int:
        r = self.random
        if r.random() < 0.1:
            return r.getrandbits(64)
        size = r.choice((0, 0, 0, 1, 2))
        return AddrRange(
            SIZE=size, COUNT=r.randrange(6), ADDR=self.pa(), STATE=r.randrange(2)
        ).words[0]

    def pa(self) -> int:
        r = self.random
        if r.random() < 0.05:
            return DEVICE + r.randrange(32) * 4096
        return BASE + r.randrange(GRANULES) * 4096

    def ipa(self) -> int:
        r = self.random
        page = r.choice((0, 1, 2, 3, 511, 512, 513)) * 4096
        realms = list(self.rmm.realms.values())
        half = r.choice(realms).space.shared_bit if realms else 1 << 39
        usual = (page, page, page, page + half, page + half)
        return r.choice((*usual, half - page, (1 << 30) + page)) & U64

    def value(self) -> int:
        r = self.random
        kind = r.random()
        if kind < 0.4:
            return self.pa()
        if kind < 0.7:
            return self.ipa()
        if kind < 0.85:
            return r.choice((0, 1, 2, 3, 4, U64, 0xD4, self.pa() | 0xD4))
        if kind < 0.92:
            flags = MapFlags(
                OADDR_TYPE=r.randrange(4), LIST_COUNT=r.randrange(20), MEMATTR=r.randrange(8)
            )
            return flags.words[0] | r.randrange(4) << 19
        if kind < 0.96:
            return self.descriptor()
        return r.getrandbits(64)

    def likely(self, fid: int) -> list[int]:
        """Arguments of about the right kind: a Realm first, then what is left to chance."""
        r = self.random
        rds, recs = list(self.rmm.realms), list(self.rmm.recs)
        first = r.choice(rds) if rds else self.pa()
        if fid in (Rmi.REC_ENTER, Rmi.REC_DESTROY) and recs:
            return [r.choice(recs), BASE + r.randrange(NS_PAGES) * 4096]
        wanted = self.devices.likely(fid, first)
        if wanted is not None:
            return wanted
        if fid == Rmi.PSCI_COMPLETE and recs:
            return [r.choice(recs), r.choice(recs), r.choice((0, U64 - 2, 5))]
        if fid in (Rmi.RTT_SET_RIPAS, Rmi2.RTT_DEV_VALIDATE) and recs:
            rec = self.rmm.recs[r.choice(recs)]
            pending = rec.pending
            if isinstance(pending, (RipasChange, MappingRequest)):
                return [rec.realm.rd, rec.pa, pending.progress, pending.top]
        if fid in (Rmi.RTT_CREATE,):
            level = r.randrange(4)
            return [first, self.pa(), self.ipa() & ~((1 << (39 - 9 * (level - 1))) - 1), level]
        if fid in (Rmi.RTT_DESTROY, Rmi.RTT_FOLD):
            level = r.randrange(1, 4)
            return [first, self.ipa() & ~((1 << (39 - 9 * (level - 1))) - 1), level]
        if fid == Rmi.RTT_MAP_UNPROTECTED:
            return [first, self.ipa(), r.choice((3, 3, 2, 1)), self.pa() | 0xD4]
        if fid == Rmi.REALM_CREATE:
            page = r.randrange(NS_PAGES)
            if self.rmm.granules.get(BASE + page * 4096) == 0:
                self.realm_page(page)
            return [self.pa(), BASE + page * 4096]
        if fid == Rmi2.RTT_DEV_MAP and self.rmm.vdevs:
            vdev = r.choice(list(self.rmm.vdevs.values()))
            ipa, pages = self.ipa(), r.randrange(4)
            one = AddrRange(COUNT=pages, ADDR=DEVICE + r.randrange(32) * 4096).words[0]
            return [vdev.realm.rd, vdev.pa, ipa, ipa + pages * 4096, 1, one]
        if fid in (Rmi2.RTT_DATA_MAP, Rmi2.RTT_UNPROT_MAP):
            ipa = self.ipa()
            flags = MapFlags(OADDR_TYPE=1, MEMATTR=r.choice((0, 5, 7))).words[0] | 3 << 19
            flags &= MapFlags(OADDR_TYPE=3).words[0] if fid != Rmi2.RTT_UNPROT_MAP else U64
            if r.random() < 0.4:
                page = BASE + r.randrange(NS_PAGES) * 4096
                return [first, ipa, ipa + r.randrange(8) * 4096, flags & ~3 | 2 | 16 << 2, page]
            return [first, ipa, ipa + r.randrange(8) * 4096, flags, self.descriptor()]
        if fid in (Rmi.RTT_READ_ENTRY, Rmi.RTT_UNMAP_UNPROTECTED):
            return [first, self.ipa(), r.randrange(4)]
        if fid in (Rmi.DATA_CREATE, Rmi.DATA_CREATE_UNKNOWN):
            return [first, self.pa(), self.ipa(), BASE + r.randrange(NS_PAGES) * 4096, 1]
        if fid in (Rmi.GRANULE_DELEGATE, Rmi.GRANULE_UNDELEGATE):
            return [self.pa()]
        if fid in (Rmi2.GRANULE_RANGE_DELEGATE, Rmi2.GRANULE_RANGE_UNDELEGATE):
            pa = self.pa()
            return [pa, pa + r.randrange(6) * 4096]
        base = self.ipa()
        return [first, base, base + r.randrange(5) * 4096, 0, 0]
