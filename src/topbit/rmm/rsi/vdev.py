"""Which assigned devices does the Realm trust, and what of them does it check first?

The Realm asks what the device is (RSI_VDEV_GET_INFO), validates where its registers are mapped
(RIPAS DEV) and enables DMA (RSI_VDEV_DMA_ENABLE). From then on the device's stream translates
through the Realm's own table. Each call first leaves to the host, which names the VDEV
(RMI_VDEV_COMPLETE), where the revision has that.
Source: DEN0137 2.0 beta 0, "Realm device assignment", 1.1 alpha for the RSI calls; observed on
TF-RMM of July 2026.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from topbit.arch.ipa import Pa
from topbit.arch.rmi import ExitReason
from topbit.arch.rmi_da import VdevState
from topbit.arch.rsi import RsiStatus, RsiVdevState, VdevInfo
from topbit.rmm.device import MappingRequest, Vdev
from topbit.rmm.granules import GRANULE
from topbit.rmm.measurement import HASHES
from topbit.rmm.realm import Rec
from topbit.rmm.realm_smmu import stop, write_entry
from topbit.rmm.rec_run import Exit, Resume
from topbit.rmm.rsi.services import answer, realm_page
from topbit.rmm.state import RmmState

DeviceCall: TypeAlias = "Callable[[RmmState, Rec, Vdev, Sequence[int]], Resume | Exit]"
RSI_STATES = {
    VdevState.NEW: RsiVdevState.UNLOCKED,
    VdevState.UNLOCKED: RsiVdevState.UNLOCKED,
    VdevState.LOCKED: RsiVdevState.LOCKED,
    VdevState.STARTED: RsiVdevState.STARTED,
    VdevState.ERROR: RsiVdevState.ERROR,
}


@dataclass(slots=True)
class VdevRequest:
    """Which call of the Realm waits for the host to name the device that is meant?

    Attributes:
        call: what is done with it.
        vdev_id: what the Realm calls it.
        x: the registers of the call.
        named: the host has named the Realm's device with this ID.
    """

    rmm: RmmState
    call: DeviceCall
    vdev_id: int
    x: Sequence[int]
    named: bool = False

    def complete(self, rec: Rec, flags: int) -> Resume | Exit:
        """What does the call return? ERROR_INPUT if the host did not name a device of the Realm."""
        rec.pending = None
        vdev = _of(self.rmm, rec, self.vdev_id) if self.named else None
        if vdev is None:
            return answer(RsiStatus.ERROR_INPUT)
        return self.call(self.rmm, rec, vdev, self.x)


def _of(rmm: RmmState, rec: Rec, vdev_id: int) -> Vdev | None:
    named = (pa for pa, known_as in rec.realm.vdevs.items() if known_as == vdev_id)
    return next((rmm.vdevs[pa] for pa in named), None)


def _request(rmm: RmmState, rec: Rec, call: DeviceCall, x: Sequence[int]) -> Resume | Exit:
    """Go on with a call about a device, now or when the host has named it."""
    if rmm.revision.vdev_requests:
        rec.pending = VdevRequest(rmm, call, x[1], tuple(x))
        return rmm.leave(rec, Exit(ExitReason.VDEV_REQUEST, vdev_id=x[1]))
    vdev = _of(rmm, rec, x[1])
    return answer(RsiStatus.ERROR_INPUT) if vdev is None else call(rmm, rec, vdev, x)


def vdev_get_info(rmm: RmmState, rec: Rec, x: Sequence[int]) -> Resume | Exit:
    """RSI_VDEV_GET_INFO(vdev id, ipa): write state, nonces and digests of a device."""
    if not rec.realm.da:
        return answer(RsiStatus.ERROR_STATE)
    if x[2] & (VdevInfo.SIZE - 1) or not rec.realm.space.in_par(x[2]):
        return answer(RsiStatus.ERROR_INPUT)
    return _request(rmm, rec, _get_info, x)


def _get_info(rmm: RmmState, rec: Rec, vdev: Vdev, x: Sequence[int]) -> Resume | Exit:
    if not rec.realm.space.in_par(x[2]):
        return answer(RsiStatus.ERROR_INPUT)
    pa = realm_page(rmm, rec, x[2])
    if not isinstance(pa, int):
        return pa
    rmm.memory.write(pa, vdev_info(vdev))
    return answer(RsiStatus.SUCCESS)


def vdev_info(vdev: Vdev) -> bytes:
    """What is the Realm told of a device? (RsiVdevInfo)"""
    info = bytearray(VdevInfo.SIZE)
    pdev = vdev.pdev
    for at, value in (
        (VdevInfo.CERT_ID, pdev.slot),
        (VdevInfo.LOCK_NONCE, vdev.lock_nonce),
        (VdevInfo.MEAS_NONCE, vdev.meas_nonce),
        (VdevInfo.REPORT_NONCE, vdev.report_nonce),
        (VdevInfo.FORMAT_VERSION, VdevInfo.TDISP_1_0),
    ):
        struct.pack_into("<Q", info, at, value)
    info[VdevInfo.HASH_ALGO] = pdev.hash_algo
    info[VdevInfo.FORMAT_TYPE] = VdevInfo.FORMAT_TDISP
    info[VdevInfo.STATE] = RSI_STATES[vdev.state]
    for at, said in (
        (VdevInfo.VCA_DIGEST, pdev.session.transcript),
        (VdevInfo.CERT_DIGEST, pdev.session.certificate),
        (VdevInfo.PUBKEY_DIGEST, pdev.session.key),
        (VdevInfo.MEAS_DIGEST, vdev.measurements),
        (VdevInfo.REPORT_DIGEST, vdev.report),
    ):
        if said:
            digest = HASHES[pdev.hash_algo](said).digest()
            info[at : at + len(digest)] = digest
    return bytes(info)


def vdev_dma_enable(rmm: RmmState, rec: Rec, x: Sequence[int]) -> Resume | Exit:
    """RSI_VDEV_DMA_ENABLE(vdev id, flags, plane, nonces of lock, measurements and report)."""
    if not rec.realm.da:
        return answer(RsiStatus.ERROR_STATE)
    return _request(rmm, rec, _dma_enable, x)


def _dma_enable(rmm: RmmState, rec: Rec, vdev: Vdev, x: Sequence[int]) -> Resume:
    if vdev.state != VdevState.STARTED or vdev.unlocking or not vdev.has_nonces(*x[4:7]):
        return answer(RsiStatus.ERROR_DEVICE)
    if not vdev.dma:
        if not write_entry(rmm, vdev, valid=True):
            return answer(RsiStatus.ERROR_DEVICE)
        vdev.dma = True
        if rmm.listening:
            rmm.say_vdev(vdev, "RSI_VDEV_DMA_ENABLE")
    return answer(RsiStatus.SUCCESS)


def vdev_dma_disable(rmm: RmmState, rec: Rec, x: Sequence[int]) -> Resume | Exit:
    """RSI_VDEV_DMA_DISABLE(vdev id): its stream becomes invalid."""
    if not rec.realm.da:
        return answer(RsiStatus.ERROR_STATE)
    return _request(rmm, rec, _dma_disable, x)


def _dma_disable(rmm: RmmState, rec: Rec, vdev: Vdev, x: Sequence[int]) -> Resume:
    stop(rmm, vdev, "RSI_VDEV_DMA_DISABLE")
    return answer(RsiStatus.SUCCESS)


def vdev_validate_mapping(rmm: RmmState, rec: Rec, x: Sequence[int]) -> Resume | Exit:
    """RSI_VDEV_VALIDATE_MAPPING(vdev id, ipa base, ipa top, pa base, flags, nonces of lock,
    measurements and report): make RIPAS DEV where the host mapped the device's registers as the
    device reports them."""
    if not rec.realm.da:
        return answer(RsiStatus.ERROR_STATE)
    base, top, pa = x[2:5]
    aligned = not (base | top | pa) & (GRANULE - 1)
    if not aligned or top <= base or not rec.realm.space.in_par(base, top - base):
        return answer(RsiStatus.ERROR_INPUT)
    return _request(rmm, rec, _validate_mapping, x)


def _validate_mapping(rmm: RmmState, rec: Rec, vdev: Vdev, x: Sequence[int]) -> Resume | Exit:
    base, top, pa = x[2:5]
    if not vdev.is_locked or not rec.realm.space.in_par(base, top - base):
        return answer(RsiStatus.ERROR_INPUT)
    if not vdev.has_nonces(*x[6:9]):
        return answer(RsiStatus.ERROR_DEVICE)
    rec.pending = MappingRequest(vdev, vdev.lock_nonce, base, top, Pa(pa), base)
    return rmm.leave(
        rec,
        Exit(
            ExitReason.DEV_MEM_MAP,
            vdev_id=vdev.vdev_id,
            range_base=base,
            range_top=top,
            dev_mem_pa=pa,
        ),
    )
