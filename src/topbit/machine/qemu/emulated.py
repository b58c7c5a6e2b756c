"""Which devices does the VMM itself emulate for the real kernel, and how do they interrupt it?

Virtio devices on virtio-mmio: each has one page of registers that stage 2 does not map, so that
every access is a trap, and one edge-triggered interrupt of the guest's own GIC.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from topbit.machine.qemu.devicetree import VirtioMmio as TreeDevice
from topbit.machine.qemu.layout import GICD
from topbit.machine.qemu.mailbox import w32
from topbit.vmm.dma import EmulatedDma
from topbit.vmm.slots import PAGE
from topbit.vmm.virtio_mmio import Backend, VirtioMmio

if TYPE_CHECKING:
    from topbit.machine.qemu.host import QemuHost

FIRST_ADDRESS = 0x0A80_0000  # a hole of QEMU's virt machine
FIRST_SPI = 100
INTID_OF_SPI_0 = 32
GICD_ISPENDR = 0x200


def mmio_address(number: int) -> int:
    """At which IPA are the registers of emulated device `number`? (shared bit clear)"""
    return FIRST_ADDRESS + number * PAGE


def attach(host: QemuHost, name: str, number: int, backend: Backend) -> VirtioMmio:
    """Give the guest an emulated device, before it runs.

    Args:
        host: the guest's host.
        name: what the guest kernel calls it: ``{mmio_address(number):x}.virtio_mmio``.
        number: which place and interrupt it takes.
        backend: the device proper.
    """
    intid = INTID_OF_SPI_0 + FIRST_SPI + number
    pend = w32(GICD + GICD_ISPENDR + intid // 32 * 4, 1 << intid % 32)

    def interrupt(level: bool) -> None:
        if level:
            host.cpus.at_resume.append(pend)

    dma = EmulatedDma(
        name,
        host.memory,
        [host.slot],
        host.shared_bit,
        host.shape.policy,
        host.granules.check,
        host.emit,
    )
    device = VirtioMmio(backend, dma, interrupt)
    host.vmm.mmio[mmio_address(number)] = device
    host.emulated.append(TreeDevice(mmio_address(number), FIRST_SPI + number))
    return device
