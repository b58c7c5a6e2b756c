"""What does the model's DMA engine do with the commands that its driver gives it?

A disk with one command page (layout: `arch/dma_engine.py`). It masters the bus with exactly the
addresses that it was given, cut to the address lines it has.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass

from topbit.arch import dma_engine
from topbit.arch.gpt import PAS
from topbit.events import Emit, Event
from topbit.rmm.granules import Granules
from topbit.smmu.outcome import Fault, Ok, Outcome
from topbit.smmu.smmu import Smmu

SECTOR = 512
MSI_BYTES = 4
U64 = (1 << 64) - 1


@dataclass(slots=True)
class BusPort:
    """How does a device reach memory: through the SMMU, with its StreamID.

    Attributes:
        name: device name in events.
        sid: StreamID.
        smmu: the SMMU it sits behind.
        granules: tells what stands at an address that it reached.
        address_bits: number of address lines; higher bits of an address are lost.
        bus_offset: what its bus adds to every address on the way to the SMMU (dma-ranges).
        wild_bits: bits that a broken device sets in every address.
        trusted: its accesses carry T = 1 (accepted through TDISP).
        emit: takes the "access" events.
    """

    name: str
    sid: int
    smmu: Smmu
    granules: Granules
    emit: Emit
    address_bits: int = 64
    bus_offset: int = 0
    wild_bits: int = 0
    trusted: bool = False

    def read(self, address: int, size: int) -> bytes | None:
        """Which bytes does the device read? None: the bus aborted."""
        address = self._driven(address)
        data, outcome = self.smmu.read(self.sid, address, size, realm=self.trusted)
        self._report(address, size, "r", outcome)
        return data if isinstance(outcome, Ok) else None

    def write(self, address: int, data: bytes) -> bool:
        """Store bytes. False: the bus aborted, perhaps after some of them."""
        address = self._driven(address)
        _, outcome = self.smmu.write(self.sid, address, data, realm=self.trusted)
        self._report(address, len(data), "w", outcome)
        return isinstance(outcome, Ok)

    def message(self, address: int) -> int | None:
        """Which physical address does a message-signalled interrupt reach? None: none."""
        outcome = self.smmu.access(self.sid, address, MSI_BYTES, True, realm=self.trusted)
        self._report(address, MSI_BYTES, "w", outcome)
        return outcome.pa if isinstance(outcome, Ok) else None

    def _driven(self, address: int) -> int:
        """Which address arrives at the SMMU for one that the driver gave?"""
        driven = (address | self.wild_bits) & ((1 << self.address_bits) - 1)
        return driven + self.bus_offset & U64

    def _report(self, address: int, size: int, direction: str, outcome: Outcome) -> None:
        status, reached, pa = "ok", None, None
        if isinstance(outcome, Ok):
            pa = outcome.pa
            if self.smmu.memory.contains(pa):
                reached = "shared" if self.granules.pas(pa) is PAS.NS else "private"
        elif isinstance(outcome, Fault):
            status = outcome.event.name
        else:
            status = "GPF" if outcome.reason == "gpf" else "terminated"
            pa = outcome.pa
            reached = "private" if outcome.reason == "gpf" else None
        self.emit(
            Event(
                "device",
                "access",
                device=self.name,
                sid=self.sid,
                address=address,
                size=size,
                direction=direction,
                status=status,
                pa=pa,
                attrs=reached,
                detail="T=1" if self.trusted else None,
            )
        )


class DmaEngine:
    """A disk that masters the bus.

    Args:
        bus: how it reaches memory.
        medium: the disk's content; what the outside world sees.
        interrupt: takes the physical address that each of its interrupts reached.
    """

    def __init__(
        self, bus: BusPort, medium: bytearray, interrupt: Callable[[int], None] = lambda pa: None
    ) -> None:
        self.bus = bus
        self.medium = medium
        self.interrupt = interrupt
        self.ring = 0
        self.msi = 0
        self.last_buffer: tuple[int, int] | None = None

    def read_register(self, offset: int) -> int:
        """Which 32-bit value stands at `offset`? The device shows nothing."""
        return 0

    def write_register(self, offset: int, value: int) -> None:
        """Take a register write; a doorbell runs the command before this returns."""
        if offset == dma_engine.RING_LOW:
            self.ring = (self.ring & ~0xFFFF_FFFF) | value
        elif offset == dma_engine.RING_HIGH:
            self.ring = (self.ring & 0xFFFF_FFFF) | value << 32
        elif offset == dma_engine.MSI_LOW:
            self.msi = (self.msi & ~0xFFFF_FFFF) | value
        elif offset == dma_engine.MSI_HIGH:
            self.msi = (self.msi & 0xFFFF_FFFF) | value << 32
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
