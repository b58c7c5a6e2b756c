"""A small host for the RMM's tests: parameter pages, granules from a pool, one Realm."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence

from topbit.arch.rmi import Rmi, Rmi2, RmiStatus, status
from topbit.arch.rmi_params import RealmFlags0, RecEnter
from topbit.arch.rmi_range import AddrRange, Transfer, transfer
from topbit.arch.rmi_revision import Abi
from topbit.events import Emit, ignore
from topbit.memory import PhysicalMemory
from topbit.rmm import Exit, Resume, Rmm
from topbit.rmm.realm import Realm

MIB = 1 << 20
PAGE = 4096
BASE = 0x8000_0000
PARAMS, RUN, LIST = BASE, BASE + PAGE, BASE + 2 * PAGE


class Host:
    """Delegates what it needs, and keeps a bump pointer over the rest.

    Attributes:
        rmm: the RMM under test.
        rd: PA of the Realm's descriptor; recs: PAs of its RECs, in order.
    """

    def __init__(self, *, abi: Abi = "1.0", emit: Emit = ignore, size: int = 16 * MIB) -> None:
        self.memory = PhysicalMemory(BASE, size)
        self.rmm = Rmm(self.memory, abi=abi, emit=emit)
        self.next = BASE + 16 * PAGE
        self.rd = 0
        self.recs: list[int] = []
        if self.rmm.revision.ranges:
            self.ok(Rmi2.RMM_ACTIVATE)

    @property
    def realm(self) -> Realm:
        return self.rmm.realm(self.rd)

    def ok(self, fid: int, *args: int) -> tuple[int, ...]:
        out = self.rmm.rmi(fid, args)
        assert out[0] == 0, (fid, [hex(a) for a in args], out)
        return out

    def status(self, fid: int, *args: int) -> int:
        return self.rmm.rmi(fid, args)[0]

    def granule(self, count: int = 1, *, align: int = PAGE, delegate: bool = True) -> int:
        pa = (self.next + align - 1) & ~(align - 1)
        self.next = pa + count * PAGE
        if delegate:
            self.delegate(pa, count)
        return pa

    def delegate(self, pa: int, count: int = 1) -> None:
        if self.rmm.revision.ranges:
            self.ok(Rmi2.GRANULE_RANGE_DELEGATE, pa, pa + count * PAGE)
        else:
            for i in range(count):
                self.ok(Rmi.GRANULE_DELEGATE, pa + i * PAGE)

    def params(
        self, bits: int, level: int, roots: int, root: int, *, vmid: int = 1, sha512: bool = False
    ) -> int:
        page = bytearray(PAGE)
        page[0x0] = 1 if bits > 48 else 0
        page[0x8], page[0x18], page[0x20], page[0x30] = bits, 1, 1, int(sha512)
        page[0x400:0x440] = b"personal".ljust(64, b"\xa5")
        struct.pack_into("<HxxxxxxQqI", page, 0x800, vmid, root, level, roots)
        self.memory.write(PARAMS, page)
        return PARAMS

    def create(
        self,
        bits: int = 33,
        level: int = 1,
        roots: int = 1,
        *,
        sha512: bool = False,
        da: bool = False,
    ) -> None:
        root = self.granule(roots, align=roots * PAGE)
        self.rd = self.granule()
        params = self.params(bits, level, roots, root, sha512=sha512)
        if da:
            flags = self.memory.read_u64(params) | RealmFlags0(DA=1).words[0]
            self.memory.write_u64(params, flags)
        self.ok(Rmi.REALM_CREATE, self.rd, params)

    def rec(self, mpidr: int = 0, *, runnable: bool = True, pc: int = 0) -> int:
        rec, aux = self.granule(), self.granule(16)
        page = bytearray(PAGE)
        struct.pack_into("<Q", page, 0x0, int(runnable))
        struct.pack_into("<Q", page, 0x100, mpidr)
        struct.pack_into("<9Q", page, 0x200, pc, *[0] * 8)
        struct.pack_into("<8Q", page, 0x300, *range(8))
        struct.pack_into("<17Q", page, 0x800, 16, *(aux + i * PAGE for i in range(16)))
        self.memory.write(PARAMS, page)
        if self.rmm.revision.ranges:
            self.operate(Rmi.REC_CREATE, self.rd, rec, PARAMS, donations=[(aux, 16)])
        else:
            self.ok(Rmi.REC_CREATE, self.rd, rec, PARAMS)
        self.recs.append(rec)
        return rec

    def operate(
        self, fid: int, *args: int, donations: Sequence[tuple[int, int]] = ()
    ) -> tuple[int, ...]:
        """A stateful operation to its end; `donations`: (PA, granules), as it asks for them."""
        given = iter(donations)
        out = self.rmm.rmi(fid, args)
        handle = out[1] if len(out) > 1 else 0
        while status(out[0]) is RmiStatus.INCOMPLETE:
            wanted = transfer(out[0])
            if wanted is Transfer.DONATE:
                pa, count = next(given)
                self.memory.write_u64(LIST, AddrRange(COUNT=count, ADDR=pa).words[0])
                out = self.rmm.rmi(Rmi2.OP_MEM_DONATE, [handle, LIST, 1])
            elif wanted is Transfer.RECLAIM:
                out = self.rmm.rmi(Rmi2.OP_MEM_RECLAIM, [handle, LIST, 512])
            else:
                out = self.rmm.rmi(Rmi2.OP_CONTINUE, [handle, 0])
        return out

    def tables(self, ipa: int, level: int = 3) -> None:
        for at in range(self.realm.start_level + 1, level + 1):
            if self.realm.rtt.walk(ipa, at).level < at:
                step = 1 << (39 - 9 * (at - 1))
                self.ok(Rmi.RTT_CREATE, self.rd, self.granule(), ipa & ~(step - 1), at)

    def data(self, ipa: int, pa: int | None = None) -> int:
        pa = self.granule() if pa is None else pa
        self.tables(ipa)
        self.ok(Rmi.DATA_CREATE_UNKNOWN, self.rd, pa, ipa)
        return pa

    def ram(self, pages: Iterable[int]) -> None:
        """Initialise pages to RAM, back them, and activate the Realm."""
        for ipa in pages:
            self.tables(ipa)
            self.ok(Rmi.RTT_INIT_RIPAS, self.rd, ipa, ipa + PAGE)
            self.data(ipa)
        self.ok(Rmi.REALM_ACTIVATE, self.rd)

    def enter(self, rec: int | None = None, flags: int = 0, gprs: Iterable[int] = ()) -> Resume:
        rec = self.recs[0] if rec is None else rec
        gprs = tuple(gprs)
        self.memory.write_u64(RUN + RecEnter.FLAGS, flags)
        self.memory.write(RUN + RecEnter.GPRS, struct.pack(f"<{len(gprs)}Q", *gprs))
        self.ok(Rmi.REC_ENTER, rec, RUN)
        resume = self.rmm.rec(rec).resume
        assert isinstance(resume, Resume)
        return resume

    def rsi(self, *regs: int) -> Resume | Exit:
        return self.rmm.rsi(self.recs[0], regs)

    def returns(self, *regs: int) -> tuple[int, ...]:
        got = self.rsi(*regs)
        assert isinstance(got, Resume), got
        assert got.advance
        return tuple(got.regs[i] for i in range(len(got.regs)))

    def share(self, ipa: int) -> int:
        """The whole way of one page from private to shared; where it is mapped unprotected."""
        from topbit.arch.rsi import Rsi

        got = self.rsi(Rsi.IPA_STATE_SET, ipa, ipa + PAGE, 0, 0)
        assert isinstance(got, Exit)
        self.ok(Rmi.RTT_SET_RIPAS, self.rd, self.recs[0], ipa, ipa + PAGE)
        pa = self.ok(Rmi.DATA_DESTROY, self.rd, ipa)[1]
        self.ok(Rmi.GRANULE_UNDELEGATE, pa)
        alias = ipa | self.realm.space.shared_bit
        self.tables(alias)
        self.ok(Rmi.RTT_MAP_UNPROTECTED, self.rd, alias, 3, pa | 0xD4)
        assert self.enter().regs == {0: 0, 1: ipa + PAGE, 2: 0}
        return pa
