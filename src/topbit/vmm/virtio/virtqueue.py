"""Which requests did the guest put on a split virtqueue? (VIRTIO 1.2, 2.7)

Everything in the ring is untrusted: indices, lengths, flags and addresses. A chain that loops or
an index out of range is a `VirtqueueError`, an address that DMA refuses a `DmaError`: both end the
device, never the VMM.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from topbit.arch import virtio
from topbit.arch.ipa import DmaAddr
from topbit.errors import PlatformFault
from topbit.vmm.dma import EmulatedDma

QUEUE_NUM_MAX = 256
NOT_SET = DmaAddr(0)
AREAS = 3  # descriptors, available, used
FEW = 8
"""Descriptors that are looked at one by one: to begin with the others at once takes as long."""
_DESCRIPTOR = np.dtype([("address", "<u8"), ("size", "<u4"), ("flags", "<u2"), ("next", "<u2")])
_U16, _DESC, _USED = struct.Struct("<H"), struct.Struct("<QIHH"), struct.Struct("<II")


class VirtqueueError(PlatformFault):
    """What is wrong with the ring? The device then needs a reset."""


class Buffer(NamedTuple):
    """One descriptor of a chain.

    Attributes:
        address: DMA address as the guest gave it.
        size: bytes.
        writable: the device writes it.
    """

    address: DmaAddr
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
    desc: DmaAddr = NOT_SET
    avail: DmaAddr = NOT_SET
    used: DmaAddr = NOT_SET
    ready: bool = False
    next_avail: int = 0
    next_used: int = 0
    _recorded: set[tuple[DmaAddr, int, str]] = field(default_factory=set)

    def chains(self, limit: int | None = None) -> Iterator[tuple[int, list[Buffer]]]:
        """Which chains are available, at most `limit` of them: (head, buffers)?

        Raises:
            VirtqueueError: the ring makes no sense.
            DmaError: DMA refused it.
        """
        ring = self._area(self.avail, virtio.AVAIL_HEADER + 2 * self.size, "r")
        (available,) = _U16.unpack_from(ring, 2)
        waiting = (available - self.next_avail) & 0xFFFF
        if waiting > self.size:
            raise VirtqueueError(f"avail.idx {available} is more than a ring ahead")
        if limit is not None:
            waiting = min(waiting, limit)
        if not waiting:
            return
        table = self._area(self.desc, virtio.DESC_SIZE * self.size, "r")
        for _ in range(waiting):
            slot = virtio.AVAIL_HEADER + 2 * (self.next_avail % self.size)
            (head,) = _U16.unpack_from(ring, slot)
            self.next_avail = (self.next_avail + 1) & 0xFFFF
            yield head, self._chain(table, head)

    def _area(self, address: DmaAddr, size: int, direction: str) -> memoryview:
        """Which bytes are this area of the ring? Recorded once: it is used at each turn."""
        area = address, size, direction
        window = self.dma.window(*area, again=area in self._recorded)
        if area not in self._recorded:
            if len(self._recorded) == AREAS:  # the driver has moved one
                self._recorded.clear()
            self._recorded.add(area)
        return window

    def _chain(self, table: memoryview, head: int) -> list[Buffer]:
        """Which buffers has the chain? In a long one, those behind the first few that adjoin are
        told as one, but for the last: a device may not count on the driver's framing (2.7.4)."""
        buffers: list[Buffer] = []
        index = head
        while True:
            if index >= self.size or len(buffers) >= self.size:
                raise VirtqueueError(f"descriptor chain from {head} leaves the table or loops")
            address, size, flags, following = _DESC.unpack_from(table, virtio.DESC_SIZE * index)
            buffers.append(Buffer(address, size, bool(flags & virtio.DESC_F_WRITE)))
            if not flags & virtio.DESC_F_NEXT:
                return buffers
            if len(buffers) == FEW and (others := self._in_a_row(table, following)):
                return buffers + others
            index = following

    def _in_a_row(self, table: memoryview, first: int) -> list[Buffer]:
        """Which buffers has the rest of a chain, if its descriptors stand one behind the other to
        its end? Else none."""
        rest = np.frombuffer(bytes(table), _DESCRIPTOR)[first:]
        goes_on = (rest["flags"] & virtio.DESC_F_NEXT) != 0
        in_a_row = goes_on & (rest["next"] == np.arange(first + 1, first + 1 + len(rest)))
        if in_a_row.all() or goes_on[last := int(np.argmin(in_a_row))]:
            return []
        rest = rest[: last + 1]
        address, size = rest["address"], rest["size"].astype(np.uint64)
        writable = (rest["flags"] & virtio.DESC_F_WRITE) != 0
        apart = (address[1:] != address[:-1] + size[:-1]) | (writable[1:] != writable[:-1])
        apart[-1:] = True
        begin = np.flatnonzero(np.concatenate(([True], apart)))
        sizes = np.add.reduceat(size, begin)
        found = address[begin].tolist(), sizes.tolist(), writable[begin].tolist()
        return [Buffer(*one) for one in zip(*found, strict=True)]

    def wants_interrupt(self) -> bool:
        """Does the driver want to hear of what was completed?

        Raises:
            DmaError: DMA refused the ring.
        """
        ring = self._area(self.avail, virtio.AVAIL_HEADER + 2 * self.size, "r")
        (flags,) = _U16.unpack_from(ring)
        return not flags & virtio.AVAIL_F_NO_INTERRUPT

    def complete(self, head: int, written: int) -> None:
        """Tell the driver that the chain is done and how many bytes the device wrote.

        Raises:
            DmaError: DMA refused the used ring.
        """
        size = virtio.USED_HEADER + virtio.USED_ELEM_SIZE * self.size
        ring = self._area(self.used, size, "w")
        slot = virtio.USED_HEADER + virtio.USED_ELEM_SIZE * (self.next_used % self.size)
        _USED.pack_into(ring, slot, head, written)
        self.next_used = (self.next_used + 1) & 0xFFFF
        _U16.pack_into(ring, 2, self.next_used)
