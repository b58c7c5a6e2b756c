"""Which devices has a Realm accepted, and which of its memory do they reach?

A physical device (PDEV) is set up by the host; a virtual device (VDEV) is its assignment to one
Realm, locked and started by the host and trusted when the Realm says so: it validates the
mapping of the device's registers (RIPAS DEV) and enables DMA (RSI_VDEV_DMA_ENABLE). From then on
the device's stream translates through the Realm's own table (its STE points to the RTT root).
Attestation of the device (SPDM, TDISP messages) is not modelled: LOCK and START take effect at
once, and no certificate or measurement is carried.
Source: DEN0137 2.0 beta 0, "Realm device assignment"; DEN0137 1.1 alpha for the RSI calls.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING

from topbit.arch.rmi import ExitReason, Ripas, RmiStatus, RttState, VdevParams
from topbit.arch.rsi import ACCEPT, REJECT, RsiStatus
from topbit.rmm.granules import DELEGATED, GRANULE, NS, State
from topbit.rmm.realm import Realm, RealmState
from topbit.rmm.rec import Exit, Rec, Resume
from topbit.rmm.rsi import answer, realm_page
from topbit.rmm.rtt import LAST, SHIFTS
from topbit.rmm.tables import is_aligned, rtt_error

if TYPE_CHECKING:
    from topbit.rmm.monitor import Rmm

SUCCESS, ERROR_INPUT, ERROR_REALM, ERROR_REC, ERROR_DEVICE = (
    int(RmiStatus.SUCCESS),
    int(RmiStatus.ERROR_INPUT),
    int(RmiStatus.ERROR_REALM),
    int(RmiStatus.ERROR_REC),
    int(RmiStatus.ERROR_DEVICE),
)


class VdevState(IntEnum):
    """In which TDISP state is an assigned device?"""

    UNLOCKED = 0
    LOCKED = 1
    STARTED = 2
    ERROR = 3


@dataclass(slots=True)
class Vdev:
    """Which device is assigned to which Realm, and may it make DMA?

    Attributes:
        pa: PA of its granule, which names it to the host.
        pdev: PA of the physical device's granule.
        vdev_id: what the Realm calls it.
        tdi_id: requester ID of the device interface: its StreamID.
        state: TDISP state.
        nonce: counts the locks, so that the Realm can tell whether it was unlocked in between.
        dma: the Realm has enabled DMA: the stream is valid.
    """

    pa: int
    pdev: int
    realm: Realm
    vdev_id: int
    tdi_id: int
    state: VdevState = VdevState.UNLOCKED
    nonce: int = 0
    dma: bool = False


@dataclass(slots=True)
class MappingRequest:
    """Which RSI_VDEV_VALIDATE_MAPPING waits for the host, and how far has it come?"""

    vdev: Vdev
    base: int
    top: int
    pa: int
    progress: int


def pdev_create(rmm: Rmm, pdev: int, params_pa: int) -> tuple[int, ...]:
    """RMI_PDEV_CREATE(pdev, params): the host names a physical device."""
    if rmm.granules.get(pdev) != DELEGATED or rmm.granules.get(params_pa) != NS:
        return (ERROR_INPUT,)
    rmm.granules.set(pdev, State.PDEV)
    rmm.pdevs[pdev] = 0
    return (SUCCESS,)


def pdev_destroy(rmm: Rmm, pdev: int) -> tuple[int, ...]:
    """RMI_PDEV_DESTROY(pdev): when none of its interfaces is assigned."""
    users = rmm.pdevs.get(pdev)
    if users is None:
        return (ERROR_INPUT,)
    if users:
        return (ERROR_DEVICE,)
    del rmm.pdevs[pdev]
    rmm.granules.set(pdev, DELEGATED)
    return (SUCCESS,)


def vdev_create(rmm: Rmm, rd: int, pdev: int, vdev: int, params_pa: int) -> tuple[int, ...]:
    """RMI_VDEV_CREATE(rd, pdev, vdev, params): assign a device interface to a Realm."""
    realm, granules = rmm.realms.get(rd), rmm.granules
    if realm is None or pdev not in rmm.pdevs:
        return (ERROR_INPUT,)
    if granules.get(vdev) != DELEGATED or granules.get(params_pa) != NS:
        return (ERROR_INPUT,)
    if realm.state == RealmState.SYSTEM_OFF:
        return (ERROR_REALM,)
    flags, vdev_id, tdi_id = (
        rmm.memory.read_u64(params_pa + offset)
        for offset in (VdevParams.FLAGS, VdevParams.VDEV_ID, VdevParams.TDI_ID)
    )
    taken = any(other.tdi_id == tdi_id for other in rmm.vdevs.values())
    known = any(other.vdev_id == vdev_id for other in realm.vdevs.values())
    if flags or tdi_id >> 32 or taken or known:
        return (ERROR_INPUT,)
    granules.set(vdev, State.VDEV)
    rmm.pdevs[pdev] += 1
    rmm.vdevs[vdev] = realm.vdevs[vdev] = Vdev(vdev, pdev, realm, vdev_id, tdi_id)
    return (SUCCESS,)


def _vdev(rmm: Rmm, rd: int, pdev: int, vdev: int) -> Vdev | None:
    found = rmm.vdevs.get(vdev)
    return found if found and found.realm.rd == rd and found.pdev == pdev else None


def vdev_destroy(rmm: Rmm, rd: int, pdev: int, vdev: int) -> tuple[int, ...]:
    """RMI_VDEV_DESTROY(rd, pdev, vdev): an unlocked device is taken from the Realm."""
    found = _vdev(rmm, rd, pdev, vdev)
    if found is None:
        return (ERROR_INPUT,)
    if found.state != VdevState.UNLOCKED:
        return (ERROR_DEVICE,)
    del rmm.vdevs[vdev], found.realm.vdevs[vdev]
    rmm.pdevs[pdev] -= 1
    rmm.granules.set(vdev, DELEGATED)
    return (SUCCESS,)


def vdev_lock(rmm: Rmm, rd: int, pdev: int, vdev: int) -> tuple[int, ...]:
    """RMI_VDEV_LOCK(rd, pdev, vdev): the device's configuration is frozen."""
    found = _vdev(rmm, rd, pdev, vdev)
    if found is None:
        return (ERROR_INPUT,)
    if found.state != VdevState.UNLOCKED:
        return (ERROR_DEVICE,)
    found.state = VdevState.LOCKED
    found.nonce += 1
    return (SUCCESS,)


def vdev_start(rmm: Rmm, rd: int, pdev: int, vdev: int) -> tuple[int, ...]:
    """RMI_VDEV_START(rd, pdev, vdev): a locked device may run."""
    found = _vdev(rmm, rd, pdev, vdev)
    if found is None:
        return (ERROR_INPUT,)
    if found.state != VdevState.LOCKED:
        return (ERROR_DEVICE,)
    found.state = VdevState.STARTED
    return (SUCCESS,)


def vdev_unlock(rmm: Rmm, rd: int, pdev: int, vdev: int) -> tuple[int, ...]:
    """RMI_VDEV_UNLOCK(rd, pdev, vdev): the host takes the device back; its stream goes invalid."""
    found = _vdev(rmm, rd, pdev, vdev)
    if found is None:
        return (ERROR_INPUT,)
    if found.state == VdevState.UNLOCKED:
        return (ERROR_DEVICE,)
    found.state = VdevState.UNLOCKED
    _stop(rmm, found)
    return (SUCCESS,)


def _stop(rmm: Rmm, vdev: Vdev) -> None:
    """Make the device's stream invalid (only an unlocked device, without one, is destroyed)."""
    vdev.dma = False
    if rmm.smmu is not None:
        rmm.smmu.disable(vdev.tdi_id)


def vdev_get_state(rmm: Rmm, vdev: int) -> tuple[int, ...]:
    """RMI_VDEV_GET_STATE(vdev) -> TDISP state."""
    found = rmm.vdevs.get(vdev)
    return (ERROR_INPUT, 0) if found is None else (SUCCESS, int(found.state))


def rtt_dev_validate(rmm: Rmm, rd: int, rec_pa: int, base: int, top: int) -> tuple[int, ...]:
    """RMI_RTT_DEV_VALIDATE(rd, rec, base, top) -> top reached: do (part of) what the Realm asked.

    Only where the host has mapped exactly the device memory that the Realm expects.
    """
    realm, rec = rmm.realms.get(rd), rmm.recs.get(rec_pa)
    if realm is None or rec is None or top <= base or top & (GRANULE - 1):
        return (ERROR_INPUT, 0)
    if rec.running or rec.realm is not realm:
        return (ERROR_REC, 0)
    request = rec.mapping
    if request is None or base != request.progress or top > request.top:
        return (ERROR_INPUT, 0)
    rtt = realm.rtt
    level, word, _ = rtt.walk(base, LAST)
    if not is_aligned(base, level):
        return (rtt_error(level), 0)
    size = 1 << SHIFTS[level]
    words = rtt.rest_of_table(word)[: (top - base) >> SHIFTS[level]]
    reached = base
    for i, entry in enumerate(words):
        found = rtt.decode(int(entry), level)
        expected = request.pa + (reached - request.base)
        if found.state != RttState.ASSIGNED_DEV or found.oa != expected:
            break
        if found.ripas not in (Ripas.EMPTY, Ripas.DEV):
            break
        if rmm.granules.device_run(found.oa, size, State.DEV_MAPPED) != size:
            break
        words[i] = rtt.assigned(found.oa, Ripas.DEV, level, dev=True)
        reached += size
    if reached == base:
        return (rtt_error(level), 0)
    request.progress = reached
    if rmm.listening:
        rmm.say_ripas(realm, base, reached - base, Ripas.DEV)
    return (SUCCESS, reached)


def _of(rec: Rec, vdev_id: int) -> Vdev | None:
    return next((v for v in rec.realm.vdevs.values() if v.vdev_id == vdev_id), None)


def vdev_get_info(rmm: Rmm, rec: Rec, x: Sequence[int]) -> Resume | Exit:
    """RSI_VDEV_GET_INFO(vdev id, ipa): write state and nonces of a device."""
    vdev, ipa = _of(rec, x[1]), x[2]
    if vdev is None or ipa & (GRANULE - 1) or ipa >= rec.realm.half:
        return answer(RsiStatus.ERROR_INPUT)
    pa = realm_page(rmm, rec, ipa)
    if not isinstance(pa, int):
        return pa
    page = bytearray(GRANULE)
    struct.pack_into("<QQQ", page, 0, vdev.tdi_id, vdev.state, vdev.nonce)
    rmm.memory.write(pa, page)
    return answer(RsiStatus.SUCCESS)


def vdev_dma_enable(rmm: Rmm, rec: Rec, x: Sequence[int]) -> Resume:
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


def vdev_dma_disable(rmm: Rmm, rec: Rec, x: Sequence[int]) -> Resume:
    """RSI_VDEV_DMA_DISABLE(vdev id): its stream becomes invalid."""
    vdev = _of(rec, x[1])
    if vdev is None:
        return answer(RsiStatus.ERROR_INPUT)
    _stop(rmm, vdev)
    return answer(RsiStatus.SUCCESS)


def vdev_validate_mapping(rmm: Rmm, rec: Rec, x: Sequence[int]) -> Resume | Exit:
    """RSI_VDEV_VALIDATE_MAPPING(vdev id, ipa base, ipa top, pa base, flags, lock nonce): make
    RIPAS DEV where the host mapped the device's registers as the device reports them."""
    vdev = _of(rec, x[1])
    base, top, pa = x[2:5]
    outside = top > rec.realm.half or top <= base or (base | top | pa) & (GRANULE - 1)
    if vdev is None or outside or x[5]:
        return answer(RsiStatus.ERROR_INPUT)
    if vdev.state == VdevState.UNLOCKED or x[6] != vdev.nonce:
        return answer(RsiStatus.ERROR_DEVICE)
    rec.mapping = MappingRequest(vdev, base, top, pa, base)
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


def mapping_validated(request: MappingRequest, refused: bool) -> Resume:
    """What does RSI_VDEV_VALIDATE_MAPPING return?"""
    unfinished = request.progress != request.top
    response = REJECT if refused and unfinished else ACCEPT
    regs = {0: int(RsiStatus.SUCCESS), 1: request.progress, 2: response}
    return Resume(regs, advance=True)
