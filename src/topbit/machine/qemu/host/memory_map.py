"""Where does everything stand in the machine's physical address space?

    RAM_BASE                guest RAM while shared (Non-secure): IPA = PA
    RAM_BASE + guest_ram    guest RAM while private (Realm)
    RAM_BASE + 2*guest_ram  the EL2 program and its mailboxes (Root), the outbox, then the host's
                            pool: tables, RECs, queues

Shared RAM keeps its own address because QEMU's ITS uses the addresses of its tables as the guest
programs them, and they lie in shared pages. A page's private and shared forms are different
memory, so that a mixed-up address shows as wrong data.
Source of the device addresses: QEMU hw/arm/virt.c:base_memmap, extended_memmap.
"""

from __future__ import annotations

from dataclasses import dataclass

from topbit.arch.ipa import Ipa, Pa
from topbit.machine.qemu.host import outbox
from topbit.machine.qemu.process.process import CONSOLE_UART, RAM_BASE

KIB, MIB, GIB = 1 << 10, 1 << 20, 1 << 30

GICD = Pa(0x0800_0000)
ITS = Pa(0x0808_0000)
ITS_DOORBELL = Pa(0x0809_0040)  # GITS_TRANSLATER: what a device writes to for an MSI
GICR = Pa(0x080A_0000)
GICR_BYTES = 0x2_0000  # one redistributor
RTC = Pa(0x0901_0000)
GPIO = Pa(0x0903_0000)
SMMU = Pa(0x0905_0000)
PCIE_MMIO = Pa(0x1000_0000)
PCIE_MMIO_REST = Pa(0x3E00_0000)  # what is left of it behind its blocks
PCIE_PIO = Pa(0x3EFF_0000)
PCIE_ECAM = Pa(0x40_1000_0000)
PCIE_MMIO_HIGH = Pa(0x80_0000_0000)
PROGRAM_BYTES = 2 * MIB
DEVICE_MEMORY = 0b001  # MemAttr of a stage-2 entry with FWB: Device-nGnRE


@dataclass(frozen=True, slots=True)
class Window:
    """Which device registers does the guest reach directly, at which size of mapping?"""

    pa: Pa
    size: int
    level: int = 3


@dataclass(frozen=True, slots=True)
class Layout:
    """Where does one machine keep its memory?

    Attributes:
        guest_ram: bytes of the guest's RAM, a multiple of 2 MiB.
        cpus: number of vCPUs.
        pool: bytes of the host's pool.
    """

    guest_ram: int
    cpus: int = 1
    pool: int = 64 * MIB

    @property
    def ipa(self) -> Ipa:
        """Where does the guest's RAM begin for the guest? (shared bit clear)"""
        return Ipa(RAM_BASE)

    @property
    def shared(self) -> Pa:
        """Where does the RAM stand while it is shared?"""
        return RAM_BASE

    @property
    def private(self) -> Pa:
        """Where does the RAM stand while it is private?"""
        return RAM_BASE + self.guest_ram

    @property
    def program(self) -> Pa:
        """Where does the EL2 program stand?"""
        return RAM_BASE + 2 * self.guest_ram

    @property
    def outbox(self) -> Pa:
        """Where does stand what the guest hands out?"""
        return self.program + PROGRAM_BYTES

    @property
    def pool_start(self) -> Pa:
        """Where does the host's pool begin?"""
        return self.outbox + outbox.BYTES

    @property
    def end(self) -> Pa:
        """Which is the first address behind the memory?"""
        return self.pool_start + self.pool

    @property
    def ram(self) -> int:
        """How much physical memory is that?"""
        return self.end - RAM_BASE

    def windows(self) -> list[Window]:
        """Which device registers may the guest reach without a trap?

        Not among them: what makes its own accesses to memory on the guest's word (fw-cfg, QEMU's
        virtio-mmio transports; of ITS and redistributors the pages that name tables, see `its`),
        the host's SMMU, and the doorbell's UART.
        """
        redistributors = [
            Window(GICR + index * GICR_BYTES + 4 * KIB, GICR_BYTES - 4 * KIB)
            for index in range(self.cpus)
        ]
        return [
            Window(GICD, 64 * KIB),
            Window(ITS + 4 * KIB, 60 * KIB),
            *redistributors,
            Window(CONSOLE_UART, 4 * KIB),
            Window(RTC, 4 * KIB),
            Window(GPIO, 4 * KIB),
            Window(PCIE_MMIO, PCIE_MMIO_REST - PCIE_MMIO, level=2),
            Window(PCIE_MMIO_REST, PCIE_PIO - PCIE_MMIO_REST),
            Window(PCIE_PIO, 64 * KIB),
            Window(PCIE_ECAM, 256 * MIB, level=2),
            Window(PCIE_MMIO_HIGH, 512 * GIB, level=1),
        ]
