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

from topbit.arch.ipa import Pa
from topbit.arch.rmi import Ripas, RmiStatus, RttState, VdevParams
from topbit.rmm.granules import DELEGATED, GRANULE, NS, State
from topbit.rmm.rmi.rtt import is_aligned, rtt_error
from topbit.rmm.s2tt import LAST, SHIFTS
from topbit.rmm.state import MappingRequest, RealmState, RmmState, Vdev, VdevState

SUCCESS, ERROR_INPUT, ERROR_REALM, ERROR_REC, ERROR_DEVICE = (
    int(RmiStatus.SUCCESS),
    int(RmiStatus.ERROR_INPUT),
    int(RmiStatus.ERROR_REALM),
    int(RmiStatus.ERROR_REC),
    int(RmiStatus.ERROR_DEVICE),
)


def pdev_create(rmm: RmmState, pdev: int, params_pa: int) -> tuple[int, ...]:
    """RMI_PDEV_CREATE(pdev, params): the host names a physical device."""
    if not rmm.granules.has(pdev, DELEGATED) or not rmm.granules.has(params_pa, NS):
        return (ERROR_INPUT,)
    rmm.granules.set(pdev, State.PDEV)
    rmm.pdevs[pdev] = 0
    return (SUCCESS,)


def pdev_destroy(rmm: RmmState, pdev: int) -> tuple[int, ...]:
    """RMI_PDEV_DESTROY(pdev): when none of its interfaces is assigned."""
    users = rmm.pdevs.get(pdev)
    if users is None:
        return (ERROR_INPUT,)
    if users:
        return (ERROR_DEVICE,)
    del rmm.pdevs[pdev]
    rmm.granules.set(Pa(pdev), DELEGATED)
    return (SUCCESS,)


def vdev_create(rmm: RmmState, rd: int, pdev: int, vdev: int, params_pa: int) -> tuple[int, ...]:
    """RMI_VDEV_CREATE(rd, pdev, vdev, params): assign a device interface to a Realm."""
    realm, granules = rmm.realms.get(rd), rmm.granules
    if realm is None or pdev not in rmm.pdevs:
        return (ERROR_INPUT,)
    if not granules.has(vdev, DELEGATED) or not granules.has(params_pa, NS):
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
    rmm.vdevs[vdev] = realm.vdevs[vdev] = Vdev(vdev, Pa(pdev), realm, vdev_id, tdi_id)
    return (SUCCESS,)


def _vdev(rmm: RmmState, rd: int, pdev: int, vdev: int) -> Vdev | None:
    found = rmm.vdevs.get(vdev)
    return found if found and found.realm.rd == rd and found.pdev == pdev else None


def vdev_destroy(rmm: RmmState, rd: int, pdev: int, vdev: int) -> tuple[int, ...]:
    """RMI_VDEV_DESTROY(rd, pdev, vdev): an unlocked device is taken from the Realm."""
    found = _vdev(rmm, rd, pdev, vdev)
    if found is None:
        return (ERROR_INPUT,)
    if found.state != VdevState.UNLOCKED:
        return (ERROR_DEVICE,)
    del rmm.vdevs[vdev], found.realm.vdevs[vdev]
    rmm.pdevs[pdev] -= 1
    rmm.granules.set(found.pa, DELEGATED)
    return (SUCCESS,)


def vdev_lock(rmm: RmmState, rd: int, pdev: int, vdev: int) -> tuple[int, ...]:
    """RMI_VDEV_LOCK(rd, pdev, vdev): the device's configuration is frozen."""
    found = _vdev(rmm, rd, pdev, vdev)
    if found is None:
        return (ERROR_INPUT,)
    if found.state != VdevState.UNLOCKED:
        return (ERROR_DEVICE,)
    found.state = VdevState.LOCKED
    found.nonce += 1
    return (SUCCESS,)


def vdev_start(rmm: RmmState, rd: int, pdev: int, vdev: int) -> tuple[int, ...]:
    """RMI_VDEV_START(rd, pdev, vdev): a locked device may run."""
    found = _vdev(rmm, rd, pdev, vdev)
    if found is None:
        return (ERROR_INPUT,)
    if found.state != VdevState.LOCKED:
        return (ERROR_DEVICE,)
    found.state = VdevState.STARTED
    return (SUCCESS,)


def vdev_unlock(rmm: RmmState, rd: int, pdev: int, vdev: int) -> tuple[int, ...]:
    """RMI_VDEV_UNLOCK(rd, pdev, vdev): the host takes the device back; its stream goes invalid."""
    found = _vdev(rmm, rd, pdev, vdev)
    if found is None:
        return (ERROR_INPUT,)
    if found.state == VdevState.UNLOCKED:
        return (ERROR_DEVICE,)
    found.state = VdevState.UNLOCKED
    stop(rmm, found)
    return (SUCCESS,)


def stop(rmm: RmmState, vdev: Vdev) -> None:
    """Make the device's stream invalid (only an unlocked device, without one, is destroyed)."""
    vdev.dma = False
    if rmm.smmu is not None:
        rmm.smmu.disable(vdev.tdi_id)


def vdev_get_state(rmm: RmmState, vdev: int) -> tuple[int, ...]:
    """RMI_VDEV_GET_STATE(vdev) -> TDISP state."""
    found = rmm.vdevs.get(vdev)
    return (ERROR_INPUT, 0) if found is None else (SUCCESS, int(found.state))


def rtt_dev_validate(rmm: RmmState, rd: int, rec_pa: int, base: int, top: int) -> tuple[int, ...]:
    """RMI_RTT_DEV_VALIDATE(rd, rec, base, top) -> top reached: do (part of) what the Realm asked.

    Only where the host has mapped exactly the device memory that the Realm expects.
    """
    realm, rec = rmm.realms.get(rd), rmm.recs.get(rec_pa)
    if realm is None or rec is None or top <= base or top & (GRANULE - 1):
        return (ERROR_INPUT, 0)
    if rec.running or rec.realm is not realm:
        return (ERROR_REC, 0)
    request = rec.pending
    if not isinstance(request, MappingRequest) or base != request.progress or top > request.top:
        return (ERROR_INPUT, 0)
    rtt, base = realm.rtt, request.progress
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
