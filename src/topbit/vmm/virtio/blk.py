"""What does an emulated virtio-blk disk do with a request? (VIRTIO 1.2, 5.2)"""

from __future__ import annotations

import mmap
import struct

from topbit.arch import virtio
from topbit.arch.virtio import BlkStatus, BlkType
from topbit.vmm.virtio.virtqueue import Buffer, Virtqueue, VirtqueueError

MAX_REQUEST = 16 << 20
SEG_MAX = 254  # of a queue's 256 descriptors, less header and status


class VirtioBlk:
    """A disk in the VMM's memory.

    Attributes:
        image: the disk's content; what the outside world sees.
    """

    device_id = virtio.ID_BLOCK
    queues = 1
    features = 1 << virtio.VIRTIO_BLK_F_SEG_MAX

    def __init__(self, image: bytearray | mmap.mmap) -> None:
        self.image = image
        self._bytes = memoryview(image)

    def config(self) -> bytes:
        """Which are the capacity in sectors, size_max (not offered) and seg_max?"""
        return struct.pack("<QII", len(self.image) // virtio.SECTOR, 0, SEG_MAX)

    def serve(self, index: int, queue: Virtqueue) -> int:
        """Serve all available requests; returns how many.

        Raises:
            VirtqueueError: a ring, header or status byte that makes no sense.
            DmaError: DMA refused one.
        """
        done = 0
        for head, chain in queue.chains():
            queue.complete(head, self._request(queue, chain))
            done += 1
        return done

    def _request(self, queue: Virtqueue, chain: list[Buffer]) -> int:
        if len(chain) < 2 or chain[0].size < virtio.BLK_HEADER_SIZE or chain[0].writable:
            raise VirtqueueError("a block request needs a header to read and a status to write")
        if not chain[-1].writable or chain[-1].size < 1:
            raise VirtqueueError("the last buffer of a block request is not a status to write")
        kind, _, sector = struct.unpack("<IIQ", queue.dma.read(chain[0].address, 16))
        status, written = self._transfer(queue, kind, sector * virtio.SECTOR, chain[1:-1])
        queue.dma.write(chain[-1].address, bytes([status]))
        return written + 1

    def _transfer(
        self, queue: Virtqueue, kind: int, at: int, buffers: list[Buffer]
    ) -> tuple[int, int]:
        total = sum(buffer.size for buffer in buffers)
        if kind == BlkType.FLUSH:
            return BlkStatus.OK, 0
        if kind not in (BlkType.IN, BlkType.OUT):
            return BlkStatus.UNSUPP, 0
        if total > MAX_REQUEST or at + total > len(self.image):
            return BlkStatus.IOERR, 0
        for buffer in buffers:
            if buffer.writable != (kind == BlkType.IN):
                return BlkStatus.IOERR, 0
            if kind == BlkType.IN:
                window = queue.dma.window(buffer.address, buffer.size, "w")
                window[:] = self._bytes[at : at + buffer.size]
            else:
                window = queue.dma.window(buffer.address, buffer.size, "r")
                self._bytes[at : at + buffer.size] = window
            at += buffer.size
        return BlkStatus.OK, total if kind == BlkType.IN else 0
