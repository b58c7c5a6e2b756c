"""Which RMI calls does the host make to run a Realm? (KVM: arch/arm64/kvm/rme.c)

Thin wrappers that turn what the host wants (create, populate, share, unshare) into RMI calls on
the RMM, and do the host's share of the bookkeeping: delegating granules and supplying tables.
Calls and structures: DEN0137 1.0.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from topbit.arch.ipa import Ipa, Pa
from topbit.arch.rmi import Rmi, Rmi2, RmiStatus, index, status
from topbit.arch.rmi_params import RealmFlags0, RealmParams, RecParams
from topbit.arch.stage2 import G4K, LAST_LEVEL, signed_level
from topbit.errors import PlatformFault
from topbit.host.pages import PAGE, PagePool
from topbit.memory import PhysicalMemory

NOT_CREATED = Pa(0)
_DATA_CREATE, _SUCCESS = Rmi.DATA_CREATE, int(RmiStatus.SUCCESS)  # slow to look up
NS_NORMAL = 0b110 << 2 | 0b11 << 6  # MemAttr: write-back (FWB); S2AP: read and write


class RmiError(PlatformFault):
    """Which RMI call of the host failed, and how?

    Attributes:
        call: name of the call.
        result: X0.
    """

    def __init__(self, call: Rmi | Rmi2, result: int) -> None:
        super().__init__(f"RMI_{call.name}: {status(result).name}, index {index(result)}")
        self.call = call
        self.result = result


class RmiPort(Protocol):
    """The RMM as the host reaches it."""

    def rmi(self, fid: int, args: list[int]) -> tuple[int, ...]:
        """What does the RMM answer? X0, X1, ..."""
        ...


def start_level(ipa_bits: int) -> int:
    """At which level does a Realm's table start?

    The walk is as short as up to 16 root tables side by side allow.
    Source: Linux arch/arm64/include/asm/stage2_pgtable.h:stage2_pgtable_levels().
    """
    return LAST_LEVEL + 1 - (ipa_bits - 8) // 9


@dataclass(slots=True)
class RealmHost:
    """One Realm as the host runs it. A range is (start, size); the calls want (base, top).

    Args:
        port: the RMM.
        memory: physical memory (parameter pages are Non-secure host memory).
        pages: free host pages, for tables, RD and RECs.
        ipa_bits: width of the Realm's IPA space.

    Attributes:
        da: it may have devices assigned (2.0); to be set before it is created.
        rd: its Realm Descriptor, once it is created.
        run_pages: the run page of each REC, by the REC's address.
        recs: each vCPU's REC, by its MPIDR.
        off: the RECs that do not run until another vCPU turns them on.
    """

    port: RmiPort
    memory: PhysicalMemory
    pages: PagePool
    ipa_bits: int
    da: bool = False
    rd: Pa = NOT_CREATED
    run_pages: dict[Pa, Pa] = field(default_factory=dict)
    recs: dict[int, Pa] = field(default_factory=dict)
    off: set[Pa] = field(default_factory=set)

    def call(self, call: Rmi | Rmi2, *args: int) -> tuple[int, ...]:
        """Make a call that must succeed; returns X0, X1, ...

        Raises:
            RmiError: it did not.
        """
        result = self.port.rmi(call, list(args))
        if status(result[0]) is not RmiStatus.SUCCESS:
            raise RmiError(call, result[0])
        return result

    def delegated_page(self) -> Pa:
        """Which fresh granule is delegated to the RMM now?"""
        page = self.pages.page()
        self.call(Rmi.GRANULE_DELEGATE, page)
        return page

    def create(self) -> Pa:
        """Create the Realm (still NEW). Returns its RD."""
        params = self.pages.page()
        self.memory.fill(params, PAGE)
        start = start_level(self.ipa_bits)
        tables = G4K.root_tables(self.ipa_bits, start)
        root = self.pages.run(tables, align=tables * PAGE)
        self.delegate(root, tables * PAGE)
        fields = {
            RealmParams.S2SZ: self.ipa_bits,
            RealmParams.NUM_BPS: 1,
            RealmParams.NUM_WPS: 1,
            RealmParams.VMID: 1,
            RealmParams.RTT_BASE: root,
            RealmParams.RTT_LEVEL_START: start,
            RealmParams.RTT_NUM_START: tables,
            RealmParams.FLAGS0: RealmFlags0(LPA2=self.ipa_bits > 48, DA=self.da).words[0],
        }
        for offset, value in fields.items():
            self.memory.write_u64(params + offset, value)
        self.rd = self.delegated_page()
        self.call(Rmi.REALM_CREATE, self.rd, params)
        self.pages.free.append(params)
        return self.rd

    def rec_create(
        self, mpidr: int, pc: Ipa, regs: Sequence[int] = (), *, runnable: bool = True
    ) -> Pa:
        """Create a REC that starts at `pc` with X0.. = `regs` (8 at most).

        Returns:
            its address; `run_pages` holds its run page.
        """
        params = self.pages.page()
        self.memory.fill(params, PAGE)
        self.memory.write_u64(params + RecParams.FLAGS, RecParams.FLAG_RUNNABLE if runnable else 0)
        self.memory.write_u64(params + RecParams.MPIDR, mpidr)
        self.memory.write_u64(params + RecParams.PC, pc)
        for n, value in enumerate(regs):
            self.memory.write_u64(params + RecParams.GPRS + 8 * n, value)
        rec = self.delegated_page()
        self._rec_create(rec, params)
        self.pages.free.append(params)
        self.run_pages[rec] = self.pages.page()
        self.memory.fill(self.run_pages[rec], PAGE)
        self.recs[mpidr] = rec
        if not runnable:
            self.off.add(rec)
        return rec

    def _rec_create(self, rec: Pa, params: Pa) -> None:
        count = self.call(Rmi.REC_AUX_COUNT, self.rd)[1]
        self.memory.write_u64(params + RecParams.NUM_AUX, count)
        for i in range(count):
            self.memory.write_u64(params + RecParams.AUX + 8 * i, self.delegated_page())
        self.call(Rmi.REC_CREATE, self.rd, rec, params)

    def init_ripas(self, ipa: Ipa, size: int) -> None:
        """Declare [ipa, ipa + size) RAM before the Realm is active."""
        self._progress(Rmi.RTT_INIT_RIPAS, (self.rd,), ipa, size)

    def activate(self) -> None:
        """Let the Realm run."""
        self.call(Rmi.REALM_ACTIVATE, self.rd)

    def set_ripas(self, rec: Pa, ipa: Ipa, size: int) -> None:
        """Do what the Realm asked for in its RIPAS_CHANGE exit, all of [ipa, ipa + size)."""
        self._progress(Rmi.RTT_SET_RIPAS, (self.rd, rec), ipa, size)

    def populate(self, ipa: Ipa, pa: Pa) -> None:
        """Give the Realm the host page `pa` as its private page `ipa`, content unknown."""
        self.call(Rmi.GRANULE_DELEGATE, pa)
        self._mapped(Rmi.DATA_CREATE_UNKNOWN, ipa, self.rd, pa, ipa)

    def destroy_data(self, ipa: Ipa) -> Pa:
        """Take the private page `ipa` back. Returns its physical address, undelegated."""
        pa = Pa(self.call(Rmi.DATA_DESTROY, self.rd, ipa)[1])
        self.call(Rmi.GRANULE_UNDELEGATE, pa)
        return pa

    def map_unprotected(self, ipa: Ipa, pa: Pa) -> None:
        """Map the host page `pa` at the unprotected address `ipa` (shared bit set)."""
        self._mapped(Rmi.RTT_MAP_UNPROTECTED, ipa, self.rd, ipa, LAST_LEVEL, pa | NS_NORMAL)

    def unmap_unprotected(self, ipa: Ipa) -> None:
        """Unmap the unprotected page `ipa` (shared bit set)."""
        self.call(Rmi.RTT_UNMAP_UNPROTECTED, self.rd, ipa, LAST_LEVEL)

    # Ranges. RMI 1.0 knows only pages; `rme_ranges` does the same with the range calls of 2.0.

    def delegate(self, pa: Pa, size: int) -> None:
        """Delegate the host's granules [pa, pa + size) to the RMM."""
        for offset in range(0, size, PAGE):
            self.call(Rmi.GRANULE_DELEGATE, pa + offset)

    def data_create(self, ipa: Ipa, size: int, pa: Pa, source: Pa, flags: int) -> None:
        """Give the Realm, still NEW, delegated pages from `pa` on with copies of those from
        `source` on as its private pages [ipa, ipa + size)."""
        rmi, rd = self.port.rmi, self.rd
        for at in range(0, size, PAGE):
            page = ipa + at
            args = [rd, pa + at, page, source + at, flags]
            if rmi(_DATA_CREATE, args)[0] != _SUCCESS:
                self._mapped(_DATA_CREATE, page, *args)

    def populate_range(self, ipa: Ipa, size: int, pa: Pa) -> None:
        """Give the Realm the host memory from `pa` as its private pages [ipa, ipa + size)."""
        for offset in range(0, size, PAGE):
            self.populate(ipa + offset, pa + offset)

    def destroy_range(self, ipa: Ipa, size: int, pa: Pa) -> None:
        """Take private pages [ipa, ipa + size) back, which stand from `pa` on, undelegated."""
        for offset in range(0, size, PAGE):
            self.destroy_data(ipa + offset)

    def map_unprotected_range(self, ipa: Ipa, size: int, pa: Pa) -> None:
        """Map the host memory from `pa` at the unprotected addresses [ipa, ipa + size)."""
        for offset in range(0, size, PAGE):
            self.map_unprotected(ipa + offset, pa + offset)

    def unmap_unprotected_range(self, ipa: Ipa, size: int) -> None:
        """Unmap the unprotected addresses [ipa, ipa + size)."""
        for offset in range(0, size, PAGE):
            self.unmap_unprotected(ipa + offset)

    def _mapped(self, call: Rmi, ipa: Ipa, *args: int) -> None:
        """Make a call that needs a level 3 table; supply the tables that are missing."""
        result = self.port.rmi(call, list(args))[0]
        if result == RmiStatus.SUCCESS:
            return
        if status(result) is RmiStatus.ERROR_RTT and index(result) != LAST_LEVEL:
            self._create_tables(ipa, walked_level(result))
            result = self.port.rmi(call, list(args))[0]
        if status(result) is not RmiStatus.SUCCESS:
            raise RmiError(call, result)

    def _create_tables(self, ipa: Ipa, walk_level: int) -> None:
        for level in range(walk_level + 1, LAST_LEVEL + 1):
            self._create_table(ipa, level)

    def _progress(self, call: Rmi, owner: tuple[int, ...], ipa: Ipa, size: int) -> None:
        """Repeat a call that may stop at the end of a table; supply tables where it needs them."""
        top = ipa + size
        while ipa < top:
            result = self.port.rmi(call, [*owner, ipa, top])
            if status(result[0]) is RmiStatus.SUCCESS and result[1] > ipa:
                ipa = Ipa(result[1])
            elif status(result[0]) is RmiStatus.ERROR_RTT and index(result[0]) != LAST_LEVEL:
                self._create_table(ipa, walked_level(result[0]) + 1)
            else:
                raise RmiError(call, result[0])

    def _create_table(self, ipa: Ipa, level: int) -> None:
        """Supply the table of `level` (0 to 3) that covers `ipa`."""
        covered = G4K.level_size(level - 1)
        self.call(Rmi.RTT_CREATE, self.rd, self.delegated_page(), ipa & -covered, level)


def walked_level(result: int) -> int:
    """At which level did the walk of a call end that returned ERROR_RTT?"""
    return signed_level(index(result), 8)
