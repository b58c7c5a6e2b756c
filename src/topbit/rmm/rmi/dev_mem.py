"""Which registers of a device may the Realm reach? RMI_RTT_DEV_VALIDATE, RMI_VDEV_COMPLETE.

What the Realm asks about a device leaves to the host, which names the VDEV that is meant; of a
mapping, the host then has the RMM hold the Realm's wish against what is mapped.
Source: DEN0137 2.0 beta 0; observed on TF-RMM of July 2026.
"""

from __future__ import annotations

from topbit.arch.rmi import Ripas, RmiStatus, RttState
from topbit.rmm.device import MappingRequest
from topbit.rmm.granules import GRANULE, State
from topbit.rmm.rmi.rtt import is_aligned, rtt_error
from topbit.rmm.rsi.vdev import VdevRequest
from topbit.rmm.s2tt import LAST, SHIFTS
from topbit.rmm.state import RmmState

SUCCESS, ERROR_INPUT, ERROR_REC, ERROR_DEVICE = (
    int(RmiStatus.SUCCESS),
    int(RmiStatus.ERROR_INPUT),
    int(RmiStatus.ERROR_REC),
    int(RmiStatus.ERROR_DEVICE),
)


def vdev_complete(rmm: RmmState, rec_pa: int, vdev: int) -> tuple[int, ...]:
    """RMI_VDEV_COMPLETE(rec, vdev): this is the device that the Realm means."""
    rec, found = rmm.recs.get(rec_pa), rmm.vdevs.get(vdev)
    if rec is None or found is None or found.realm is not rec.realm:
        return (ERROR_INPUT,)
    request = rec.pending
    if not isinstance(request, VdevRequest) or request.vdev_id != found.vdev_id:
        return (ERROR_INPUT,)
    request.named = True
    return (SUCCESS,)


def rtt_dev_validate(rmm: RmmState, rd: int, rec_pa: int, base: int, top: int) -> tuple[int, ...]:
    """RMI_RTT_DEV_VALIDATE(rd, rec, base, top) -> top reached: do (part of) what the Realm asked.

    Only where the host has mapped exactly the registers that the Realm expects, and nothing is
    validated yet; and only for the lock of the device that the Realm knew.
    """
    realm, rec = rmm.realms.get(rd), rmm.recs.get(rec_pa)
    if realm is None or rec is None or top <= base or top & (GRANULE - 1):
        return (ERROR_INPUT, 0)
    if rec.running or rec.realm is not realm:
        return (ERROR_REC, 0)
    request = rec.pending
    if not isinstance(request, MappingRequest) or base != request.progress or top > request.top:
        return (ERROR_INPUT, 0)
    vdev = request.vdev
    if not vdev.is_locked or vdev.lock_nonce != request.lock_nonce:
        return (ERROR_DEVICE, 0)
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
        if found.ripas != Ripas.EMPTY:
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
