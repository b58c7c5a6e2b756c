"""What do the registers of an emulated virtio-mmio device answer? (VIRTIO 1.2, 4.2)

Any offset, width and value may come from a hostile guest: what makes no sense reads as zero and is
ignored when written.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable
from typing import Protocol

from topbit.arch import virtio
from topbit.arch.virtio import Mmio, Status
from topbit.vmm.dma import DmaError, EmulatedDma
from topbit.vmm.virtio.virtqueue import QUEUE_NUM_MAX, Virtqueue, VirtqueueError

FEATURES = 1 << virtio.VIRTIO_F_VERSION_1 | 1 << virtio.VIRTIO_F_ACCESS_PLATFORM
USED_BUFFER, CONFIG_CHANGE = 1, 2
PAGE = 4096
_U32 = struct.Struct("<I")
_NOTIFY, _ACK, _ISR = int(Mmio.QueueNotify), int(Mmio.InterruptACK), int(Mmio.InterruptStatus)
# Registers whose value follows from what the driver writes.
_CHANGING = tuple(
    map(
        int,
        (
            Mmio.DeviceFeatures,
            Mmio.QueueNumMax,
            Mmio.QueueReady,
            Mmio.InterruptStatus,
            Mmio.Status,
        ),
    )
)
VENDOR = int.from_bytes(b"tpbt", "little")


class Backend(Protocol):
    """What stands behind the transport?"""

    device_id: int
    queues: int
    features: int  # of the device type, besides the transport's `FEATURES`

    def config(self) -> bytes:
        """Which bytes has the device-specific configuration space?"""
        ...

    def serve(self, index: int, queue: Virtqueue) -> int:
        """Serve what is available on queue `index`. Returns how many chains were completed.

        Raises:
            VirtqueueError: the ring makes no sense.
            DmaError: the driver gave an address that the device may not use.
        """
        ...


class VirtioMmio:
    """One virtio-mmio device: registers, queues, interrupt line.

    Args:
        backend: the device proper.
        dma: how it reaches guest memory.
        interrupt: called with the new level of the interrupt line.
        page: 4 KiB that always show what a read of the registers gives, if the guest is to read
            them without a trap; it must not be able to write there.
    """

    def __init__(
        self,
        backend: Backend,
        dma: EmulatedDma,
        interrupt: Callable[[bool], None],
        page: memoryview | None = None,
    ) -> None:
        self.backend = backend
        self.dma = dma
        self.interrupt = interrupt
        self.page = page
        self.error = ""
        self.offered = FEATURES | backend.features
        self.reset()
        self._show(range(0, PAGE, 4))

    def reset(self) -> None:
        """Go back to the state after power-on."""
        self.status = 0
        self.features = 0
        self.select = {Mmio.DeviceFeaturesSel: 0, Mmio.DriverFeaturesSel: 0, Mmio.QueueSel: 0}
        self.pending = 0
        self.queues = [Virtqueue(self.dma) for _ in range(self.backend.queues)]
        self.interrupt(False)
        self._show(_CHANGING)

    def _queue(self) -> Virtqueue | None:
        index = self.select[Mmio.QueueSel]
        return self.queues[index] if index < len(self.queues) else None

    def read_register(self, offset: int) -> int:
        """Which 32-bit value does the driver read at `offset`?"""
        queue = self._queue()
        half = self.select[Mmio.DeviceFeaturesSel]
        answers = {
            Mmio.MagicValue: virtio.MMIO_MAGIC,
            Mmio.Version: virtio.MMIO_VERSION,
            Mmio.DeviceID: self.backend.device_id,
            Mmio.VendorID: VENDOR,
            Mmio.DeviceFeatures: (self.offered >> 32 * half) & 0xFFFF_FFFF if half < 2 else 0,
            Mmio.QueueNumMax: QUEUE_NUM_MAX if queue else 0,
            Mmio.QueueReady: int(queue.ready) if queue else 0,
            Mmio.InterruptStatus: self.pending,
            Mmio.Status: self.status,
        }
        if offset >= Mmio.Config:
            data = self.backend.config()[offset - Mmio.Config : offset - Mmio.Config + 4]
            return int.from_bytes(data, "little")
        return answers.get(offset, 0)  # type: ignore[call-overload, no-any-return]

    def _show(self, offsets: Iterable[int]) -> None:
        """Let the page have the present values of the registers at `offsets`."""
        if self.page is not None:
            for offset in offsets:
                _U32.pack_into(self.page, offset, self.read_register(offset))

    def write_register(self, offset: int, value: int) -> None:
        """Take a 32-bit value that the driver stores at `offset`."""
        value &= 0xFFFF_FFFF
        if offset == _NOTIFY:
            self.serve(value)
        elif offset == _ACK:
            self._set_pending(self.pending & ~value)
            self.interrupt(bool(self.pending))
        else:
            self._configure(offset, value)
            self._show(_CHANGING)

    def _configure(self, offset: int, value: int) -> None:
        queue = self._queue()
        if offset in self.select:
            self.select[Mmio(offset)] = value
        elif offset == Mmio.DriverFeatures:
            half = self.select[Mmio.DriverFeaturesSel]
            if half < 2:
                others = self.features & ~(0xFFFF_FFFF << 32 * half)
                self.features = others | value << 32 * half
        elif offset == Mmio.Status:
            self._set_status(value)
        elif queue is not None:
            self._set_queue(queue, offset, value)

    def _set_status(self, value: int) -> None:
        if value == 0:
            self.reset()
            return
        unknown = self.features & ~self.offered
        wanted = 1 << virtio.VIRTIO_F_ACCESS_PLATFORM
        if value & Status.FEATURES_OK and (unknown or not self.features & wanted):
            value &= ~Status.FEATURES_OK
        self.status = value | (self.status & Status.NEEDS_RESET)

    def _set_queue(self, queue: Virtqueue, offset: int, value: int) -> None:
        areas = {
            Mmio.QueueDescLow: "desc",
            Mmio.QueueDriverLow: "avail",
            Mmio.QueueDeviceLow: "used",
        }
        if offset == Mmio.QueueNum:
            if 0 < value <= QUEUE_NUM_MAX and value & (value - 1) == 0:
                queue.size = value
        elif offset == Mmio.QueueReady:
            queue.ready = bool(value & 1)
        elif offset & ~4 in areas:
            area = areas[Mmio(offset & ~4)]
            shift = 32 if offset & 4 else 0
            old = getattr(queue, area) & ~(0xFFFF_FFFF << shift)
            setattr(queue, area, old | value << shift)

    def serve(self, index: int) -> None:
        """Serve queue `index`: the driver notified it, or the device has something for it."""
        if index >= len(self.queues) or self.status & Status.NEEDS_RESET:
            return
        queue = self.queues[index]
        if not queue.ready or not self.status & Status.DRIVER_OK:
            return
        try:
            interrupt = self.backend.serve(index, queue) and queue.wants_interrupt()
        except (VirtqueueError, DmaError) as error:
            self.error = str(error)
            self.status |= Status.NEEDS_RESET
            self._show(_CHANGING)
            self._interrupt(CONFIG_CHANGE)
            return
        if interrupt:
            self._interrupt(USED_BUFFER)

    def _interrupt(self, reason: int) -> None:
        self._set_pending(self.pending | reason)
        self.interrupt(True)

    def _set_pending(self, pending: int) -> None:
        self.pending = pending
        if self.page is not None:
            _U32.pack_into(self.page, _ISR, pending)
