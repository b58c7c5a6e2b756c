"""Faults of AMD's, Intel's and other IOMMUs, in every spelling."""

from __future__ import annotations

from typing import Any

import pytest

from log_lines import events_of, one

AMD = "AMD-Vi: Event logged "
DMAR = "DMAR: "
WHO = "Request device [00:02.0]"
FAULTS: dict[str, dict[str, Any]] = {
    # AMD-Vi: with the device's number, by the device's own dev_err(), in two lines
    AMD + "[IO_PAGE_FAULT device=0000:00:14.0 domain=0x000f address=0xfe980000 flags=0x0020]": {
        "status": "amd_vi", "device": "0000:00:14.0", "address": 0xFE980000, "direction": "w",
        "attrs": "event=IO_PAGE_FAULT|domain=0x000f",
    },
    "vfio-pci 0000:11:00.0: " + AMD + "[IO_PAGE_FAULT domain=0x001e address=0x1da414000 "
    "flags=0x0050]": {
        "status": "amd_vi", "device": "0000:11:00.0", "address": 0x1DA414000, "direction": "r",
    },
    "IO_PAGE_FAULT device=00:14.0 domain=0x000f address=0x00000000fe980000 flags=0x0000]": {
        "status": "amd_vi", "device": "0000:00:14.0", "address": 0xFE980000, "direction": "r",
    },
    AMD + "[RMP_PAGE_FAULT device=c1:00.0, vmg_tag=0x0001, gpa=0x740b8784, flags_rmp=0x0004, "
    "flags=0x0020]": {
        "status": "amd_vi_rmp", "device": "0000:c1:00.0", "address": 0x740B8784,
        "phys": 0x740B8784, "direction": "w",
        "attrs": "event=RMP_PAGE_FAULT|vmg_tag=0x0001|flags_rmp=0x0004",
    },
    AMD + "[RMP_HW_ERROR device=0000:c1:00.0, vmg_tag=0x0000, spa=0x56700000, flags=0x0000]": {
        "status": "amd_vi_rmp", "device": "0000:c1:00.0", "pa": 0x56700000, "address": None,
    },
    AMD + "[INVALID_DEVICE_REQUEST device=0000:00:00.0 pasid=0x00000 address=0xfffffffdf8000000 "
    "flags=0x0a00]": {
        "status": "amd_vi_event", "address": 0xFFFFFFFDF8000000, "direction": None,
    },
    AMD + "[Device not attached to domain properly]": {"status": "amd_vi_event"},
    "AMD-Vi: Completion-Wait loop timed out": {"status": "amd_vi_event"},
    "AMD-Vi: IOMMU Event log restarting": {"status": "amd_vi_event"},
    "(XEN) AMD-Vi: IO_PAGE_FAULT: 0000:03:00.1 d7 addr 00000000fee00000 flags 0x20 RW": {
        "status": "amd_vi", "device": "0000:03:00.1", "address": 0xFEE00000, "direction": "w",
        "attrs": "event=IO_PAGE_FAULT|domain=7",
    },
    "AMD-Vi: IO_PAGE_FAULT: domain = 0, device id = 0x30a, fault address = 0xfdf8020000, "
    "flags = 0x10": {
        "status": "amd_vi", "device": "0000:03:01.2", "address": 0xFDF8020000, "direction": "r",
    },
    # DMAR
    DMAR + f"[DMA Read NO_PASID] {WHO} fault addr 0x7cd80000 [fault reason 0x01] Present bit": {
        "status": "dmar", "device": "0000:00:02.0", "address": 0x7CD80000, "direction": "r",
        "attrs": "reason=01",
    },
    DMAR + "[DMA Write NO_PASID] Request device [0x00:0x02.0] fault addr 0x70ad5000 "
    "[fault reason 0x07] Next page table ptr is invalid": {
        "status": "dmar", "device": "0000:00:02.0", "address": 0x70AD5000, "direction": "w",
    },
    DMAR + f"[DMA Read] {WHO} PASID ffffffff fault addr 9c000000 [fault reason 06] PTE Read": {
        "status": "dmar", "address": 0x9C000000, "attrs": "reason=06|pasid=ffffffff",
    },
    DMAR + "[DMA Read PASID 0x2] Request device [6a:01.0] fault addr 0x7fe0c9943000 "
    "[fault reason 0x3a] SM: Non-zero reserved field": {
        "status": "dmar", "device": "0000:6a:01.0", "address": 0x7FE0C9943000,
        "attrs": "reason=3a|pasid=0x2",
    },
    "DMAR: ERROR: DMA PTE for vPFN 0x7b2a0 already set (to 7b2a0003 not 2bb27c803)": {
        "status": "dmar_error",
    },
    "DMAR: Invalid page request: 0x1000000000 0x0": {"status": "dmar_error"},
    "DMAR: Allocating 1-page iova for 0000:00:02.0 failed": {
        "status": "map_failed", "device": "0000:00:02.0",
    },
    f"DMAR:[DMA Write] {WHO} fault addr 9c000000 ": {
        "status": "dmar", "address": 0x9C000000, "direction": "w", "attrs": None,
    },
    DMAR + "[INTR-REMAP] Request device [f0:1f.7] fault index 0x25 [fault reason 37] Blocked": {
        "status": "dmar_interrupt", "device": "0000:f0:1f.7", "address": None,
        "attrs": "reason=37",
    },
    "INTR-REMAP: Request device [[f0:1f.7] fault index 0": {"status": "dmar_interrupt"},
    "(XEN) smmu: /axi/smmu@fd800000: Unhandled context fault: fsr=0x402, iova=0xf9030040, "
    "fsynr=0x12, cb=0": {
        "status": "smmu_v2", "address": 0xF9030040, "direction": "w",
        "attrs": "smmu=/axi/smmu@fd800000|fsr=0x402|cb=0",
    },
    "Cannot accommodate DMA translation for IOMMU page tables": {"status": "smmu_error"},
    DMAR + "VT-d detected Invalidation Time-out Error: SID 0": {"status": "dmar_error"},
    # SMMUv2 and others
    "arm-smmu 15000000.iommu: Unhandled context fault: fsr=0x402, iova=0x8f1a2000, "
    "fsynr=0x30011, cbfrsynra=0x880, cb=3": {
        "status": "smmu_v2", "sid": 0x880, "address": 0x8F1A2000, "direction": "w",
        "attrs": "smmu=15000000.iommu|fsr=0x402|cb=3",
    },
    "qcom-iommu 1e20000.iommu: Unhandled context fault: fsr=0x2, iova=0x000000008f1a2000, "
    "fsynr=0x1, cb=4": {"status": "smmu_v2", "sid": None, "direction": "r"},
    "arm-smmu 15000000.iommu: Unhandled arm-smmu context fault from 1d84000.ufshc!": {
        "status": "smmu_v2", "device": "1d84000.ufshc", "address": None,
    },
    "arm-smmu 15000000.iommu: Unexpected global fault, this could be serious": {
        "status": "smmu_v2_global", "attrs": "smmu=15000000.iommu",
    },
    'arm-smmu a.iommu: Blocked unknown Stream ID 0x880; boot with "arm-smmu.disable_bypass=0"': {
        "status": "smmu_v2_global", "sid": 0x880,
    },
    "arm-smmu a.iommu: TLB sync timed out -- SMMU may be deadlocked": {"status": "smmu_timeout"},
    "rk_iommu ff650800.iommu: Page fault at 0x0000000012340000 of type read": {
        "status": "iommu_fault", "address": 0x12340000, "direction": "r",
    },
    "virtio_iommu virtio0: page fault from EP 32 at 0x103231000 [W]": {
        "status": "iommu_fault", "sid": 32, "address": 0x103231000, "direction": "w",
    },
    "virtio_iommu virtio0: unknown fault from EP 8": {"status": "iommu_fault", "sid": 8},
    "mtk-iommu 10205000.iommu: fault type=0x280 iova=0x10000000 pa=0x0 master=0x14010(larb=1 "
    "port=4) layer=0 write": {
        "status": "iommu_fault", "address": 0x10000000, "direction": "w",
    },
    "apple-dart 231304000.iommu: translation fault: status:0x80010002 stream:0 code:0x2 (NO PTE "
    "FOR IOVA) at 0xfffff000": {"status": "iommu_fault", "address": 0xFFFFF000},
    "sun50i-iommu 30f0000.iommu: Page fault for 0x00000000fe980000 (master 2, dir write)": {
        "status": "iommu_fault", "address": 0xFE980000, "direction": "w",
    },
    "sun50i-iommu 30f0000.iommu: Page fault for 0x00000000fe980000 (master 2, dir rd)": {
        "status": "iommu_fault", "address": 0xFE980000, "direction": "r",
    },
    # before 4.x, and since 6.12
    "arm-smmu 15000000.iommu: Unhandled context fault: iova=0x2c3140000, fsynr=0x11, cb=4": {
        "status": "smmu_v2", "address": 0x2C3140000, "direction": "w",
        "attrs": "smmu=15000000.iommu|cb=4",
    },
    "arm-smmu 15000000.iommu: Unhandled context fault: fsr=0x402 [Format=2 TF], iova=0xfffffc80, "
    "fsynr=0x3d0021 [S1CBNDX=61 PLVL=1], cbfrsynra=0x4a0, cb=3": {
        "status": "smmu_v2", "sid": 0x4A0, "address": 0xFFFFFC80, "direction": "r",
        "attrs": "smmu=15000000.iommu|fsr=0x402|cb=3",
    },
    "tegra-mc 2c00000.memory-controller: vicsrd: secure write @0x00000003fff00000: VPR violation "
    "((null))": {
        "status": "iommu_fault", "device": "vicsrd", "address": 0x3FFF00000, "direction": "w",
        "attrs": "reason=VPR violation",
    },
    "tegra-mc 2c00000.memory-controller: unknown: read @0x0000000000000080: EMEM address decode "
    "error (EMEM decode error)": {"status": "iommu_fault", "address": 0x80, "direction": "r"},
}  # fmt: skip


@pytest.mark.parametrize(("text", "expected"), FAULTS.items(), ids=FAULTS.keys())
def test_faults(text: str, expected: dict[str, Any]) -> None:
    event = one(text)
    assert (event.event, event.detail) == ("trouble", text.removeprefix("(XEN) ").strip())
    assert {name: getattr(event, name) for name in expected} == expected


@pytest.mark.parametrize(
    "text",
    [
        "AMD-Vi: Event logged [",
        "DMAR: DRHD: handling fault status reg 3",
        "DMAR:[fault reason 06] PTE Read access is not set",
        "arm-smmu a.iommu: \tGFSR 0x00000002, GFSYNR0 0x0, GFSYNR1 0x880, GFSYNR2 0x0",
        "AMD-Vi: Interrupt remapping enabled",
        "DMAR: Host address width 39",
    ],
)
def test_what_only_goes_with_a_fault(text: str) -> None:
    assert events_of(text) == []


@pytest.mark.parametrize(
    "text",
    [
        AMD + "[IO_PAGE_FAULT device=0000:00:14.0 domain=0x000f addr",
        DMAR + "[DMA Read NO_PASID] Request device [00:02",
        "arm-smmu a.iommu: Unhandled context fault: fsr=0x402, iova=",
    ],
)
def test_what_is_cut_off(text: str, unparsed: list[str]) -> None:
    assert events_of(text, unparsed) == []
    assert unparsed == [text]
