"""Which DMA address does a buffer get behind a guest's own IOMMU? (drivers/iommu/dma-iommu.c)

An IOVA, from below 4 GiB down, and no shared bit on it: what the IOVA leads to is the buffer where
it stands, whether the device may see it or not. Facts: Linux 7.2 and 7.3 iommu_dma_map_phys,
iommu_dma_alloc, dma_map_phys.
"""

from __future__ import annotations

from topbit.addressing.dma_direct import DMA_MAPPING_ERROR
from topbit.addressing.kernel_policy import KernelPolicy
from topbit.arch.ipa import DmaAddr, Ipa
from topbit.linux.device import Device
from topbit.linux.dma_attrs import NO_ATTRS, DmaAttr
from topbit.linux.pageattr import PAGE_SIZE

TOP = DmaAddr(1 << 32)


class IommuDma:
    """The IOVA space of one device behind a vIOMMU.

    Args:
        policy: which release it is.

    Attributes:
        mapped: IOVA of a page -> the page that it leads to.
    """

    def __init__(self, policy: KernelPolicy) -> None:
        self.policy = policy
        self.mapped: dict[DmaAddr, Ipa] = {}
        self._next = TOP

    def map_phys(self, dev: Device, phys: Ipa, size: int, attrs: DmaAttr = NO_ATTRS) -> DmaAddr:
        """Which dma_addr_t stands for [phys, +size)? DMA_MAPPING_ERROR for shared memory."""
        if DmaAttr.CC_SHARED in attrs:
            return DMA_MAPPING_ERROR  # before anything is traced
        first = Ipa(phys & -PAGE_SIZE)
        pages = -(-(phys - first + size) // PAGE_SIZE)
        self._next -= pages * PAGE_SIZE
        for page in range(0, pages * PAGE_SIZE, PAGE_SIZE):
            self.mapped[self._next + page] = first + page
        return self._next + (phys - first)

    def alloc(self, dev: Device, phys: Ipa, size: int) -> DmaAddr | None:
        """Which dma_addr_t has coherent memory whose pages are at `phys`? None: there is none."""
        if dev.force_unencrypted and self.policy.viommu_refuses_coherent:
            return None
        return self.map_phys(dev, phys, size)
