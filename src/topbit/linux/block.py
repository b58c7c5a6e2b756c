"""How does a block driver move data with a device?

The driver maps its buffer, lets a transport hand the request to the device, and unmaps. The
transports differ only in the ring that they put the request in: `engine.py` for the model's
assigned devices, `virtio_ring.py` for emulated virtio-blk.
"""

from __future__ import annotations

from typing import Protocol

from topbit.addressing.dma_direct import DMA_MAPPING_ERROR
from topbit.arch.ipa import DmaAddr, Ipa
from topbit.linux.device import Device
from topbit.linux.dma_attrs import FROM_DEVICE, TO_DEVICE
from topbit.linux.kernel import Kernel
from topbit.linux.pageattr import PAGE_SIZE


class RegisterPort(Protocol):
    """A device's registers, as the guest's CPU reaches them."""

    def read_register(self, offset: int) -> int:
        """Which 32-bit value stands at `offset`?"""
        ...

    def write_register(self, offset: int, value: int) -> None:
        """Store a 32-bit value at `offset`; the device acts before this returns."""
        ...


class Transport(Protocol):
    """A ring between driver and device."""

    def probe(self) -> bool:
        """Set the ring up. False: no memory that the device can drive."""
        ...

    def submit(self, dma_addr: DmaAddr, size: int, sector: int, *, to_device: bool) -> bool:
        """Let the device move [dma_addr, +size) to or from `sector`. False: it failed."""
        ...

    def remove(self) -> None:
        """Give the ring back."""
        ...


class BlockDriver:
    """A disk of the guest.

    - `probe()` once;
    - `write(sector, data)` and `read(sector, size)` map, submit, unmap;
    - `status` says how the last call ended: "ok", "probe failed", "map failed", "io error".
    """

    def __init__(self, kernel: Kernel, device: Device, transport: Transport) -> None:
        self.kernel = kernel
        self.device = device
        self.transport = transport
        self.status = "ok"

    def probe(self) -> bool:
        """Can the disk be used?"""
        if not self.transport.probe():
            self.status = "probe failed"
            self.kernel.warn("device_given_up", self.device.name, "probe failed with error -12")
            return False
        return True

    def write(self, sector: int, data: bytes) -> bool:
        """Write `data` to the disk. False: see `status`."""
        buffer = self._buffer(len(data))
        self.kernel.memory.write(buffer, data)
        done = self._transfer(buffer, len(data), sector, TO_DEVICE)
        self._release(buffer, len(data))
        return done

    def read(self, sector: int, size: int) -> bytes | None:
        """Which `size` bytes does the guest see at `sector`? None: see `status`."""
        buffer = self._buffer(size)
        done = self._transfer(buffer, size, sector, FROM_DEVICE)
        data = self.kernel.memory.read(buffer, size) if done else None
        self._release(buffer, size)
        return data

    def _buffer(self, size: int) -> Ipa:
        phys = self.kernel.alloc_pages(-(-size // PAGE_SIZE))
        if phys is None:
            raise MemoryError("the modelled guest is out of memory")
        return phys

    def _release(self, buffer: Ipa, size: int) -> None:
        self.kernel.free_pages(buffer, -(-size // PAGE_SIZE))

    def _transfer(self, buffer: Ipa, size: int, sector: int, direction: str) -> bool:
        dma = self.kernel.dma
        dma_addr = dma.dma_map_phys(self.device, buffer, size, direction)
        if dma_addr == DMA_MAPPING_ERROR:
            self.status = "map failed"
            return False
        done = self.transport.submit(dma_addr, size, sector, to_device=direction == TO_DEVICE)
        dma.dma_unmap_phys(self.device, dma_addr, size, direction)
        self.status = "ok" if done else "io error"
        if not done:
            self.kernel.warn("io_failed", self.device.name, f"I/O error, sector {sector}")
        return done
