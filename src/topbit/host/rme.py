"""Which RMI calls does the host make to run a Realm? (KVM: arch/arm64/kvm/rme.c)

Thin wrappers that turn what the host wants (create, populate, share, unshare) into RMI calls on
the RMM, and do the host's share of the bookkeeping: delegating granules and supplying tables.
Calls and structures: DEN0137 1.0.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from topbit.arch.rmi import RealmParams, RecParams, Rmi, Rmi2, RmiStatus, index, status
from topbit.arch.stage2 import G4K
from topbit.host.pages import PAGE, PagePool
from topbit.memory import PhysicalMemory

LAST_LEVEL = 3
NS_NORMAL = 0b110 << 2 | 0b11 << 6  # MemAttr: write-back (FWB); S2AP: read and write


class RmiError(Exception):
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
    """One Realm as the host runs it.

    Args:
        port: the RMM.
        memory: physical memory (parameter pages are Non-secure host memory).
        pages: free host pages, for tables, RD and RECs.
        ipa_bits: width of the Realm's IPA space.
    """

    port: RmiPort
    memory: PhysicalMemory
    pages: PagePool
    ipa_bits: int
    rd: int = 0
    run_pages: dict[int, int] = field(default_factory=dict)

    def call(self, call: Rmi | Rmi2, *args: int) -> tuple[int, ...]:
        """Make a call that must succeed; returns X0, X1, ...

        Raises:
            RmiError: it did not.
        """
        result = self.port.rmi(call, list(args))
        if status(result[0]) is not RmiStatus.SUCCESS:
            raise RmiError(call, result[0])
        return result

    def delegated_page(self) -> int:
        """Which fresh granule is delegated to the RMM now?"""
        page = self.pages.page()
        self.call(Rmi.GRANULE_DELEGATE, page)
        return page

    def create(self) -> int:
        """Create the Realm (still NEW). Returns its RD."""
        params = self.pages.page()
        self.memory.fill(params, PAGE)
        start = start_level(self.ipa_bits)
        tables = G4K.root_tables(self.ipa_bits, start)
        root = self.pages.run(tables, align=tables * PAGE)
        self.delegate(root, root + tables * PAGE)
        fields = {
            RealmParams.S2SZ: self.ipa_bits,
            RealmParams.NUM_BPS: 1,
            RealmParams.NUM_WPS: 1,
            RealmParams.VMID: 1,
            RealmParams.RTT_BASE: root,
            RealmParams.RTT_LEVEL_START: start,
            RealmParams.RTT_NUM_START: tables,
            RealmParams.FLAGS0: RealmParams.FLAG_LPA2 if self.ipa_bits > 48 else 0,
        }
        for offset, value in fields.items():
            self.memory.write_u64(params + offset, value)
        self.rd = self.delegated_page()
        self.call(Rmi.REALM_CREATE, self.rd, params)
        self.pages.free.append(params)
        return self.rd

    def rec_create(
        self, mpidr: int, pc: int, regs: Sequence[int] = (), *, runnable: bool = True
    ) -> int:
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
        count = self.call(Rmi.REC_AUX_COUNT, self.rd)[1]
        self.memory.write_u64(params + RecParams.NUM_AUX, count)
        for i in range(count):
            self.memory.write_u64(params + RecParams.AUX + 8 * i, self.delegated_page())
        rec = self.delegated_page()
        self.call(Rmi.REC_CREATE, self.rd, rec, params)
        self.pages.free.append(params)
        self.run_pages[rec] = self.pages.page()
        self.memory.fill(self.run_pages[rec], PAGE)
        return rec

    def init_ripas(self, base: int, top: int) -> None:
        """Declare [base, top) RAM before the Realm is active."""
        self._progress(Rmi.RTT_INIT_RIPAS, (self.rd,), base, top)

    def activate(self) -> None:
        """Let the Realm run."""
        self.call(Rmi.REALM_ACTIVATE, self.rd)

    def set_ripas(self, rec: int, base: int, top: int) -> None:
        """Do what the Realm asked for in its RIPAS_CHANGE exit, all of [base, top)."""
        self._progress(Rmi.RTT_SET_RIPAS, (self.rd, rec), base, top)

    def populate(self, ipa: int, pa: int) -> None:
        """Give the Realm the host page `pa` as its private page `ipa`, content unknown."""
        self.call(Rmi.GRANULE_DELEGATE, pa)
        self._mapped(Rmi.DATA_CREATE_UNKNOWN, ipa, self.rd, pa, ipa)

    def destroy_data(self, ipa: int) -> int:
        """Take the private page `ipa` back. Returns its physical address, undelegated."""
        pa = self.call(Rmi.DATA_DESTROY, self.rd, ipa)[1]
        self.call(Rmi.GRANULE_UNDELEGATE, pa)
        return pa

    def map_unprotected(self, ipa: int, pa: int) -> None:
        """Map the host page `pa` at the unprotected address `ipa` (shared bit set)."""
        self._mapped(Rmi.RTT_MAP_UNPROTECTED, ipa, self.rd, ipa, LAST_LEVEL, pa | NS_NORMAL)

    def unmap_unprotected(self, ipa: int) -> None:
        """Unmap the unprotected page `ipa` (shared bit set)."""
        self.call(Rmi.RTT_UNMAP_UNPROTECTED, self.rd, ipa, LAST_LEVEL)

    def data_create(self, ipa: int, pa: int, source: int, flags: int) -> None:
        """Give the Realm, still NEW, the delegated page `pa` with a copy of the page `source`."""
        self._mapped(Rmi.DATA_CREATE, ipa, self.rd, pa, ipa, source, flags)

    # Ranges. RMI 1.0 knows only pages; `rme_ranges` does the same with the range calls of 2.0.

    def delegate(self, base: int, top: int) -> None:
        """Delegate the host's granules [base, top) to the RMM."""
        for page in range(base, top, PAGE):
            self.call(Rmi.GRANULE_DELEGATE, page)

    def populate_range(self, base: int, top: int, pa: int) -> None:
        """Give the Realm the host memory from `pa` as its private pages [base, top)."""
        for ipa in range(base, top, PAGE):
            self.populate(ipa, pa + ipa - base)

    def destroy_range(self, base: int, top: int, pa: int) -> None:
        """Take the private pages [base, top) back, which stand from `pa` on, undelegated."""
        for ipa in range(base, top, PAGE):
            self.destroy_data(ipa)

    def map_unprotected_range(self, base: int, top: int, pa: int) -> None:
        """Map the host memory from `pa` at the unprotected addresses [base, top)."""
        for ipa in range(base, top, PAGE):
            self.map_unprotected(ipa, pa + ipa - base)

    def unmap_unprotected_range(self, base: int, top: int) -> None:
        """Unmap the unprotected addresses [base, top)."""
        for ipa in range(base, top, PAGE):
            self.unmap_unprotected(ipa)

    def _mapped(self, call: Rmi, ipa: int, *args: int) -> None:
        """Make a call that needs a level 3 table; supply the tables that are missing."""
        result = self.port.rmi(call, list(args))[0]
        if result == RmiStatus.SUCCESS:
            return
        if status(result) is RmiStatus.ERROR_RTT and index(result) != LAST_LEVEL:
            self._create_tables(ipa, signed_level(index(result)))
            result = self.port.rmi(call, list(args))[0]
        if status(result) is not RmiStatus.SUCCESS:
            raise RmiError(call, result)

    def _create_tables(self, ipa: int, walk_level: int) -> None:
        for level in range(walk_level + 1, LAST_LEVEL + 1):
            self._create_table(ipa, level)

    def _progress(self, call: Rmi, owner: tuple[int, ...], base: int, top: int) -> None:
        """Repeat a call that may stop at the end of a table; supply tables where it needs them."""
        while base < top:
            result = self.port.rmi(call, [*owner, base, top])
            if status(result[0]) is RmiStatus.SUCCESS and result[1] > base:
                base = result[1]
            elif status(result[0]) is RmiStatus.ERROR_RTT and index(result[0]) != LAST_LEVEL:
                level = signed_level(index(result[0]))
                self._create_table(base, level + 1)
            else:
                raise RmiError(call, result[0])

    def _create_table(self, ipa: int, level: int) -> None:
        """Supply the table of `level` (0 to 3) that covers `ipa`."""
        covered = 1 << 12 + 9 * (LAST_LEVEL - level + 1)
        self.call(Rmi.RTT_CREATE, self.rd, self.delegated_page(), ipa & ~(covered - 1), level)


def signed_level(level: int) -> int:
    """Which level does an index of ERROR_RTT mean? (255 is level -1)"""
    return level - 256 if level > 127 else level
