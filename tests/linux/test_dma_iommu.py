"""What a device gets behind a vIOMMU."""

import pytest

from topbit.addressing.dma_direct import DMA_MAPPING_ERROR, DmaDevice
from topbit.addressing.kernel_policy import policy_for
from topbit.addressing.scheme import arm_cca
from topbit.linux.device import Device
from topbit.linux.dma_attrs import DmaAttr
from topbit.linux.dma_iommu import IommuDma

PAGE = 4096


def device(*, forced: bool = True) -> Device:
    return Device("dev0", DmaDevice(arm_cca(41)), (1 << 64) - 1, force_unencrypted=forced)


def test_an_iova_leads_to_the_buffer_where_it_stands() -> None:
    iommu = IommuDma(policy_for("7.3"))
    iova = iommu.map_phys(device(), 0x8000_0FFF, 2)
    assert iova == 0xFFFF_EFFF
    assert iommu.mapped == {0xFFFF_E000: 0x8000_0000, 0xFFFF_F000: 0x8000_1000}
    assert iommu.map_phys(device(), 0x9000_0000, PAGE) == 0xFFFF_D000


def test_shared_memory_cannot_be_mapped() -> None:
    iommu = IommuDma(policy_for("7.3"))
    assert iommu.map_phys(device(), 0x8000_0000, 1, DmaAttr.CC_SHARED) == DMA_MAPPING_ERROR
    assert iommu.mapped == {}


@pytest.mark.parametrize(
    ("release", "forced", "iova"),
    [("7.2", True, 0xFFFF_F000), ("7.3", True, None), ("7.3", False, 0xFFFF_F000)],
)
def test_from_7_3_on_a_confidential_guest_gets_no_coherent_memory(
    release: str, forced: bool, iova: int | None
) -> None:
    iommu = IommuDma(policy_for(release))
    assert iommu.alloc(device(forced=forced), 0x8000_0000, PAGE) == iova
