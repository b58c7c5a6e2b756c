"""What the RMM does to the streams of trusted devices on QEMU's SMMU. Needs no QEMU."""

from __future__ import annotations

from collections import deque

import pytest

from topbit.arch.smmuv3 import STE
from topbit.arch.stage2 import G4K, is_table, output_address
from topbit.errors import RunError
from topbit.events import ignore
from topbit.machine.qemu.host.host import QemuHost
from topbit.machine.qemu.host.memory_map import ITS_DOORBELL
from topbit.machine.qemu.host.realm_streams import VMID, FirstCpu, accept
from topbit.machine.qemu.host.shape import GuestImage, RealmShape, layout_of
from topbit.machine.qemu.process.pci import PciDevice
from topbit.machine.qemu.process.process import RAM_BASE
from topbit.memory import PhysicalMemory
from topbit.store.image import Image
from topbit.vmm.policy import VmmPolicy

RAM = 64 << 20
DEVICE = PciDevice("virtio-rng", 2, trusted=True)


class Platform:
    def __init__(self, *, doorbell: bool = True, ipa_bits: int = 41) -> None:
        policy = VmmPolicy(msi_doorbell=doorbell)
        shape = RealmShape(ipa_bits=ipa_bits, ram=RAM, policy=policy, pci=(DEVICE,))
        layout = layout_of(shape)
        self.memory = PhysicalMemory(RAM_BASE, layout.ram)
        kernel = Image(bytes(4096), 0, 1 << 16, 4096, "", True)
        guest = GuestImage(kernel, b"", "")
        self.host = QemuHost(shape, layout, self.memory, guest, ignore)
        self.host.furnish()
        deque(self.host.populating(), 0)
        self.rec = self.host.realm.rec_create(0, RAM_BASE)
        self.host.realm.activate()
        self.host.vmm.enter(self.rec)
        vmm, slot = self.host.vmm, self.host.slot
        self.cpu = FirstCpu(self.host.rmm, vmm, self.rec, self.memory, slot)

    def ste(self) -> STE:
        at = self.host.smmu.stream_table + STE.size() * DEVICE.sid
        return STE.unpack(self.memory.read(at, STE.size()))

    def leaf(self, ipa: int) -> int:
        """Which level 3 descriptor does the stream's table hold for `ipa`? 0 if none."""
        table = self.ste().S2TTB
        for level in range(2 - self.ste().S2SL0, 4):
            entry = self.memory.read_u64(table + 8 * (ipa >> G4K.level_shift(level) & 511))
            if level == 3 or not is_table(entry, level):
                return entry
            table = output_address(entry)
        return 0


def test_a_stream_is_valid_from_the_realms_acceptance_until_the_host_takes_it() -> None:
    made = Platform()
    assert made.ste().V == 0
    accept(made.cpu, DEVICE.sid, RAM_BASE)
    assert (made.ste().V, made.ste().S2VMID) == (1, VMID)
    assert made.host.rmm.trusted_stream(DEVICE.sid) is made.host.rmm.realm(made.host.realm.rd)
    made.host._disable(DEVICE)
    assert made.ste().V == 0
    assert made.host.rmm.trusted_stream(DEVICE.sid) is None


def test_a_device_that_is_accepted_without_its_dma_has_no_stream() -> None:
    made = Platform()
    accept(made.cpu, DEVICE.sid, RAM_BASE, enable_dma=False)
    assert made.ste().V == 0


def test_it_walks_the_realms_live_table_and_the_doorbell_besides() -> None:
    made = Platform()
    accept(made.cpu, DEVICE.sid, RAM_BASE)
    page = RAM_BASE + (32 << 20)
    assert output_address(made.leaf(page)) == made.host.slot.to_private_pa(page)
    made.host.rmm.interrupt(made.rec)
    made.host.realm.destroy_data(page)
    assert not made.leaf(page) & 1
    assert output_address(made.leaf(ITS_DOORBELL)) == ITS_DOORBELL & -4096


def test_without_a_doorbell_a_table_with_one_root_is_walked_itself() -> None:
    made = Platform(doorbell=False, ipa_bits=44)
    accept(made.cpu, DEVICE.sid, RAM_BASE)
    assert made.host.rmm.realm(made.host.realm.rd).rtt_base == made.ste().S2TTB
    assert not made.leaf(ITS_DOORBELL) & 1


@pytest.mark.parametrize("doorbell", [True, False])
@pytest.mark.parametrize("ipa_bits", [41, 43])
def test_above_concatenated_roots_stands_a_single_one(ipa_bits: int, doorbell: bool) -> None:
    made = Platform(doorbell=doorbell, ipa_bits=ipa_bits)
    accept(made.cpu, DEVICE.sid, RAM_BASE)
    realm = made.host.rmm.realm(made.host.realm.rd)
    assert (realm.start_level, made.ste().S2SL0) == (1, 2)
    page = RAM_BASE + (32 << 20)
    assert output_address(made.leaf(page)) == made.host.slot.to_private_pa(page)
    made.host.rmm.interrupt(made.rec)
    made.host.realm.destroy_data(page)
    shared = made.host.slot.to_shared_pa(page)
    alias = realm.space.unprotected(page)
    made.host.realm.map_unprotected_range(alias, 4096, shared)
    assert output_address(made.leaf(alias)) == shared
    assert bool(made.leaf(ITS_DOORBELL) & 1) == doorbell


def test_what_the_rmm_does_not_know_is_refused() -> None:
    made = Platform()
    with pytest.raises(RunError, match="StreamID 0x99"):
        accept(made.cpu, 0x99, RAM_BASE)
    made.host._disable(DEVICE)
    with pytest.raises(RunError, match="StreamID 0x10"):
        accept(made.cpu, DEVICE.sid, RAM_BASE)
    assert made.ste().V == 0
