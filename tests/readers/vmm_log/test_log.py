"""What VMMs print about devices' mappings and memory."""

from __future__ import annotations

from typing import Any

import pytest

from topbit.readers.vmm_log.kvmtool import ipa_bits_of
from topbit.readers.vmm_log.log import is_sign, read

MESSAGES: dict[str, dict[str, Any]] = {
    # QEMU
    "vfio_listener_region_add_ram region_add [ram] 0x40000000 - 0x7fffffff [0x7f75580bf000]": {
        "event": "iommu_map", "address": 0x40000000, "size": 0x40000000, "status": "ok",
    },
    "vfio_listener_region_del region_del 0x40000000 - 0x7fffffff": {
        "event": "iommu_unmap", "address": 0x40000000, "size": 0x40000000,
    },
    "vfio_iommu_map_notify iommu MAP @ 0x10040000000 - 0x10040000fff": {
        "event": "iommu_map", "address": 0x10040000000, "size": 0x1000,
    },
    "vfio_iommu_map_notify iommu UNMAP @ 0x10040000000 - 0x10040000fff": {
        "event": "iommu_unmap", "address": 0x10040000000, "size": 0x1000,
    },
    "iommufd_backend_map_dma  iommufd=9 ioas=2 iova=0x40000000 size=0x1000 addr=0x7f75 readonly=0 "
    "(0)": {"event": "iommu_map", "address": 0x40000000, "size": 0x1000},
    "iommufd_backend_map_dma  iommufd=9 ioas=2 iova=0x40000000 size=0x1000 addr=0x7f75 readonly=0 "
    "(-14)": {"status": "vfio_map", "address": 0x40000000, "attrs": "error=-14"},
    "iommufd_backend_unmap_dma  iommufd=9 ioas=2 iova=0x40000000 size=0x1000 (0)": {
        "event": "iommu_unmap", "address": 0x40000000,
    },
    "qemu-system-aarch64: vfio_container_dma_map(0x55de2560f1a0, 0xc0000, 0x20000, 0x7f75580bf000) "
    "= -22 (Invalid argument)": {
        "status": "vfio_map", "address": 0xC0000, "size": 0x20000, "attrs": "error=-22",
    },
    "qemu-system-x86_64: vfio_dma_unmap(0x55de2560f1a0, 0xc0000, 0x20000) = -2 (No such file)": {
        "status": "vfio_unmap", "address": 0xC0000, "size": 0x20000, "attrs": "error=-2",
    },
    "qemu-system-aarch64: Container 0x55a057183400 can't map guest IOVA region 0xc0000..0xcffff": {
        "status": "vfio_map", "address": 0xC0000, "size": 0x10000,
    },
    "qemu: hardware error: vfio: DMA mapping failed, unable to continue": {"status": "vfio_map"},
    "qemu-system-aarch64: VFIO_MAP_DMA failed: Invalid argument": {"status": "vfio_map"},
    "qemu-system-aarch64: VFIO_UNMAP_DMA failed: No such file": {"status": "vfio_unmap"},
    "qemu-system-aarch64: IOMMU_IOAS_MAP failed: Bad address": {"status": "vfio_map"},
    "smmuv3-iommu-memory-region-16-2 translation failed for iova=0x10076b0a000 "
    "(SMMU_EVT_F_TRANSLATION)": {
        "status": "vmm_smmu", "sid": 16, "address": 0x10076B0A000, "attrs": "event=F_TRANSLATION",
    },
    "smmuv3_translate_abort smmuv3-iommu-memory-region-16-2 sid=0x10 iova=0x76b0a000 is_write=1": {
        "status": "vmm_smmu", "sid": 16, "address": 0x76B0A000, "direction": "w",
    },
    "smmuv3_record_event SMMU_EVT_F_TRANSLATION sid=0x10": {
        "status": "vmm_smmu", "sid": 16, "attrs": "event=F_TRANSLATION",
    },
    "qemu-system-aarch64: Guest moved used index from 0 to 61937": {"status": "ring"},
    "qemu-system-x86_64: virtio: bogus descriptor or out of resources": {"status": "ring"},
    "qemu-system-x86_64: Convert non guest_memfd backed memory region (0xf0000000 ,+ 0x10000) to "
    "shared": {"status": "conversion", "phys": 0xF0000000, "size": 0x10000},
    "qemu-system-x86_64: failed to set memory (0x80000000+0x200000) with attr 0x8 error 'Invalid "
    "argument'": {"status": "conversion", "phys": None},
    "qemu-system-x86_64: vhost_set_mem_table failed: Invalid argument (22)": {"status": "vmm_dma"},
    # kvmtool
    "  Error: Failed to map 0x40000000 -> 0x7f75580bf000 (1073741824) for DMA": {
        "status": "vfio_map", "address": 0x40000000, "attrs": "size=1073741824",
    },
    "KVM_CAP_RME(KVM_CAP_ARM_RME_CREATE_RD): No such device or address": {
        "status": "realm_create", "attrs": "call=KVM_CAP_ARM_RME_CREATE_RD",
    },
    # crosvm, cloud-hypervisor
    "[2026-05-28T14:56:10.6+00:00 ERROR devices::virtio::queue] get_avail_index: host access to "
    "lent memory region at 0xa9a63002 (purpose=GuestMemoryRegion) in protected VM": {
        "status": "private_access", "phys": 0xA9A63002, "attrs": "purpose=GuestMemoryRegion",
    },
    "ApiError(VmBoot(DeviceManager(VfioDmaMap(IommuDmaMap(Error(14))))))": {"status": "vfio_map"},
    "cloud-hypervisor: error on VfioDmaUnmap: iova: 0x40000000": {
        "status": "vfio_unmap", "address": 0x40000000,
    },
    "virtio-devices/src/block.rs: GuestMemoryError: invalid guest address 0x10076b0a000": {
        "status": "vmm_dma", "phys": 0x10076B0A000,
    },
}  # fmt: skip


@pytest.mark.parametrize(("text", "expected"), MESSAGES.items(), ids=MESSAGES.keys())
def test_messages(text: str, expected: dict[str, Any]) -> None:
    event = read(text)
    assert event is not None
    assert (event.agent, event.event) == ("vmm", expected.get("event", "trouble"))
    assert {name: getattr(event, name) for name in expected} == expected
    assert event.detail == text.strip()


@pytest.mark.parametrize(
    "text",
    [
        "vfio_listener_region_add_ram region_add [ram] 0x7fffffff - 0x40000000 [0x7f]",
        "KVM_CAP_ARM_VM_IPA_SIZE is 48",
        "map DMA done",
    ],
)
def test_what_is_no_event(text: str) -> None:
    assert read(text) is None


@pytest.mark.parametrize(
    ("line", "bits"),
    [
        ("kvm__get_vm_type:194: max_ipa 8fffffff ipa_bits 33 max_ipa_bits 48", 33),
        ("kvm__get_vm_type:194: max_ipa 100ffffffff ipa_bits 42 max_ipa_bits 48", 42),
        # Of a plain guest: as many bits as its addresses need, or 32 at least.
        ("kvm__get_vm_type:194: max_ipa 8fffffff ipa_bits 32 max_ipa_bits 48", None),
        ("ipa_bits 33", None),
    ],
)
def test_the_width_that_kvmtool_asks_for(line: str, bits: int | None) -> None:
    assert ipa_bits_of(line) == bits


def test_signs_of_a_vmm() -> None:
    assert is_sign("# lkvm run --realm -k linux.realm")
    assert not is_sign("[    0.000000] Linux version 7.3")
