"""How does the guest drive the model's own DMA engine (`devices/engine.py`)?

One command at a time in a page of coherent memory: the driver stores a command, rings the
doorbell, and reads the status that the device stored. Layout: `arch/engine.py`.
"""

from __future__ import annotations

import struct

from topbit.arch import engine
from topbit.linux.block import RegisterPort
from topbit.linux.device import Device
from topbit.linux.kernel import Kernel


class EngineRing:
    """The command page between an engine and its driver."""

    def __init__(self, kernel: Kernel, device: Device, port: RegisterPort) -> None:
        self.kernel = kernel
        self.device = device
        self.port = port
        self.phys = 0
        self.dma_addr = 0

    def probe(self) -> bool:
        """Allocate the command page and tell the device where it is."""
        got = self.kernel.dma.dma_alloc_coherent(self.device, engine.COMMAND_PAGE)
        if got is None:
            return False
        self.phys, self.dma_addr = got
        self.port.write_register(engine.RING_LOW, self.dma_addr & 0xFFFF_FFFF)
        self.port.write_register(engine.RING_HIGH, self.dma_addr >> 32)
        return True

    def submit(self, dma_addr: int, size: int, sector: int, *, to_device: bool) -> bool:
        """Let the device move [dma_addr, +size). False: it reported no success."""
        opcode = engine.READ_MEMORY if to_device else engine.WRITE_MEMORY
        command = struct.pack(engine.COMMAND, opcode, size, dma_addr, sector, engine.PENDING)
        self.kernel.memory.write(self.phys, command)
        self.port.write_register(engine.DOORBELL, 1)
        status = self.kernel.memory.read(self.phys + engine.STATUS_OFFSET, 8)
        return int.from_bytes(status, "little") == engine.DONE

    def remove(self) -> None:
        """Give the command page back, as the driver's remove() does."""
        self.kernel.dma.dma_free_coherent(
            self.device, engine.COMMAND_PAGE, self.phys, self.dma_addr
        )
