"""What boots, on how wide and how large a Realm, with which devices?"""

from __future__ import annotations

from dataclasses import dataclass, field

from topbit.machine.qemu.host.memory_map import MIB, Layout
from topbit.machine.qemu.host.virtio_mmio import EmulatedDevice
from topbit.machine.qemu.process.pci import PciDevice
from topbit.scenario.tables import HostSpec
from topbit.store.image import Image
from topbit.vmm.policy import VmmPolicy

SMMU_BITS = 44  # QEMU's SMMU: IDR5.OAS


@dataclass(frozen=True, slots=True)
class GuestImage:
    """What boots?

    Attributes:
        kernel: its Image.
        initrd: initramfs, as the kernel takes it; empty for none.
        command_line: the kernel's.
    """

    kernel: Image
    initrd: bytes
    command_line: str


@dataclass(frozen=True, slots=True)
class RealmShape:
    """How wide and how large is the Realm?

    Attributes:
        ipa_bits: width of the IPA space, 32 to 52.
        ram: bytes of RAM, a multiple of 2 MiB.
        cpus: number of vCPUs.
        cpu: their model, as `cpu_model.words` takes it; empty for the one that fits.
        policy: how its VMM behaves.
        pci: assigned devices behind the SMMU.
        emulated: devices of the VMM itself.
        host: what the host does to the guest; its `disable_stream` is the kernel's name of a
            device, not the scenario's.
        told_ipa_bits: width that the RMM tells the Realm; None: the true one.
        watched: kernel's name of a device that uses addresses after they were taken from it.
        enable_dma: who accepts trusted devices for the kernel lets them make DMA as well.
    """

    ipa_bits: int = 41
    ram: int = 1024 * MIB
    cpus: int = 1
    cpu: str = ""
    policy: VmmPolicy = field(default_factory=VmmPolicy)
    pci: tuple[PciDevice, ...] = ()
    emulated: tuple[EmulatedDevice, ...] = ()
    host: HostSpec = field(default_factory=HostSpec)
    told_ipa_bits: int | None = None
    watched: str = ""
    enable_dma: bool = True

    @property
    def smmu(self) -> bool:
        """Does an SMMU stand before the PCI devices? (QEMU's cannot take wider addresses)"""
        return self.ipa_bits <= SMMU_BITS


def layout_of(shape: RealmShape) -> Layout:
    """Where does everything stand for this Realm?"""
    pool = 32 * MIB + (shape.ram >> 27 << 20)  # the Realm's tables, both halves, and its RECs
    return Layout(shape.ram, shape.cpus, tables_bytes(shape) + pool)


def tables_bytes(shape: RealmShape) -> int:
    """How much do the SMMU's tables and queues and the GIC's tables take?"""
    return 16 * MIB + (shape.ram >> 27 << 20) + -(-shape.cpus // 16) * MIB
