"""Which virtual CPUs (RECs) does a Realm have? RMI_REC_CREATE, _DESTROY and _AUX_COUNT.

In 1.0 the auxiliary granules of a REC stand in its parameters. In 2.0 the host donates them, and
creation and destruction are stateful operations.
Source: DEN0137 1.0, RMI_REC_CREATE; 2.0 beta 0.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence

from topbit.arch.ipa import Pa
from topbit.arch.rmi import RmiStatus
from topbit.arch.rmi_params import RecParams
from topbit.rmm.granules import DELEGATED, GRANULE, NS, REC, REC_AUX, State
from topbit.rmm.operation import Operation, Wanted
from topbit.rmm.realm import Realm, RealmState, Rec, rec_index
from topbit.rmm.rec_run import Resume
from topbit.rmm.rmi.op import BLOCKED, begin, is_blocked
from topbit.rmm.state import RmmState

SUCCESS, ERROR_INPUT, ERROR_REALM, ERROR_REC = (
    int(RmiStatus.SUCCESS),
    int(RmiStatus.ERROR_INPUT),
    int(RmiStatus.ERROR_REALM),
    int(RmiStatus.ERROR_REC),
)
MAX_RECS_ORDER = 10  # of a Realm; what feature register 1 offers


def rec_create(rmm: RmmState, rd: int, rec: int, params_pa: int) -> tuple[int, ...]:
    """RMI_REC_CREATE(rd, rec, params) of 1.0: one more virtual CPU for a NEW Realm."""
    granules, memory = rmm.granules, rmm.memory
    realm = rmm.realms.get(rd)
    if realm is None or not granules.has(params_pa, NS) or not granules.has(rec, DELEGATED):
        return (ERROR_INPUT,)
    page = memory.read(params_pa, GRANULE)
    if realm.state != RealmState.NEW:
        return (ERROR_REALM,)
    count = int.from_bytes(page[RecParams.NUM_AUX : RecParams.NUM_AUX + 8], "little")
    if not _is_next(realm, page) or count != rmm.rec_aux_count:
        return (ERROR_INPUT,)
    aux = struct.unpack_from(f"<{count}Q", page, RecParams.AUX)
    owned = {rec, *aux}
    if len(owned) != count + 1 or any(granules.get(pa) != DELEGATED for pa in aux):
        return (ERROR_INPUT,)
    for pa in aux:
        granules.set(pa, REC_AUX)
    _create(rmm, realm, rec, page, aux)
    return (SUCCESS,)


def _is_next(realm: Realm, page: bytes) -> bool:
    """Do the parameters give the MPIDR that the Realm's next REC must have?"""
    mpidr = int.from_bytes(page[RecParams.MPIDR : RecParams.MPIDR + 8], "little")
    return rec_index(mpidr) == len(realm.recs) < 1 << MAX_RECS_ORDER


def _create(rmm: RmmState, realm: Realm, rec: Pa, page: bytes, aux: tuple[Pa, ...]) -> None:
    flags, mpidr, pc = (
        int.from_bytes(page[at : at + 8], "little")
        for at in (RecParams.FLAGS, RecParams.MPIDR, RecParams.PC)
    )
    rmm.granules.set(rec, REC)
    gprs = struct.unpack_from(f"<{RecParams.NUM_GPRS}Q", page, RecParams.GPRS)
    runnable = bool(flags & RecParams.FLAG_RUNNABLE)
    created = Rec(rec, realm, mpidr, aux, runnable)
    if runnable:
        created.start = Resume(dict(enumerate(gprs)), pc=pc)
    measured = bytearray(GRANULE)
    for at, size in ((RecParams.FLAGS, 8), (RecParams.PC, 8), (RecParams.GPRS, 64)):
        measured[at : at + size] = page[at : at + size]
    realm.measurements.rec(bytes(measured))
    realm.recs[rec] = created
    rmm.recs[rec] = created


def rec_create_operation(rmm: RmmState, rd: int, rec: int, params_pa: int) -> tuple[int, ...]:
    """RMI_REC_CREATE(rd, rec, params) of 2.0 -> handle, request for the auxiliary granules."""
    if is_blocked(rmm):
        return (BLOCKED, 0, 0)
    granules = rmm.granules
    if not granules.has(rec, DELEGATED):
        return (ERROR_INPUT, 0, 0)
    granules.set(rec, State.PARTIAL)

    def finish(aux: Sequence[Pa]) -> int:
        realm = rmm.realms.get(rd)
        if realm is None or not granules.has(params_pa, NS):
            return ERROR_INPUT
        page = rmm.memory.read(params_pa, GRANULE)
        if realm.state != RealmState.NEW:
            return ERROR_REALM
        if not _is_next(realm, page):
            return ERROR_INPUT
        _create(rmm, realm, rec, page, tuple(aux))
        return SUCCESS

    return begin(
        rmm,
        Operation(
            REC_AUX,
            [Wanted(rmm.rec_aux_count)],
            finish,
            cleanup=lambda: granules.set(rec, DELEGATED),
            owner=rec,
        ),
    )


def rec_destroy(rmm: RmmState, rec_pa: int) -> tuple[int, ...]:
    """RMI_REC_DESTROY(rec) of 1.0: a REC that is not running goes, with its auxiliary granules."""
    rec = rmm.recs.get(rec_pa)
    if rec is None:
        return (ERROR_INPUT,)
    if rec.running:
        return (ERROR_REC,)
    for pa in (rec.pa, *rec.aux):
        rmm.granules.set(pa, DELEGATED)
    del rmm.recs[rec_pa]
    del rec.realm.recs[rec_pa]
    return (SUCCESS,)


def rec_destroy_operation(rmm: RmmState, rec_pa: int) -> tuple[int, ...]:
    """RMI_REC_DESTROY(rec) of 2.0 -> handle: first its auxiliary granules are reclaimed."""
    if is_blocked(rmm):
        return (BLOCKED, 0, 0)
    rec = rmm.recs.get(rec_pa)
    if rec is None:
        return (ERROR_INPUT, 0, 0)
    if rec.running:
        return (ERROR_REC, 0, 0)
    del rmm.recs[rec_pa]
    rmm.granules.set(rec.pa, State.PARTIAL)

    def end() -> None:
        del rec.realm.recs[rec.pa]
        rmm.granules.set(rec.pa, DELEGATED)

    return begin(
        rmm,
        Operation(
            REC_AUX,
            taken=list(rec.aux),
            result=SUCCESS,
            reclaiming=True,
            cleanup=end,
            owner=rec.pa,
        ),
    )


def rec_aux_count(rmm: RmmState, rd: int) -> tuple[int, ...]:
    """RMI_REC_AUX_COUNT(rd) -> how many auxiliary granules a REC of this Realm takes (1.0)."""
    if rd not in rmm.realms:
        return (ERROR_INPUT, 0)
    return (SUCCESS, rmm.rec_aux_count)
