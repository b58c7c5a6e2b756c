"""What does the guest kernel know of a device? (struct device, as far as DMA needs it)

Facts: Linux 7.2 include/linux/device.h, include/linux/device/dma.h.
"""

from __future__ import annotations

from dataclasses import dataclass

from topbit.addressing.dma_direct import DmaDevice
from topbit.addressing.scheme import U64


@dataclass(slots=True)
class Device:
    """Which device does a driver map memory for?

    Attributes:
        name: dev_name(), as in trace events.
        dma: what decides its DMA addresses (dma_mask, dma_range_map, the kernel's conventions).
        coherent_dma_mask: highest address for dma_alloc_coherent().
        min_align_mask: low address bits that a bounce must keep (dma_set_min_align_mask).
        force_unencrypted: force_dma_unencrypted(dev): it may only see shared memory. In a Realm
            true for every device up to 7.3; false models an accepted TDISP device (T=1).
        seg_boundary_mask: no mapping may cross a multiple of this and one (dma_get_seg_boundary).
        coherent: its accesses are coherent with the CPU's caches (dev_is_dma_coherent).
    """

    name: str
    dma: DmaDevice
    coherent_dma_mask: int
    min_align_mask: int = 0
    force_unencrypted: bool = True
    seg_boundary_mask: int = U64
    coherent: bool = True
