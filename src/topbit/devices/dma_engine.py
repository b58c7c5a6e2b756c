"""What does the model's DMA engine do with the commands that its driver gives it?

A disk with one command page (layout: `arch/dma_engine.py`). It masters the bus with exactly the
addresses that it was given, cut to the address lines it has.
"""

from __future__ import annotations

import struct
from collections.abc import Callable

from topbit.arch import dma_engine
from topbit.arch.ipa import DmaAddr, Pa
from topbit.devices.bus import BusPort

SECTOR = 512


class DmaEngine:
    """A disk that masters the bus.

    Args:
        bus: how it reaches memory.
        medium: the disk's content; what the outside world sees.
        interrupt: takes the physical address that each of its interrupts reached.
    """

    def __init__(
        self, bus: BusPort, medium: bytearray, interrupt: Callable[[Pa], None] = lambda pa: None
    ) -> None:
        self.bus = bus
        self.medium = medium
        self.interrupt = interrupt
        self.ring = DmaAddr(0)
        self.msi = DmaAddr(0)
        self.last_buffer: tuple[DmaAddr, int] | None = None

    def read_register(self, offset: int) -> int:
        """Which 32-bit value stands at `offset`? The device shows nothing."""
        return 0

    def write_register(self, offset: int, value: int) -> None:
        """Take a register write; a doorbell runs the command before this returns."""
        if offset == dma_engine.RING_LOW:
            self.ring = _low_half(self.ring, value)
        elif offset == dma_engine.RING_HIGH:
            self.ring = _high_half(self.ring, value)
        elif offset == dma_engine.MSI_LOW:
            self.msi = _low_half(self.msi, value)
        elif offset == dma_engine.MSI_HIGH:
            self.msi = _high_half(self.msi, value)
        elif offset == dma_engine.DOORBELL:
            self.run()

    def run(self) -> None:
        """Fetch the command, move its data, store its status."""
        command = self.bus.read(self.ring, dma_engine.COMMAND_SIZE)
        if command is None:
            return
        opcode, size, address, sector, _ = struct.unpack(dma_engine.COMMAND, command)
        self.last_buffer = (address, size)
        at = sector * SECTOR
        done = False
        if at + size <= len(self.medium) and size:
            if opcode == dma_engine.READ_MEMORY:
                data = self.bus.read(address, size)
                if data is not None:
                    self.medium[at : at + size] = data
                    done = True
            elif opcode == dma_engine.WRITE_MEMORY:
                done = self.bus.write(address, bytes(self.medium[at : at + size]))
        status = dma_engine.DONE if done else dma_engine.FAILED
        self.bus.write(self.ring + dma_engine.STATUS_OFFSET, status.to_bytes(8, "little"))
        if self.msi and (reached := self.bus.message(self.msi)) is not None:
            self.interrupt(reached)

    def misbehave(self) -> None:
        """Write to the last buffer and to the command page again, whoever owns them now."""
        if self.last_buffer is not None:
            address, size = self.last_buffer
            self.bus.write(address, b"\xee" * size)
        self.bus.write(self.ring, b"\xee" * dma_engine.COMMAND_SIZE)


def _low_half(address: DmaAddr, value: int) -> DmaAddr:
    """Which address is it once its low register has been written?"""
    return DmaAddr(address & ~0xFFFF_FFFF | value)


def _high_half(address: DmaAddr, value: int) -> DmaAddr:
    """Which address is it once its high register has been written?"""
    return DmaAddr(address & 0xFFFF_FFFF | value << 32)
