"""M: does every device get its addresses through the DMA API?

A virtio device without VIRTIO_F_ACCESS_PLATFORM is given guest addresses as they are. x86 and s390
refuse it; an arm64 Realm accepts it, and it reaches nothing.
"""

from __future__ import annotations

from collections.abc import Iterator

from topbit.recording import Recording
from topbit.replay.columns import MAPS, lies_in
from topbit.replay.faults import TRANSLATION, Fault
from topbit.rules.finding import Finding
from topbit.rules.firmware_phase import may_be_firmwares
from topbit.rules.refused import refusal
from topbit.rules.releases import policy_of
from topbit.rules.rule import rule
from topbit.rules.streams import guest_faults
from topbit.rules.troubles import of_trouble
from topbit.rules.wording import by_device, evidence, places

OFFER = (
    "make the VMM offer VIRTIO_F_ACCESS_PLATFORM (QEMU: iommu_platform=on, cloud-hypervisor: "
    "iommu=on), and VIRTIO_F_VERSION_1 with it"
)


def bypasses_the_dma_api(recording: Recording, fault: Fault) -> bool:
    """Was a plain address refused of a device that never mapped anything while others did?"""
    platform, row = recording.platform, fault.row
    value = row["address"]
    if row["status"] != TRANSLATION or value is None or platform.machine != "log":
        return False
    if platform.has_shared_bit(value) or not lies_in(value, platform.ram):
        return False
    if fault.live or fault.alias or fault.mapped.buffer_at(value) or not recording.has(*MAPS):
        return False
    if may_be_firmwares(recording, fault):
        return False
    policy = policy_of(platform)
    keeps = policy is None or policy.alias_for_shared
    return keeps and row["device"] is not None and row["device"] not in fault.mapped.traced


@rule(
    "M12",
    "Every active device maps what it uses through the DMA API.",
    source="Linux 7.2 drivers/virtio/virtio.c:virtio_features_ok; arm64 registers no "
    "virtio_check_mem_acc_cb; drivers/virtio/virtio_ring.c:vring_use_map_api",
)
def devices_use_the_dma_api(recording: Recording) -> Iterator[Finding]:
    """Which devices use guest addresses as they are, past the DMA API?"""
    for fault in guest_faults(recording):
        if not bypasses_the_dma_api(recording, fault):
            continue
        yield refusal(
            recording,
            fault.row,
            "M12",
            "guest",
            "the device uses plain guest addresses and has no DMA event while others have: its "
            "driver bypasses the DMA API, as virtio does without VIRTIO_F_ACCESS_PLATFORM",
            expected="dma_map_* or dma_alloc_* events of this device, and their addresses on the "
            "bus",
            hint=f"if it is a virtio device, {OFFER}; else look at its driver, or at firmware that "
            "set it up",
            severity="warning",
        )
    for device, group in by_device(of_trouble(recording, "virtio_refused")):
        yield Finding(
            "M12",
            "warning",
            "vmm",
            "the guest refused a virtio device that would bypass the DMA API: the VMM offers no "
            "VIRTIO_F_ACCESS_PLATFORM",
            device=device,
            count=len(group),
            seen=str(group["detail"][0]),
            expected="VIRTIO_F_ACCESS_PLATFORM among the device's features",
            evidence=evidence(group, 2),
            hint=OFFER,
            judged=places(group),
        )
    for device, group in by_device(of_trouble(recording, "private_access")):
        yield Finding(
            "M12",
            "warning",
            "guest",
            "an emulated device was led to private memory: the guest put its queue or buffer "
            "there, as without VIRTIO_F_ACCESS_PLATFORM or a restricted-dma-pool",
            device=device,
            count=len(group),
            seen=str(group["detail"][0]),
            expected="an address in memory that the guest shared",
            evidence=evidence(group, 2),
            hint=f"{OFFER}; give the guest a bounce pool (swiotlb, restricted-dma-pool)",
            judged=places(group),
        )
