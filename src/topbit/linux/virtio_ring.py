"""How does the guest drive a virtio-blk device over MMIO?

Facts: Linux 7.2 drivers/virtio/virtio_ring.c (split ring in coherent memory; request buffers
through the DMA API because VIRTIO_F_ACCESS_PLATFORM is negotiated), drivers/block/virtio_blk.c
(header, data, one status byte), drivers/virtio/virtio_mmio.c. Layout: `arch/virtio.py`.
"""

from __future__ import annotations

import struct

from topbit.addressing.dma_direct import DMA_MAPPING_ERROR
from topbit.arch import virtio
from topbit.arch.ipa import DmaAddr, Ipa
from topbit.arch.virtio import BlkStatus, BlkType, Mmio, Status
from topbit.linux.block import RegisterPort
from topbit.linux.device import Device
from topbit.linux.dma_attrs import FROM_DEVICE, TO_DEVICE
from topbit.linux.kernel import Kernel

QUEUE_SIZE = 8
RING_BYTES = 4096


class VirtioBlkRing:
    """One split virtqueue of a virtio-blk device."""

    def __init__(self, kernel: Kernel, device: Device, port: RegisterPort) -> None:
        self.kernel = kernel
        self.device = device
        self.port = port
        self.ring = Ipa(0)
        self.dma_addr = DmaAddr(0)
        self.scratch = Ipa(0)
        self.index = 0

    def probe(self) -> bool:
        """Negotiate, allocate the ring and hand its three addresses to the device."""
        port = self.port
        port.write_register(Mmio.Status, Status.ACKNOWLEDGE | Status.DRIVER)
        features = 1 << virtio.VIRTIO_F_VERSION_1 | 1 << virtio.VIRTIO_F_ACCESS_PLATFORM
        port.write_register(Mmio.DriverFeaturesSel, 1)
        port.write_register(Mmio.DriverFeatures, features >> 32)
        got = self.kernel.dma.dma_alloc_coherent(self.device, RING_BYTES)
        scratch = self.kernel.alloc_pages(1)
        if got is None or scratch is None:
            return False
        self.ring, self.dma_addr = got
        self.scratch = scratch
        port.write_register(Mmio.QueueSel, 0)
        port.write_register(Mmio.QueueNum, QUEUE_SIZE)
        for register, offset in (
            (Mmio.QueueDescLow, 0),
            (Mmio.QueueDriverLow, self._avail),
            (Mmio.QueueDeviceLow, self._used),
        ):
            port.write_register(register, (self.dma_addr + offset) & 0xFFFF_FFFF)
            port.write_register(register + 4, (self.dma_addr + offset) >> 32)
        port.write_register(Mmio.QueueReady, 1)
        port.write_register(
            Mmio.Status,
            Status.ACKNOWLEDGE | Status.DRIVER | Status.FEATURES_OK | Status.DRIVER_OK,
        )
        return True

    @property
    def _avail(self) -> int:
        return QUEUE_SIZE * virtio.DESC_SIZE

    @property
    def _used(self) -> int:
        return 1024

    def submit(self, dma_addr: DmaAddr, size: int, sector: int, *, to_device: bool) -> bool:
        """Put one request on the ring and notify. False: the device reported no success."""
        memory, dma, device = self.kernel.memory, self.kernel.dma, self.device
        kind = BlkType.OUT if to_device else BlkType.IN
        status_at = self.scratch + 64
        memory.write(self.scratch, struct.pack("<IIQ", kind, 0, sector))
        memory.write(status_at, b"\xff")
        header = dma.dma_map_phys(device, self.scratch, virtio.BLK_HEADER_SIZE, TO_DEVICE)
        status = dma.dma_map_phys(device, status_at, 1, FROM_DEVICE)
        if DMA_MAPPING_ERROR in (header, status):
            return False
        write = 0 if to_device else virtio.DESC_F_WRITE
        descriptors = (
            (header, virtio.BLK_HEADER_SIZE, virtio.DESC_F_NEXT, 1),
            (dma_addr, size, virtio.DESC_F_NEXT | write, 2),
            (status, 1, virtio.DESC_F_WRITE, 0),
        )
        table = b"".join(struct.pack("<QIHH", *d) for d in descriptors)
        memory.write(self.ring, table)
        slot = self.ring + self._avail + virtio.AVAIL_HEADER + 2 * (self.index % QUEUE_SIZE)
        memory.write(slot, struct.pack("<H", 0))
        self.index = (self.index + 1) & 0xFFFF
        memory.write(self.ring + self._avail + 2, struct.pack("<H", self.index))
        self.port.write_register(Mmio.QueueNotify, 0)
        dma.dma_unmap_phys(device, header, virtio.BLK_HEADER_SIZE, TO_DEVICE)
        dma.dma_unmap_phys(device, status, 1, FROM_DEVICE)
        if self.port.read_register(Mmio.Status) & Status.NEEDS_RESET:
            return False
        used = int.from_bytes(memory.read(self.ring + self._used + 2, 2), "little")
        return used == self.index and memory.read(status_at, 1)[0] == BlkStatus.OK

    def remove(self) -> None:
        """Reset the device and give the ring back, as the driver's remove() does."""
        self.port.write_register(Mmio.Status, 0)
        self.kernel.dma.dma_free_coherent(self.device, RING_BYTES, self.ring, self.dma_addr)
