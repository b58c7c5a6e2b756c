"""Which SMMUs does the RMM drive for trusted devices, and where is their Realm stream table?

The host donates the memory: for the level 1 table and the queues when it activates one, for each
level 2 table of 64 entries when it wants devices there.
Source: DEN0137 2.0 beta 0, RMI_PSMMU_*; observed on TF-RMM of July 2026, which finds out only with
the memory in hand that an SMMU is not active or a table exists.
"""

from __future__ import annotations

from collections.abc import Sequence

from topbit.arch.ipa import Pa
from topbit.arch.rmi import RmiStatus
from topbit.arch.rmi_da import PsmmuParams
from topbit.rmm.device import Psmmu
from topbit.rmm.granules import NS, State
from topbit.rmm.operation import Operation, Wanted
from topbit.rmm.realm_smmu import LEVEL1_GRANULES, LOG2SIZE, STES, link_level2
from topbit.rmm.rmi.op import BLOCKED, begin, is_blocked
from topbit.rmm.state import RmmState

SUCCESS, ERROR_INPUT, ERROR_DEVICE = (
    int(RmiStatus.SUCCESS),
    int(RmiStatus.ERROR_INPUT),
    int(RmiStatus.ERROR_DEVICE),
)


def psmmu_activate(rmm: RmmState, base: int, params_pa: int) -> tuple[int, ...]:
    """RMI_PSMMU_ACTIVATE(psmmu, params) -> handle, request for its table and queues."""
    if is_blocked(rmm):
        return (BLOCKED, 0, 0)
    psmmu = rmm.psmmus.get(base)
    if psmmu is None or psmmu.level1 or not rmm.granules.has(params_pa, NS):
        return (ERROR_INPUT, 0, 0)
    flags = rmm.memory.read_u64(params_pa + PsmmuParams.FLAGS)
    if flags & (PsmmuParams.FLAG_ATS | PsmmuParams.FLAG_PRI):
        return (ERROR_INPUT, 0, 0)
    found = psmmu

    def finish(granules: Sequence[Pa]) -> int:
        if found.level1:
            return ERROR_INPUT
        found.level1 = tuple(granules[:LEVEL1_GRANULES])
        found.queues = tuple(granules[LEVEL1_GRANULES:])
        if rmm.smmu is not None:
            rmm.smmu.activate(found.level1[0], LOG2SIZE)
        return SUCCESS

    table, command_queue, event_queue = (
        Wanted(count, contiguous=True) for count in (LEVEL1_GRANULES, 1, 1)
    )
    return begin(rmm, Operation(State.INTERNAL, [table, command_queue, event_queue], finish))


def psmmu_deactivate(rmm: RmmState, base: int) -> tuple[int, ...]:
    """RMI_PSMMU_DEACTIVATE(psmmu) -> handle: when no level 2 table is left."""
    if is_blocked(rmm):
        return (BLOCKED, 0, 0)
    psmmu = rmm.psmmus.get(base)
    if psmmu is None or not psmmu.level1 or psmmu.level2:
        return (ERROR_INPUT, 0, 0)
    if rmm.smmu is not None:
        rmm.smmu.deactivate()
    return _give_back(rmm, psmmu, State.INTERNAL)


def _give_back(rmm: RmmState, psmmu: Psmmu, state: State) -> tuple[int, ...]:
    granules = [*psmmu.level1, *psmmu.queues]
    psmmu.level1 = psmmu.queues = ()
    return begin(rmm, Operation(state, taken=granules, result=SUCCESS, reclaiming=True))


def _is_first(sid: int) -> bool:
    """Does a level 2 table begin with `sid`?"""
    return sid % STES == 0 and sid < 1 << LOG2SIZE


def psmmu_st_l2_create(rmm: RmmState, base: int, sid: int) -> tuple[int, ...]:
    """RMI_PSMMU_ST_L2_CREATE(psmmu, sid) -> handle, request for one level 2 table."""
    if is_blocked(rmm):
        return (BLOCKED, 0, 0)
    psmmu = rmm.psmmus.get(base)
    if psmmu is None or not _is_first(sid):
        return (ERROR_INPUT, 0, 0)
    found = psmmu

    def finish(granules: Sequence[Pa]) -> int:
        if not found.level1 or sid in found.level2:
            return ERROR_INPUT
        found.level2[sid] = granules[0]
        link_level2(rmm, found, sid, granules[0])
        return SUCCESS

    return begin(rmm, Operation(State.PSMMU_ST_L2, [Wanted(1, contiguous=True)], finish))


def psmmu_st_l2_destroy(rmm: RmmState, base: int, sid: int) -> tuple[int, ...]:
    """RMI_PSMMU_ST_L2_DESTROY(psmmu, sid) -> handle: when no device has an entry in it."""
    if is_blocked(rmm):
        return (BLOCKED, 0, 0)
    psmmu = rmm.psmmus.get(base)
    if psmmu is None or not _is_first(sid) or sid not in psmmu.level2:
        return (ERROR_INPUT, 0, 0)
    if any(vdev.tdi_id & -STES == sid for vdev in rmm.vdevs.values()):
        return (ERROR_DEVICE, 0, 0)
    table = psmmu.level2.pop(sid)
    link_level2(rmm, psmmu, sid, None)
    operation = Operation(State.PSMMU_ST_L2, taken=[table], result=SUCCESS, reclaiming=True)
    return begin(rmm, operation)
