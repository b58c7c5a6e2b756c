"""Is a virtio device accepted that bypasses the DMA API? (drivers/virtio/virtio.c)

Without VIRTIO_F_ACCESS_PLATFORM a driver gives its device physical addresses. Where the guest's
memory is private that cannot work; only x86 and s390 refuse such a device, and elsewhere it
hangs. Facts: Linux 7.3 virtio_features_ok, virtio_set_mem_acc_cb (arch/x86/mm/mem_encrypt.c,
arch/s390/mm/init.c).
"""

from __future__ import annotations

from topbit.addressing.cc_platform import CcPlatform
from topbit.arch.virtio import VIRTIO_F_ACCESS_PLATFORM, VIRTIO_F_VERSION_1

ENODEV = 19


def virtio_features_ok(platform: CcPlatform, features: int) -> tuple[int, str]:
    """Does the guest take a device with these features?

    Returns:
        0 and nothing, or -ENODEV and what is printed behind the device's name.
    """
    if not platform.needs_access_platform:
        return 0, ""
    for bit, name in (
        (VIRTIO_F_VERSION_1, "VIRTIO_F_VERSION_1"),
        (VIRTIO_F_ACCESS_PLATFORM, "VIRTIO_F_ACCESS_PLATFORM"),
    ):
        if not features >> bit & 1:
            return -ENODEV, f"device must provide {name}"
    return 0, ""


def uses_dma_api(features: int) -> bool:
    """Do a driver's addresses for the device come from the DMA API? (vring_use_dma_api)"""
    return bool(features >> VIRTIO_F_ACCESS_PLATFORM & 1)
