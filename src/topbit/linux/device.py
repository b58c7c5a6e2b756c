"""What does the guest kernel know of a device? (struct device, as far as DMA needs it)

Facts: Linux 7.2 include/linux/device.h, include/linux/device/dma.h.
"""

from __future__ import annotations

from dataclasses import dataclass

from topbit.addressing.dma_direct import DmaDevice


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
    """

    name: str
    dma: DmaDevice
    coherent_dma_mask: int
    min_align_mask: int = 0
    force_unencrypted: bool = True
