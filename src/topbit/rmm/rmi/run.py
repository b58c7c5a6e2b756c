"""What passes between host and Realm at the entries and exits of a virtual CPU (REC)?

A REC is entered by the host with RMI_REC_ENTER and then runs until the Realm does something
that the host must see. That is written to the run page (RmiRecExit) and returned as `Exit`. The
next entry completes what was pending and leaves, as `Rec.resume`, what the vCPU needs to go on.
Source: DEN0137 1.0, RMI_REC_ENTER, RmiRecRun; 2.0 beta 0; ESR_ELx: DDI0487.
"""

from __future__ import annotations

import struct

from topbit.arch import gicv3
from topbit.arch.esr import ESR_ISV, ESR_SF, ESR_SSE, ESR_WNR, XZR, access_bytes, register
from topbit.arch.ipa import Pa
from topbit.arch.rmi import RmiStatus
from topbit.arch.rmi_params import RecEnter
from topbit.rmm.granules import NS
from topbit.rmm.realm import RealmState
from topbit.rmm.rec_run import NOTHING, Exit, Resume
from topbit.rmm.state import RmmState

SUCCESS, ERROR_INPUT, ERROR_REALM, ERROR_REC = (
    int(RmiStatus.SUCCESS),
    int(RmiStatus.ERROR_INPUT),
    int(RmiStatus.ERROR_REALM),
    int(RmiStatus.ERROR_REC),
)
U64 = 0xFFFF_FFFF_FFFF_FFFF


def rec_enter(rmm: RmmState, rec_pa: int, run: int) -> tuple[int, ...]:
    """RMI_REC_ENTER(rec, run): complete what was pending and let the Realm run.

    On SUCCESS `Rec.resume` holds what the vCPU goes on with; after an error the Realm did not
    run and nothing pending is lost.
    """
    if not rmm.granules.has(run, NS):
        return (ERROR_INPUT,)
    rec = rmm.recs.get(rec_pa)
    if rec is None:
        return (ERROR_INPUT,)
    if rec.running:
        return (ERROR_REC,)
    state = rec.realm.state
    if state != RealmState.ACTIVE:
        ended_itself = state == RealmState.SYSTEM_OFF and not rmm.revision.ranges
        return (ERROR_REALM | int(ended_itself) << 8,)
    if not rec.runnable or rec.psci is not None or not _gicv3_is_valid(rmm, run):
        return (ERROR_REC,)
    flags = rmm.memory.read_u64(run + RecEnter.FLAGS)
    esr = rec.abort_esr
    sea = flags & RecEnter.INJECT_SEA
    emulated = flags & RecEnter.EMUL_MMIO and not sea
    if (sea and not esr) or (emulated and not esr & ESR_ISV):
        return (ERROR_REC,)

    rec.run = run
    resume = NOTHING
    if rec.result is not None:
        resume, rec.result = rec.result, None
    if rec.start is not None:
        resume, rec.start = rec.start, None
    elif sea:
        resume = Resume(sea=True)
    elif emulated:
        resume = _emulated(esr, rmm.memory.read_u64(run + RecEnter.GPRS))
    elif rec.pending is not None:
        done = rec.pending.complete(rec, flags)
        if isinstance(done, Exit):
            rec.resume = done
            return (SUCCESS,)
        resume = done
    rec.abort_esr = 0
    rec.traps = flags & (RecEnter.TRAP_WFI | RecEnter.TRAP_WFE)
    rec.running = True
    rec.resume = resume
    return (SUCCESS,)


_GICV3 = struct.Struct(f"<{1 + gicv3.NUM_LRS}Q")
_NO_GICV3_STATE = bytes(_GICV3.size)


def _gicv3_is_valid(rmm: RmmState, run: Pa) -> bool:
    """May the REC have the GIC state that the host wants for it? (rec_gicv3)"""
    state = rmm.memory.read(run + RecEnter.GICV3_HCR, _GICV3.size)
    if state == _NO_GICV3_STATE or not rmm.revision.gic_state:
        return True
    hcr, *list_registers = _GICV3.unpack(state)
    return gicv3.is_valid(hcr, list_registers)


def _emulated(esr: int, value: int) -> Resume:
    """What does a load or store that the host emulated leave in its register?"""
    target = register(esr)
    if esr & ESR_WNR or target == XZR:
        return Resume(advance=True)
    width = 8 * access_bytes(esr)
    value &= (1 << width) - 1
    if esr & ESR_SSE:
        sign = 1 << (width - 1)
        value = ((value ^ sign) - sign) & (U64 if esr & ESR_SF else 0xFFFF_FFFF)
    return Resume({target: value}, advance=True)
