"""How does the guest accept an assigned device? (drivers/virt/coco/arm-cca-guest/rsi-da.c)

It asks the RMM what the device is, holds its measurements against what it expects, validates where
the device's registers are, has the host start the interface, and enables DMA for exactly that
lock: a device that the host took back in between, or that was measured again, is refused.
Facts: Linux, "ARM CCA Device Assignment support" (2025), cca_device_accept, rsi_vdev_enable_dma,
rhi_da_vdev_set_tdi_state. The kernel lets user space compare the evidence.
Call numbers and structures: DEN0137 2.0 beta 0 (RSI 1.1); DEN0148 for what is asked of the host.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence

from topbit.arch import rhi
from topbit.arch.ipa import Ipa, Pa
from topbit.arch.rhi import RhiTdiState
from topbit.arch.rsi import ACCEPT, HostCall, Rsi, RsiStatus, VdevInfo
from topbit.linux.cpu import RealmCpu

EIO = 5
EACCES = 13
HOST_CALL = 0x400  # offset of the structure in the page that is lent


def cca_device_accept(
    cpu: RealmCpu,
    vdev_id: int,
    page: Ipa,
    *,
    registers: Sequence[tuple[Ipa, Pa, int]] = (),
    expected: bytes | None = None,
    enable_dma: bool = True,
) -> int:
    """Trust the device: its DMA may reach all of the Realm.

    Args:
        cpu: makes the calls.
        vdev_id: the device's requester ID.
        page: IPA of a free page, for what is told and asked.
        registers: where its registers shall be: (IPA, PA, bytes).
        expected: the digest that its measurements must have; None: any.
        enable_dma: as the last step; without, the device is accepted and may make no DMA.

    Returns:
        0, -EACCES: its measurements are others, or -EIO: the RMM or the host refused.
    """
    if cpu.smc(Rsi.VDEV_GET_INFO, vdev_id, page)[0] != RsiStatus.SUCCESS:
        return -EIO
    info = cpu.load(page, VdevInfo.SIZE)
    at = VdevInfo.MEAS_DIGEST
    if expected is not None and info[at : at + len(expected)] != expected:
        return -EACCES
    nonces = struct.unpack_from("<3Q", info, VdevInfo.LOCK_NONCE)
    for ipa, pa, size in registers:
        if rsi_vdev_validate_mapping(cpu, vdev_id, ipa, pa, size, nonces):
            return -EIO
    if rhi_da_vdev_set_tdi_state(cpu, page + HOST_CALL, vdev_id, RhiTdiState.RUN):
        return -EIO
    if not enable_dma:
        return 0
    enabled = cpu.smc(Rsi.VDEV_DMA_ENABLE, vdev_id, 0, 0, *nonces)[0]
    return 0 if enabled == RsiStatus.SUCCESS else -EIO


def rsi_vdev_validate_mapping(
    cpu: RealmCpu, vdev_id: int, ipa: Ipa, pa: Pa, size: int, nonces: tuple[int, ...]
) -> int:
    """Make [ipa, ipa + size) the device's registers from `pa` on. 0, or -EIO."""
    top = ipa + size
    answer = cpu.smc(Rsi.VDEV_VALIDATE_MAPPING, vdev_id, ipa, top, pa, 0, *nonces)
    return 0 if answer[:3] == (RsiStatus.SUCCESS, top, ACCEPT) else -EIO


def rhi_da_vdev_set_tdi_state(cpu: RealmCpu, call: Ipa, vdev_id: int, state: int) -> int:
    """Ask the host to bring the interface into a state. `call`: IPA for the call's structure."""
    words = (0, rhi.DA_VDEV_SET_TDI_STATE, vdev_id, state)
    cpu.store(call, struct.pack("<4Q", *words) + bytes(HostCall.SIZE - 32))
    if cpu.smc(Rsi.HOST_CALL, call)[0] != RsiStatus.SUCCESS:
        return -EIO
    return -EIO if int.from_bytes(cpu.load(call + HostCall.GPRS, 8), "little") else 0
