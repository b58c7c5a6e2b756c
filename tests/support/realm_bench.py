"""A host that runs one Realm of one vCPU: real RMM, real SMMU, real tables, no guest kernel.

The Realm's RAM has two backings that stand apart; the test plays the guest (`ask`, `access`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from topbit.arch.ipa import Ipa, IpaSpace, Pa
from topbit.arch.rmi import Ripas, RmiStatus
from topbit.arch.rsi import CHANGE_DESTROYED, Rsi
from topbit.events import Event
from topbit.host.arm_smmu_v3 import ArmSmmuV3
from topbit.host.io_pgtable import Stage2Table
from topbit.host.pages import PagePool, PageRange
from topbit.host.rme import RealmHost
from topbit.host.rme_ranges import RangeRealmHost
from topbit.memory import PhysicalMemory
from topbit.rmm import Exit, Resume, Rmm, Sea, Translated
from topbit.smmu import Smmu
from topbit.vmm.policy import VmmPolicy
from topbit.vmm.slots import MemorySlot
from topbit.vmm.vfio import VfioContainer
from topbit.vmm.vmm import Vmm

MIB, PAGE = 1 << 20, 4096
BASE = 0x8000_0000  # of physical memory
SHARED_PA, PRIVATE_PA = BASE + 2 * MIB, BASE + 4 * MIB
POOL, TABLES, END = BASE + 6 * MIB, BASE + 12 * MIB, BASE + 16 * MIB
RAM, RAM_SIZE = 0x4000_0000, MIB  # of the guest
IPA_BITS = 40
S = 1 << (IPA_BITS - 1)
SID = 0x10


class CountedRmm:
    """The RMM, which counts what the host calls, and refuses what it is told to."""

    def __init__(self, rmm: Rmm) -> None:
        self.rmm = rmm
        self.calls: list[tuple[int, ...]] = []
        self.refused: set[int] = set()

    def rmi(self, fid: int, args: Sequence[int] = ()) -> tuple[int, ...]:
        self.calls.append((fid, *args))
        if fid in self.refused:
            return (int(RmiStatus.ERROR_INPUT), 0, 0)
        return self.rmm.rmi(fid, args)


class RealmBench:
    """The host and its Realm, entered.

    Attributes:
        events: what VMM and VFIO said.
        smmu_events: what the SMMU said.
    """

    def __init__(
        self,
        policy: VmmPolicy | None = None,
        *,
        abi: Literal["1.0", "2.0"] = "2.0",
        in_place: bool = False,
        ipa_bits: int = IPA_BITS,
        ram_size: int = RAM_SIZE,
        vcpus: int = 1,
    ) -> None:
        self.events: list[Event] = []
        self.smmu_events: list[Event] = []
        self.memory = PhysicalMemory(BASE, END - BASE)
        self.rmm = Rmm(self.memory, abi=abi)
        self.port = CountedRmm(self.rmm)
        allocate = PageRange(self.memory, TABLES, END - TABLES)
        self.smmu = Smmu(self.memory, emit=self.smmu_events.append)
        self.driver = ArmSmmuV3(self.smmu, self.memory, allocate)
        self.driver.enable()
        self.table = Stage2Table(self.memory, allocate, ipa_bits)
        space = IpaSpace(ipa_bits)
        policy = policy or VmmPolicy()
        self.vfio = VfioContainer(self.driver, self.table, space, policy, self.events.append)
        private = SHARED_PA if in_place else PRIVATE_PA
        self.slot = MemorySlot(RAM, ram_size, SHARED_PA, private)
        self.vmm = Vmm(
            self.port,
            self.memory,
            PagePool(POOL, TABLES - POOL),
            [self.slot],
            self.vfio,
            space,
            policy,
            self.events.append,
            RangeRealmHost if abi == "2.0" else RealmHost,
        )
        if isinstance(self.vmm.realm, RangeRealmHost):
            self.vmm.realm.activate_rmm()
        self.rec = self.vmm.create(pc=RAM) if vcpus == 1 else self._create(vcpus)
        self.vmm.enter(self.rec)

    def _create(self, vcpus: int) -> Pa:
        """Create a Realm of several vCPUs, of which the first one is on."""
        realm = self.vmm.realm
        realm.create()
        realm.init_ripas(self.slot.ipa, self.slot.size)
        for mpidr in range(vcpus):
            realm.rec_create(mpidr, Ipa(RAM), runnable=mpidr == 0)
        realm.activate()
        return realm.recs[0]

    def resumed(self) -> Resume:
        got = self.rmm.rec(self.rec).resume
        assert isinstance(got, Resume)
        return got

    def ask(self, base: int, top: int, ripas: Ripas) -> tuple[int, int]:
        """Let the guest ask for a change: how far did it come, and was it rejected?"""
        exit_ = self.rmm.rsi(self.rec, (Rsi.IPA_STATE_SET, base, top, ripas, CHANGE_DESTROYED))
        assert isinstance(exit_, Exit), exit_
        self.vmm.handle_exit(self.rec)
        regs = self.resumed().regs
        assert regs[0] == 0
        return regs[1], regs[2]

    def share(self, base: int, size: int = PAGE) -> bool:
        return self.ask(base, base + size, Ripas.EMPTY) == (base + size, 0)

    def unshare(self, base: int, size: int = PAGE) -> bool:
        return self.ask(base, base + size, Ripas.RAM) == (base + size, 0)

    def reaches(self, ipa: int) -> Translated | Sea | Exit:
        """What becomes of a guest's load at `ipa` (the host is asked for nothing)?"""
        return self.rmm.access(self.rec, ipa, "r")

    def touch(self, ipa: int) -> Translated | Sea | Exit:
        """Let the guest load at `ipa`, and the host give it memory if it has none there."""
        found = self.reaches(ipa)
        if isinstance(found, Exit):
            self.vmm.handle_exit(self.rec)
            return self.reaches(ipa)
        return found
