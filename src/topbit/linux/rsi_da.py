"""How does the guest accept an assigned device? (drivers/virt/coco/arm-cca-guest/rsi-da.c)

It asks the RMM how often the device was locked, and enables DMA for exactly that lock: a device
that the host took back in between is refused. Checking certificates and measurements, which
comes first in the kernel, is not modelled.
Facts: Linux, "ARM CCA Device Assignment support" (2025), cca_device_accept, rsi_vdev_enable_dma.
Call numbers and structures: DEN0137 1.1 alpha.
"""

from __future__ import annotations

from topbit.arch.ipa import Ipa
from topbit.arch.rsi import Rsi, RsiStatus
from topbit.linux.cpu import RealmCpu

EIO = 5
LOCK_NONCE = 0x10  # offset in what RSI_VDEV_GET_INFO writes


def cca_device_accept(cpu: RealmCpu, vdev_id: int, page: Ipa) -> int:
    """Trust the device: its DMA may reach all of the Realm.

    Args:
        cpu: makes the calls.
        vdev_id: the device's requester ID.
        page: IPA of a free page, for what the RMM tells of the device.

    Returns:
        0, or -EIO: the RMM knows no such device, or it is not started.
    """
    if cpu.smc(Rsi.VDEV_GET_INFO, vdev_id, page)[0] != RsiStatus.SUCCESS:
        return -EIO
    nonce = int.from_bytes(cpu.load(page + LOCK_NONCE, 8), "little")
    enabled = cpu.smc(Rsi.VDEV_DMA_ENABLE, vdev_id, 0, 0, nonce)[0]
    return 0 if enabled == RsiStatus.SUCCESS else -EIO
