"""Which requests did the guest put on a split virtqueue? (VIRTIO 1.2, 2.7)

Everything in the ring is untrusted: indices, lengths, flags and addresses. A chain that loops, an
index out of range or an address that DMA refuses ends the queue with `VirtqueueError`, never the
VMM.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

from topbit.arch import virtio
from topbit.vmm.dma import DmaError, EmulatedDma

QUEUE_NUM_MAX = 256


class VirtqueueError(Exception):
    """What is wrong with the ring? The device then needs a reset."""


@dataclass(frozen=True, slots=True)
class Buffer:
    """One descriptor of a chain.

    Attributes:
        address: DMA address as the guest gave it.
        size: bytes.
        writable: the device writes it.
    """

    address: int
    size: int
    writable: bool


@dataclass(slots=True)
class Virtqueue:
    """One split virtqueue, device side.

    Attributes:
        dma: how the device reaches guest memory.
        size: number of descriptors.
        desc, avail, used: DMA addresses of the three areas.
        ready: the driver enabled it.
    """

    dma: EmulatedDma
    size: int = QUEUE_NUM_MAX
    desc: int = 0
    avail: int = 0
    used: int = 0
    ready: bool = False
    next_avail: int = 0
    next_used: int = 0

    def chains(self) -> Iterator[tuple[int, list[Buffer]]]:
        """Which chains are available: (head, buffers)?

        Raises:
            VirtqueueError: the ring makes no sense, or DMA refused it.
        """
        try:
            available = struct.unpack("<H", self.dma.read(self.avail + 2, 2))[0]
            if (available - self.next_avail) & 0xFFFF > self.size:
                raise VirtqueueError(f"avail.idx {available} is more than a ring ahead")
            while self.next_avail != available:
                slot = self.avail + virtio.AVAIL_HEADER + 2 * (self.next_avail % self.size)
                head = struct.unpack("<H", self.dma.read(slot, 2))[0]
                self.next_avail = (self.next_avail + 1) & 0xFFFF
                yield head, self._chain(head)
        except DmaError as error:
            raise VirtqueueError(str(error)) from error

    def _chain(self, head: int) -> list[Buffer]:
        buffers: list[Buffer] = []
        index = head
        while True:
            if index >= self.size or len(buffers) >= self.size:
                raise VirtqueueError(f"descriptor chain from {head} leaves the table or loops")
            raw = self.dma.read(self.desc + virtio.DESC_SIZE * index, virtio.DESC_SIZE)
            address, size, flags, following = struct.unpack("<QIHH", raw)
            buffers.append(Buffer(address, size, bool(flags & virtio.DESC_F_WRITE)))
            if not flags & virtio.DESC_F_NEXT:
                return buffers
            index = following

    def complete(self, head: int, written: int) -> None:
        """Tell the driver that the chain is done and how many bytes the device wrote.

        Raises:
            VirtqueueError: DMA refused the used ring.
        """
        try:
            slot = self.used + virtio.USED_HEADER
            slot += virtio.USED_ELEM_SIZE * (self.next_used % self.size)
            self.dma.write(slot, struct.pack("<II", head, written))
            self.next_used = (self.next_used + 1) & 0xFFFF
            self.dma.write(self.used + 2, struct.pack("<H", self.next_used))
        except DmaError as error:
            raise VirtqueueError(str(error)) from error
