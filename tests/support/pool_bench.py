"""A swiotlb on flat RAM, for a device to order."""

from __future__ import annotations

from topbit.addressing.dma_direct import DmaDevice
from topbit.events import Event
from topbit.linux.device import Device
from topbit.linux.pageattr import LinearMap
from topbit.linux.swiotlb import Growth, IoTlbMem
from topbit.machine.model.flat_cpu import FlatCpu

BASE, SIZE, POOL = 0x4000_0000, 4 << 20, 0x4030_0000
KIB, MIB = 1024, 1 << 20
ALL = (1 << 64) - 1


def device(min_align_mask: int = 0, seg_boundary_mask: int = ALL) -> Device:
    return Device(
        "nvme0",
        DmaDevice(),
        ALL,
        min_align_mask=min_align_mask,
        seg_boundary_mask=seg_boundary_mask,
    )


class PoolBench:
    """A pool of 1 MiB, mapped with the least words.

    Attributes:
        events: what it printed.
        bits: bits that stand in the pool's device address.
        pages: addresses that the page allocator gives, in order; freed: what it got back.
    """

    def __init__(self, size: int = MIB, *, nareas: int = 1, grows: int = 0) -> None:
        self.events: list[Event] = []
        self.bits = 0
        self.pages: list[int] = []
        self.freed: list[tuple[int, int]] = []
        self.memory = LinearMap(FlatCpu(BASE, SIZE), BASE, SIZE, None, self.events.append)
        growth = Growth(self._pages, self._free, grows) if grows else None
        self.pool = IoTlbMem(
            self.memory, POOL, size, self.events.append, nareas=nareas, growth=growth
        )

    def _pages(self, count: int) -> int | None:
        return self.pages.pop(0) if self.pages else None

    def _free(self, phys: int, count: int) -> None:
        self.freed.append((phys, count))

    def map(
        self, orig: int, size: int, align: int = 0, *, boundary: int = ALL, alloc_align: int = 0
    ) -> int | None:
        return self.pool.tbl_map_single(
            device(align, boundary),
            orig,
            size,
            lambda start: start | self.bits,
            alloc_align_mask=alloc_align,
        )

    def unmap(
        self,
        tlb: int,
        size: int,
        direction: str = "TO_DEVICE",
        *,
        align: int = 0,
        sync: bool = True,
    ) -> bool:
        return self.pool.tbl_unmap_single(device(align), tlb, size, direction, sync=sync)
