"""One emulated virtio device on shared memory, and a driver's writes by hand."""

from __future__ import annotations

import struct

from topbit.arch.ipa import IpaSpace
from topbit.arch.virtio import Mmio
from topbit.events import Event
from topbit.memory import PhysicalMemory
from topbit.rmm import Granules
from topbit.vmm.dma import EmulatedDma
from topbit.vmm.policy import VmmPolicy
from topbit.vmm.slots import MemorySlot
from topbit.vmm.virtio.mmio import Backend, VirtioMmio

SPACE = IpaSpace(41)
RAM, SIZE, S = 0x4000_0000, 1 << 20, SPACE.shared_bit
RING, DATA = RAM + 0x1000, RAM + 0x4000
RING_STEP, SLOTS = 0x400, 8  # from one queue's areas to the next one's; entries of each
NEXT, WRITE = 1, 2


class DeviceBench:
    def __init__(self, backend: Backend, policy: VmmPolicy | None = None) -> None:
        self.memory = PhysicalMemory(RAM, SIZE)
        self.slot = MemorySlot(RAM, SIZE, RAM, RAM)
        self.slot.shared[:] = True
        self.events: list[Event] = []
        self.levels: list[bool] = []
        granules = Granules(self.memory)
        self.dma = EmulatedDma(
            "virtio0",
            self.memory,
            [self.slot],
            SPACE,
            policy or VmmPolicy(),
            granules.check,
            self.events.append,
        )
        self.mmio = VirtioMmio(backend, self.dma, self.levels.append)
        self.available = [0] * backend.queues

    def start(self, ring: int = RING | S) -> None:
        write = self.mmio.write_register
        write(Mmio.Status, 3)
        write(Mmio.DriverFeaturesSel, 1)
        write(Mmio.DriverFeatures, 3)
        for index in range(len(self.available)):
            write(Mmio.QueueSel, index)
            write(Mmio.QueueNum, SLOTS)
            at = ring + index * RING_STEP
            for register, area in (
                (Mmio.QueueDescLow, at),
                (Mmio.QueueDriverLow, at + 0x100),
                (Mmio.QueueDeviceLow, at + 0x200),
            ):
                write(register, area & 0xFFFF_FFFF)
                write(register + 4, area >> 32)
            write(Mmio.QueueReady, 1)
        write(Mmio.Status, 15)

    def offer(self, queue: int, *buffers: tuple[int, int, int], flags: int = 0) -> None:
        """Put one chain of (address, size, flags) on the ring and notify. `flags`: avail.flags."""
        ring, count = RING + queue * RING_STEP, self.available[queue]
        first = count * 4 % SLOTS
        for i, (address, size, how) in enumerate(buffers):
            more = NEXT if i + 1 < len(buffers) else 0
            entry = struct.pack("<QIHH", address, size, how | more, first + i + 1)
            self.memory.write(ring + 16 * (first + i), entry)
        self.memory.write(ring + 0x104 + 2 * (count % SLOTS), struct.pack("<H", first))
        self.available[queue] = count + 1
        self.memory.write(ring + 0x100, struct.pack("<HH", flags, count + 1))
        self.mmio.write_register(Mmio.QueueNotify, queue)

    def used(self, queue: int) -> list[int]:
        """How many bytes did the device write into each chain?"""
        ring = self.memory.read(RING + queue * RING_STEP + 0x200, 4 + 8 * SLOTS)
        count = int.from_bytes(ring[2:4], "little")
        return [struct.unpack_from("<II", ring, 4 + 8 * i)[1] for i in range(count)]
