"""Which assigned devices does the Realm trust, and what of them does it check first?

The Realm validates where the device's registers are mapped (RIPAS DEV) and enables DMA
(RSI_VDEV_DMA_ENABLE). From then on the device's stream translates through the Realm's own table.
Source: DEN0137 2.0 beta 0, "Realm device assignment"; DEN0137 1.1 alpha for the RSI calls.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence

from topbit.arch.ipa import Pa
from topbit.arch.rmi import ExitReason, Ripas
from topbit.arch.rsi import RsiStatus
from topbit.rmm.granules import GRANULE
from topbit.rmm.rec_run import Exit, Resume
from topbit.rmm.rmi.vdev import stop
from topbit.rmm.rsi.services import answer, realm_page
from topbit.rmm.state import MappingRequest, Rec, RmmState, Vdev, VdevState


def _of(rec: Rec, vdev_id: int) -> Vdev | None:
    return next((v for v in rec.realm.vdevs.values() if v.vdev_id == vdev_id), None)


def vdev_get_info(rmm: RmmState, rec: Rec, x: Sequence[int]) -> Resume | Exit:
    """RSI_VDEV_GET_INFO(vdev id, ipa): write state and nonces of a device."""
    vdev, ipa = _of(rec, x[1]), x[2]
    if vdev is None or ipa & (GRANULE - 1) or not rec.realm.space.in_par(ipa):
        return answer(RsiStatus.ERROR_INPUT)
    pa = realm_page(rmm, rec, ipa)
    if not isinstance(pa, int):
        return pa
    page = bytearray(GRANULE)
    struct.pack_into("<QQQ", page, 0, vdev.tdi_id, vdev.state, vdev.nonce)
    rmm.memory.write(pa, page)
    return answer(RsiStatus.SUCCESS)


def vdev_dma_enable(rmm: RmmState, rec: Rec, x: Sequence[int]) -> Resume:
    """RSI_VDEV_DMA_ENABLE(vdev id, flags, plane, lock nonce): trust a started device."""
    vdev = _of(rec, x[1])
    if vdev is None or x[2] or x[3]:
        return answer(RsiStatus.ERROR_INPUT)
    if vdev.state != VdevState.STARTED or x[4] != vdev.nonce:
        return answer(RsiStatus.ERROR_DEVICE)
    vdev.dma = True
    if rmm.smmu is not None:
        rmm.smmu.enable(vdev.tdi_id, vdev.realm)
    return answer(RsiStatus.SUCCESS)


def vdev_dma_disable(rmm: RmmState, rec: Rec, x: Sequence[int]) -> Resume:
    """RSI_VDEV_DMA_DISABLE(vdev id): its stream becomes invalid."""
    vdev = _of(rec, x[1])
    if vdev is None:
        return answer(RsiStatus.ERROR_INPUT)
    stop(rmm, vdev)
    return answer(RsiStatus.SUCCESS)


def vdev_validate_mapping(rmm: RmmState, rec: Rec, x: Sequence[int]) -> Resume | Exit:
    """RSI_VDEV_VALIDATE_MAPPING(vdev id, ipa base, ipa top, pa base, flags, lock nonce): make
    RIPAS DEV where the host mapped the device's registers as the device reports them."""
    vdev = _of(rec, x[1])
    base, top, pa = x[2:5]
    aligned = not (base | top | pa) & (GRANULE - 1)
    if vdev is None or top <= base or not rec.realm.space.in_par(base, top - base):
        return answer(RsiStatus.ERROR_INPUT)
    if not aligned or x[5]:
        return answer(RsiStatus.ERROR_INPUT)
    if vdev.state == VdevState.UNLOCKED or x[6] != vdev.nonce:
        return answer(RsiStatus.ERROR_DEVICE)
    rec.pending = MappingRequest(vdev, base, top, Pa(pa), base)
    return rmm.leave(
        rec,
        Exit(
            ExitReason.VDEV_MAP,
            gprs=(vdev.vdev_id, pa),
            ripas_base=base,
            ripas_top=top,
            ripas_value=int(Ripas.DEV),
        ),
    )
