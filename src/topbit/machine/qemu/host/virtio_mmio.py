"""Which devices does the VMM itself emulate for the real kernel, and how do they interrupt it?

Virtio devices on virtio-mmio: each has one page of registers, which stage 2 maps read-only. The
VMM keeps the page up to date, so that only stores are traps: a read costs the guest no more than
one of memory. (QEMU gives HPFAR_EL2 for the permission fault of a store as well.)

A device that only answers interrupts with an edge, which the vCPU raises on its way back from the
trap. One that has a wire must do so at any time: see `UartIrq`.
"""

from __future__ import annotations

from dataclasses import dataclass

from topbit.arch.ipa import Ipa
from topbit.host.pages import PAGE
from topbit.machine.qemu.el2.mailbox import Op, w32
from topbit.machine.qemu.host.devicetree import VirtioMmio as TreeDevice
from topbit.machine.qemu.host.memory_map import GICD
from topbit.machine.qemu.host.uart_irq import UartIrq
from topbit.vmm.virtio.mmio import Backend, VirtioMmio
from topbit.vmm.virtio.net import VirtioNet

FIRST_ADDRESS = Ipa(0x0A80_0000)  # a hole of QEMU's virt machine
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
    def address(self) -> Ipa:
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
            return TreeDevice(self.address, UartIrq.SPI, level=True)
        return TreeDevice(self.address, FIRST_SPI + self.index)

    def edge(self) -> Op:
        """Which operation of a vCPU makes its interrupt pending? (of one without a wire)"""
        intid = INTID_OF_SPI_0 + FIRST_SPI + self.index
        return w32(GICD + GICD_ISPENDR + intid // 32 * 4, 1 << intid % 32)


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
