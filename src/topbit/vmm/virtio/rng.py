"""What does an emulated virtio-rng device answer? (VIRTIO 1.2, 5.4 "Entropy Device")"""

from __future__ import annotations

import os

from topbit.arch import virtio
from topbit.vmm.virtio.virtqueue import Buffer, Virtqueue, VirtqueueError

MAX_BUFFER = 64 << 10  # bytes of one request that are filled; the driver is told how many


class VirtioRng:
    """Random bytes of the host's operating system."""

    device_id = virtio.ID_ENTROPY
    queues = 1
    features = 0

    def config(self) -> bytes:
        """Which configuration has it? None."""
        return b""

    def serve(self, index: int, queue: Virtqueue) -> int:
        """Fill all available buffers; returns how many.

        Raises:
            VirtqueueError: a ring or buffer that makes no sense.
            DmaError: DMA refused one.
        """
        done = 0
        for head, chain in queue.chains():
            queue.complete(head, _fill(queue, chain))
            done += 1
        return done


def _fill(queue: Virtqueue, chain: list[Buffer]) -> int:
    filled = 0
    for buffer in chain:
        if not buffer.writable:
            raise VirtqueueError("a buffer for random bytes that the device may not write")
        size = min(buffer.size, MAX_BUFFER - filled)
        if size:
            queue.dma.write(buffer.address, os.urandom(size))
            filled += size
    return filled
