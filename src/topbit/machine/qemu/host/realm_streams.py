"""How does a trusted device's stream see the Realm on an SMMU that has no Realm side?

It walks the Realm's own table, but for one page: MSI addresses are plain, and the Realm's table
maps no device there. So the tables on the way to the MSI doorbell are copies with that page
added; everything else is the Realm's live tables.
"""

from __future__ import annotations

import dataclasses

from topbit.arch.ipa import Ipa, Pa
from topbit.arch.smmuv3 import STE
from topbit.arch.stage2 import AF, G4K, LAST_LEVEL, TABLE_OR_PAGE, VALID, is_table, output_address
from topbit.errors import RunError
from topbit.host.arm_smmu_v3 import ArmSmmuV3
from topbit.host.io_pgtable import READ, WRITE
from topbit.host.pages import PageRange
from topbit.linux.rsi_da import cca_device_accept
from topbit.machine.qemu.host.memory_map import ITS_DOORBELL
from topbit.machine.rsi_call import rsi_call
from topbit.memory import PhysicalMemory
from topbit.rmm import Rmm
from topbit.rmm.realm import Realm
from topbit.vmm.slots import MemorySlot
from topbit.vmm.vmm import Vmm

VMID = 0x8001  # not the VMID of the host's own table
_DEVICE_PAGE = VALID | TABLE_OR_PAGE | AF | READ | WRITE | 1 << 2  # Device-nGnRE


class RealmStreams:
    """The Realm side of QEMU's SMMU, as the RMM programs it (`rmm.RealmSmmu`).

    Args:
        driver: the driver of QEMU's SMMU: its one stream table serves the RMM as well.
        memory: holds the tables.
        allocate: gives memory for tables.
        doorbell: trusted devices reach the MSI doorbell.
    """

    def __init__(
        self, driver: ArmSmmuV3, memory: PhysicalMemory, allocate: PageRange, doorbell: bool
    ) -> None:
        self._driver = driver
        self._memory = memory
        self._allocate = allocate
        self._doorbell = doorbell
        self._sids: set[int] = set()

    def activate(self, strtab: Pa, log2size: int) -> None:
        """Use the stream table at `strtab`: QEMU's SMMU has no Realm side that could."""

    def deactivate(self) -> None:
        """Use no Realm stream table."""

    def changed(self, sid: int, ste: STE, realm: Realm | None) -> None:
        """Make the stream translate through the Realm's table, or make it invalid."""
        if realm is None:
            self._disable(sid)
        elif ste.V:
            self._enable(sid, realm)

    def _enable(self, sid: int, realm: Realm) -> None:
        root, level = _single_root(self._memory, self._allocate, realm)
        if self._doorbell:
            root = _with_doorbell(self._memory, self._allocate, root, level)
        geometry = dataclasses.replace(realm.rtt.geometry, start_level=level)
        self._driver.attach(sid, geometry.ste(root, VMID))
        self._sids.add(sid)

    def _disable(self, sid: int) -> None:
        if sid in self._sids:
            self._sids.remove(sid)
            self._driver.detach(sid)

    def invalidate(self, vmid: int, ipa: Ipa, size: int) -> None:
        """Forget what is remembered of the Realm: all of it."""
        if self._sids:
            self._driver.invalidate(VMID)


class FirstCpu:
    """The first vCPU before its first instruction, in the hands of whoever boots the kernel.

    Args:
        rmm, vmm: answer its calls.
        rec: its REC; entered.
        memory, slot: what stands in the Realm's private RAM.
    """

    def __init__(
        self, rmm: Rmm, vmm: Vmm, rec: Pa, memory: PhysicalMemory, slot: MemorySlot
    ) -> None:
        self._rmm = rmm
        self._vmm = vmm
        self._rec = rec
        self._memory = memory
        self._slot = slot

    def smc(self, function: int, *arguments: int) -> tuple[int, ...]:
        """What does the RMM answer?"""
        return rsi_call(self._rmm, self._rec, self._host, function, *arguments)

    def _host(self) -> None:
        self._vmm.handle_exit(self._rec)
        if self._vmm.stopped is not None:
            raise RunError(f"the Realm ended before the kernel's start: {self._vmm.stopped}")

    def load(self, ipa: Ipa, size: int) -> bytes:
        """Which bytes stand at the private address `ipa`?"""
        return self._memory.read(self._slot.to_private_pa(ipa), size)

    def store(self, ipa: Ipa, data: bytes) -> None:
        """Store bytes at the private address `ipa`."""
        self._memory.write(self._slot.to_private_pa(ipa), data)


def accept(cpu: FirstCpu, sid: int, page: Ipa, *, enable_dma: bool = True) -> None:
    """Accept an assigned device for a kernel that cannot do so itself: no release can yet.

    To be done once the Realm's RAM has all its tables. `page`: IPA of a free page. `enable_dma`:
    as the last step.

    Raises:
        RunError: the RMM does not let the Realm have the device.
    """
    if cca_device_accept(cpu, sid, page, enable_dma=enable_dma):
        raise RunError(f"the RMM refused the device with StreamID 0x{sid:x} to the Realm")


def _single_root(memory: PhysicalMemory, allocate: PageRange, realm: Realm) -> tuple[Pa, int]:
    """Where is a root of one table, and at which level, that leads to all of the Realm's?

    QEMU's SMMU takes concatenated root tables for one (docs/qemu-deviations.md, Q7): such a Realm
    gets a table above them.
    """
    tables = realm.rtt.roots
    if tables == 1:
        return realm.rtt_base, realm.start_level
    root = allocate(G4K.bytes)
    for number in range(tables):
        table = realm.rtt_base + number * G4K.bytes
        memory.write_u64(root + 8 * number, table | VALID | TABLE_OR_PAGE)
    return root, realm.start_level - 1


def _with_doorbell(memory: PhysicalMemory, allocate: PageRange, top: Pa, start: int) -> Pa:
    source: Pa | None = top
    root = copy = allocate(G4K.bytes)
    for level in range(start, LAST_LEVEL + 1):
        if source is not None:
            memory.write(copy, memory.read(source, G4K.bytes))
        entry = copy + 8 * (ITS_DOORBELL >> G4K.level_shift(level) & (G4K.entries - 1))
        if level == LAST_LEVEL:
            memory.write_u64(entry, ITS_DOORBELL & -G4K.bytes | _DEVICE_PAGE)
            return root
        below = memory.read_u64(entry)
        source = output_address(below) if is_table(below, level) else None
        copy = allocate(G4K.bytes)
        memory.write_u64(entry, copy | VALID | TABLE_OR_PAGE)
    return root
