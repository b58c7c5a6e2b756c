"""Which devices does the VMM itself emulate for the real kernel, and how do they interrupt it?

Virtio devices on virtio-mmio: each has one page of registers, which stage 2 maps read-only. The
VMM keeps the page up to date, so that only stores are traps: a read costs the guest no more than
one of memory. (QEMU gives HPFAR_EL2 for the permission fault of a store as well.)

A device that only answers interrupts with an edge, which the vCPU raises on its way back from the
trap. One that has a wire must do so at any time: see `Line`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from topbit.arch.stage2 import LAST_LEVEL
from topbit.machine.qemu.devicetree import VirtioMmio as TreeDevice
from topbit.machine.qemu.layout import DEVICE_MEMORY, GICD
from topbit.machine.qemu.line import Line
from topbit.machine.qemu.mailbox import w32
from topbit.vmm.dma import EmulatedDma
from topbit.vmm.slots import PAGE
from topbit.vmm.virtio_mmio import Backend, VirtioMmio
from topbit.vmm.virtio_net import VirtioNet

if TYPE_CHECKING:
    from topbit.machine.qemu.host import QemuHost

FIRST_ADDRESS = 0x0A80_0000  # a hole of QEMU's virt machine
FIRST_SPI = 100
INTID_OF_SPI_0 = 32
GICD_ISPENDR = 0x200


@dataclass(frozen=True, slots=True)
class EmulatedDevice:
    """Which device is it?

    Attributes:
        index: its number, from 0: its place and its interrupt.
        backend: the device proper.
    """

    index: int
    backend: Backend

    @property
    def address(self) -> int:
        """At which IPA are its registers? (shared bit clear)"""
        return FIRST_ADDRESS + self.index * PAGE

    @property
    def name(self) -> str:
        """What does the guest kernel call it?"""
        return f"{self.address:x}.virtio_mmio"

    @property
    def wired(self) -> bool:
        """Does something come to it from outside, at any time?"""
        return isinstance(self.backend, VirtioNet)

    def described(self) -> TreeDevice:
        """How does it stand in the device tree?"""
        if self.wired:
            return TreeDevice(self.address, Line.SPI, level=True)
        return TreeDevice(self.address, FIRST_SPI + self.index)

    def attach(self, host: QemuHost) -> None:
        """Put it on the VMM's bus."""
        page = host.realm.pages.page()
        host.memory.fill(page, PAGE)
        base = self.address | host.shared_bit
        host.realm.map_unprotected_blocks(
            base, base + PAGE, page, LAST_LEVEL, DEVICE_MEMORY, writable=False
        )
        dma = EmulatedDma(
            self.name,
            host.memory,
            [host.slot],
            host.shared_bit,
            host.shape.policy,
            host.granules.check,
            host.emit,
        )
        registers = VirtioMmio(
            self.backend, dma, self._interrupt(host), host.memory.view(page, PAGE)
        )
        host.vmm.mmio[self.address] = registers
        if isinstance(self.backend, VirtioNet):
            host.wires[self.backend.wire.fileno()] = Wire(self.backend, registers)

    def _interrupt(self, host: QemuHost) -> Callable[[bool], None]:
        if self.wired:
            return host.line.of(self.index)
        intid = INTID_OF_SPI_0 + FIRST_SPI + self.index
        pend = w32(GICD + GICD_ISPENDR + intid // 32 * 4, 1 << intid % 32)

        def edge(level: bool) -> None:
            if level:
                host.cpus.at_resume.append(pend)

        return edge


@dataclass(frozen=True, slots=True)
class Wire:
    """What is done when something comes from outside?"""

    backend: VirtioNet
    registers: VirtioMmio

    def ready(self) -> None:
        """Give the guest what has come."""
        queue = self.backend.fetch()
        if queue is not None:
            self.registers.serve(queue)
