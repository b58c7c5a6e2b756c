"""What does the Realm's power management (PSCI) do to its RECs?

Calls that concern another REC wait until the host names that REC (RMI_PSCI_COMPLETE).
Source: DEN0137 1.0, "Realm PSCI", RMI_PSCI_COMPLETE; DEN0022 (PSCI 1.1).
"""

from __future__ import annotations

from collections.abc import Sequence

from topbit.arch import psci
from topbit.arch.psci import Psci
from topbit.arch.rmi import ExitReason, RmiStatus
from topbit.rmm.realm import PsciRequest, RealmState, Rec, rec_index
from topbit.rmm.realm_smmu import stop_all
from topbit.rmm.rec_run import Exit, Resume
from topbit.rmm.state import RmmState

SUCCESS, ERROR_INPUT = int(RmiStatus.SUCCESS), int(RmiStatus.ERROR_INPUT)

CPU_SUSPEND = (Psci.CPU_SUSPEND_32, Psci.CPU_SUSPEND_64)
CPU_ON = (Psci.CPU_ON_32, Psci.CPU_ON_64)
AFFINITY_INFO = (Psci.AFFINITY_INFO_32, Psci.AFFINITY_INFO_64)
SYSTEM = (Psci.SYSTEM_OFF, Psci.SYSTEM_RESET)
FUNCTIONS = frozenset(int(f) for f in Psci)


def _returns(value: int) -> Resume:
    return Resume({0: value}, advance=True)


def call(rmm: RmmState, rec: Rec, x: Sequence[int]) -> Resume | Exit:
    """What does a PSCI call of the Realm return, or which exit does it make?"""
    function = x[0] & 0xFFFF_FFFF
    if not function & 1 << 30:  # SMC32: arguments are 32 bits wide
        x = [value & 0xFFFF_FFFF for value in x]
    if function == Psci.VERSION:
        return _returns(psci.VERSION_1_1)
    if function == Psci.FEATURES:
        known = x[1] & 0xFFFF_FFFF in FUNCTIONS or x[1] & 0xFFFF_FFFF == psci.SMCCC_VERSION
        return _returns(psci.SUCCESS if known else psci.NOT_SUPPORTED)
    if function in CPU_SUSPEND:
        rec.result = _returns(psci.SUCCESS)
        return _leave(rmm, rec, function)
    if function == Psci.CPU_OFF:
        rec.runnable = False
        return _leave(rmm, rec, function)
    if function in SYSTEM:
        rec.realm.state = RealmState.SYSTEM_OFF
        stop_all(rmm, rec.realm)
        return _leave(rmm, rec, function)
    if function in CPU_ON:
        return _cpu_on(rmm, rec, function, x[1], x[2], x[3])
    if function in AFFINITY_INFO:
        return _affinity_info(rmm, rec, function, x[1], x[2])
    return _returns(psci.NOT_SUPPORTED)


def _leave(rmm: RmmState, rec: Rec, *gprs: int) -> Exit:
    return rmm.leave(rec, Exit(ExitReason.PSCI, gprs=gprs))


def _exists(rec: Rec, mpidr: int) -> bool:
    return 0 <= rec_index(mpidr) < len(rec.realm.recs)


def _cpu_on(
    rmm: RmmState, rec: Rec, function: int, mpidr: int, entry: int, context: int
) -> Resume | Exit:
    if not rec.realm.space.in_par(entry):
        return _returns(psci.INVALID_ADDRESS)
    if not _exists(rec, mpidr):
        return _returns(psci.INVALID_PARAMETERS)
    if mpidr == rec.mpidr:
        return _returns(psci.ALREADY_ON)
    rec.psci = PsciRequest(function, mpidr, entry, context)
    return _leave(rmm, rec, function, mpidr)


def _affinity_info(rmm: RmmState, rec: Rec, function: int, mpidr: int, level: int) -> Resume | Exit:
    if level != 0 or not _exists(rec, mpidr):
        return _returns(psci.INVALID_PARAMETERS)
    if mpidr == rec.mpidr:
        return _returns(psci.AFFINITY_ON)
    rec.psci = PsciRequest(function, mpidr)
    return _leave(rmm, rec, function, mpidr)


def psci_complete(rmm: RmmState, calling: int, target: int, status: int) -> tuple[int, ...]:
    """RMI_PSCI_COMPLETE(calling rec, target rec, PSCI status): which REC did the call mean?"""
    caller, other = rmm.recs.get(calling), rmm.recs.get(target)
    if caller is None or other is None or caller is other or caller.realm is not other.realm:
        return (ERROR_INPUT,)
    request = caller.psci
    if request is None or request.mpidr != other.mpidr:
        return (ERROR_INPUT,)
    if request.function in AFFINITY_INFO:
        if status != psci.SUCCESS:
            return (ERROR_INPUT,)
        value = psci.AFFINITY_ON if other.runnable else psci.AFFINITY_OFF
    else:
        if status not in (psci.SUCCESS, psci.DENIED):
            return (ERROR_INPUT,)
        value = psci.ALREADY_ON if other.runnable else status
        if value == psci.SUCCESS:
            other.runnable = True
            other.start = Resume({0: request.context}, pc=request.entry)
    caller.psci = None
    caller.result = _returns(value)
    return (SUCCESS,)
