"""What does an emulated virtio-net device do with a frame? (VIRTIO 1.2, 5.1)

No offloads: each frame is one Ethernet frame behind a header that says nothing. A frame from the
wire waits until the guest has given a buffer, as on any network card; beyond `WAITING` of them
they are lost.
"""

from __future__ import annotations

import socket
from collections import deque

from topbit.arch import virtio
from topbit.vmm.virtio.virtqueue import Buffer, Virtqueue, VirtqueueError

RECEIVE, TRANSMIT = 0, 1
MAX_FRAME = 1518  # Ethernet with a VLAN tag, without the check sequence
WAITING = 512
_HEADER = bytes(virtio.NET_HEADER_SIZE - 2) + b"\1\0"  # num_buffers = 1


class VirtioNet:
    """A network card whose wire is a datagram socket: one datagram, one frame.

    Args:
        wire: a connected datagram socket; made non-blocking.
        mac: its address, 6 bytes.

    Attributes:
        lost: frames that neither side could take.
    """

    device_id = virtio.ID_NET
    queues = 2
    features = 1 << virtio.VIRTIO_NET_F_MAC

    def __init__(self, wire: socket.socket, mac: bytes) -> None:
        wire.setblocking(False)
        self.wire = wire
        self.mac = mac
        self.lost = 0
        self._waiting: deque[bytes] = deque()

    def config(self) -> bytes:
        """Which MAC address has it?"""
        return self.mac

    def fetch(self) -> int | None:
        """Take what has come over the wire. Which queue has work now?"""
        for _ in range(WAITING):
            try:
                frame = self.wire.recv(MAX_FRAME + 1)
            except OSError:  # nothing more, or the other end is gone
                break
            if len(frame) > MAX_FRAME or len(self._waiting) >= WAITING:
                self.lost += 1
            elif frame:
                self._waiting.append(frame)
        return RECEIVE if self._waiting else None

    def serve(self, index: int, queue: Virtqueue) -> int:
        """Send what is available, or fill what is available with frames; returns how many.

        Raises:
            VirtqueueError: a ring or buffer that makes no sense.
            DmaError: DMA refused one.
        """
        done = 0
        limit = None if index == TRANSMIT else len(self._waiting)
        for head, chain in queue.chains(limit):
            if index == TRANSMIT:
                self._send(queue, chain)
                written = 0
            else:
                written = _receive(queue, chain, _HEADER + self._waiting.popleft())
            queue.complete(head, written)
            done += 1
        return done

    def _send(self, queue: Virtqueue, chain: list[Buffer]) -> None:
        if any(buffer.writable for buffer in chain):
            raise VirtqueueError("a frame to send with a buffer to write")
        size = sum(buffer.size for buffer in chain)
        if not 0 < size - virtio.NET_HEADER_SIZE <= MAX_FRAME:
            self.lost += 1
            return
        data = b"".join(queue.dma.read(buffer.address, buffer.size) for buffer in chain)
        try:
            self.wire.send(data[virtio.NET_HEADER_SIZE :])
        except OSError:  # it takes no more at present, or is gone
            self.lost += 1


def _receive(queue: Virtqueue, chain: list[Buffer], data: bytes) -> int:
    """Put a frame with its header into one chain; returns how many bytes were written."""
    if sum(buffer.size for buffer in chain) < len(data):
        raise VirtqueueError("a buffer to receive is smaller than a frame")
    start = 0
    for buffer in chain:
        if not buffer.writable:
            raise VirtqueueError("a buffer to receive that the device may not write")
        part = data[start : start + buffer.size]
        if part:
            queue.dma.write(buffer.address, part)
        start += len(part)
    return len(data)
