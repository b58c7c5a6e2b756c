"""How does the guest drive the model's own DMA engine (`devices/dma_engine.py`)?

One command at a time in a page of coherent memory: the driver stores a command, rings the
doorbell, and reads the status that the device stored. Layout: `arch/dma_engine.py`.
"""

from __future__ import annotations

import struct

from topbit.arch import dma_engine
from topbit.arch.ipa import DmaAddr, Ipa
from topbit.linux.block import RegisterPort
from topbit.linux.device import Device
from topbit.linux.kernel import Kernel

POLLS = DmaAddr(0)


class EngineRing:
    """The command page between an engine and its driver.

    Args:
        kernel, device: who drives it.
        port: its registers.
        msi: where it writes its interrupts (its_irq_compose_msi_msg: the ITS's own address, never
            aliased); `POLLS` for a driver that asks for none.
    """

    def __init__(
        self, kernel: Kernel, device: Device, port: RegisterPort, msi: DmaAddr = POLLS
    ) -> None:
        self.kernel = kernel
        self.device = device
        self.port = port
        self.msi = msi
        self.interrupts = 0
        self.phys = Ipa(0)
        self.dma_addr = DmaAddr(0)

    def probe(self) -> bool:
        """Allocate the command page and tell the device where it is."""
        got = self.kernel.dma.dma_alloc_coherent(self.device, dma_engine.COMMAND_PAGE)
        if got is None:
            return False
        self.phys, self.dma_addr = got
        self.port.write_register(dma_engine.RING_LOW, self.dma_addr & 0xFFFF_FFFF)
        self.port.write_register(dma_engine.RING_HIGH, self.dma_addr >> 32)
        self.port.write_register(dma_engine.MSI_LOW, self.msi & 0xFFFF_FFFF)
        self.port.write_register(dma_engine.MSI_HIGH, self.msi >> 32)
        return True

    def submit(self, dma_addr: DmaAddr, size: int, sector: int, *, to_device: bool) -> bool:
        """Let the device move [dma_addr, +size). False: it reported no success."""
        opcode = dma_engine.READ_MEMORY if to_device else dma_engine.WRITE_MEMORY
        command = struct.pack(
            dma_engine.COMMAND, opcode, size, dma_addr, sector, dma_engine.PENDING
        )
        self.kernel.memory.write(self.phys, command)
        before = self.interrupts
        self.port.write_register(dma_engine.DOORBELL, 1)
        status = self.kernel.memory.read(self.phys + dma_engine.STATUS_OFFSET, 8)
        done = int.from_bytes(status, "little") == dma_engine.DONE
        if done and self.msi and self.interrupts == before:
            # As nvme_timeout() does: the request is found done when its time is up.
            self.kernel.warn("timeout", self.device.name, "I/O timeout, completion polled")
        return done

    def interrupt(self) -> None:
        """An interrupt of the device was delivered."""
        self.interrupts += 1

    def remove(self) -> None:
        """Give the command page back, as the driver's remove() does."""
        self.kernel.dma.dma_free_coherent(
            self.device, dma_engine.COMMAND_PAGE, self.phys, self.dma_addr
        )
