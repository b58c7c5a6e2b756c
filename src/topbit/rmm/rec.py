"""Which virtual CPUs (RECs) does a Realm have, and what passes between host and Realm at their
entries and exits?

A REC is entered by the host with RMI_REC_ENTER and then runs until the Realm does something
that the host must see. That is written to the run page (RmiRecExit) and returned as `Exit`. The
next entry completes what was pending and leaves, as `Rec.resume`, what the vCPU needs to go on.
Source: DEN0137 1.0, RMI_REC_CREATE, RMI_REC_ENTER, RmiRecRun; ESR_ELx: DDI0487.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from topbit.arch.rmi import (
    ExitReason,
    RecEnter,
    RecExit,
    RecParams,
    Ripas,
    RmiStatus,
)
from topbit.arch.rsi import ACCEPT, REJECT, RsiStatus
from topbit.rmm.granules import DELEGATED, GRANULE, NS, REC, REC_AUX
from topbit.rmm.realm import Realm, RealmState

if TYPE_CHECKING:
    from topbit.rmm.devices import MappingRequest
    from topbit.rmm.monitor import Rmm

SUCCESS, ERROR_INPUT, ERROR_REALM, ERROR_REC = (
    int(RmiStatus.SUCCESS),
    int(RmiStatus.ERROR_INPUT),
    int(RmiStatus.ERROR_REALM),
    int(RmiStatus.ERROR_REC),
)
U64 = 0xFFFF_FFFF_FFFF_FFFF

EC_DATA_ABORT = 0x24 << 26
EC_INSTRUCTION_ABORT = 0x20 << 26
ESR_ISV = 1 << 24
ESR_SAS = 3 << 22
ESR_SSE = 1 << 21
ESR_SF = 1 << 15
ESR_WNR = 1 << 6
ESR_EC = 0x3F << 26
ESR_FSC = 0x3F


@dataclass(frozen=True, slots=True)
class Exit:
    """Why did the REC return to the host, and what does the host see? (RmiRecExit)

    Attributes:
        reason: exit_reason.
        esr, far, hpfar: of a SYNC exit, as far as the host may see them. HPFAR holds the whole
            IPA >> 12 << 4, the shared bit included.
        gprs: PSCI and host call arguments; gprs[0] the value of an emulatable write.
        ripas_base, ripas_top, ripas_value: the range and RIPAS that the Realm asks for.
        imm: host call immediate.
        retry: the Realm's SMC made no progress and is executed again after the next entry.
    """

    reason: ExitReason
    esr: int = 0
    far: int = 0
    hpfar: int = 0
    gprs: tuple[int, ...] = ()
    ripas_base: int = 0
    ripas_top: int = 0
    ripas_value: int = 0
    imm: int = 0
    retry: bool = False


@dataclass(frozen=True, slots=True)
class Resume:
    """With which registers does the vCPU go on?

    Attributes:
        regs: X registers to set, by number; the others stay as they are.
        advance: step over the trapped SMC or load/store; else it is executed (again).
        sea: inject a synchronous external abort into EL1 instead.
        pc: entry point of a REC that runs for the first time or was turned on by PSCI.
    """

    regs: dict[int, int] = field(default_factory=dict)
    advance: bool = False
    sea: bool = False
    pc: int | None = None


NOTHING = Resume()


@dataclass(slots=True)
class RipasChange:
    """Which RSI_IPA_STATE_SET waits for the host, and how far has RMI_RTT_SET_RIPAS come?"""

    base: int
    top: int
    ripas: int
    change_destroyed: bool
    progress: int


@dataclass(slots=True)
class PsciRequest:
    """Which PSCI call about another REC waits for RMI_PSCI_COMPLETE?"""

    function: int
    mpidr: int
    entry: int = 0
    context: int = 0


@dataclass(slots=True)
class Rec:
    """Who is a virtual CPU of a Realm, and what is it waiting for?

    Attributes:
        pa: PA of its granule, which names it.
        realm: its Realm.
        mpidr: its affinity as the Realm sees it.
        aux: its auxiliary granules.
        runnable: PSCI says it is on.
        running: between RMI_REC_ENTER and the next exit.
        run: PA of the run page of the entry in progress.
        resume: what the last successful RMI_REC_ENTER left for the vCPU; an `Exit` if it went
            straight back to the host.
    """

    pa: int
    realm: Realm
    mpidr: int
    aux: tuple[int, ...]
    runnable: bool
    running: bool = False
    run: int = 0
    resume: Resume | Exit = NOTHING
    start: Resume | None = None
    ripas_change: RipasChange | None = None
    abort_esr: int = 0
    host_call: int | None = None
    psci: PsciRequest | None = None
    result: Resume | None = None
    token: bytes | None = None
    token_done: int = 0
    mapping: MappingRequest | None = None


def rec_index(mpidr: int) -> int:
    """Which number in order of creation must the REC with this MPIDR have? -1: not an MPIDR."""
    if mpidr & ~0xFF_00FF_FF0F:
        return -1
    aff0, aff1, aff2, aff3 = mpidr & 0xF, mpidr >> 8 & 0xFF, mpidr >> 16 & 0xFF, mpidr >> 32
    return aff0 | aff1 << 4 | aff2 << 12 | aff3 << 20


def rec_create(rmm: Rmm, rd: int, rec: int, params_pa: int) -> tuple[int, ...]:
    """RMI_REC_CREATE(rd, rec, params): one more virtual CPU for a NEW Realm."""
    granules, memory = rmm.granules, rmm.memory
    realm = rmm.realms.get(rd)
    if realm is None or granules.get(params_pa) != NS or granules.get(rec) != DELEGATED:
        return (ERROR_INPUT,)
    page = memory.read(params_pa, GRANULE)
    flags, mpidr, pc, count = (
        int.from_bytes(page[at : at + 8], "little")
        for at in (RecParams.FLAGS, RecParams.MPIDR, RecParams.PC, RecParams.NUM_AUX)
    )
    if realm.state != RealmState.NEW:
        return (ERROR_REALM,)
    if rec_index(mpidr) != len(realm.recs) or count != rmm.rec_aux_count:
        return (ERROR_INPUT,)
    aux = struct.unpack_from(f"<{count}Q", page, RecParams.AUX)
    owned = {rec, *aux}
    if len(owned) != count + 1 or any(granules.get(pa) != DELEGATED for pa in aux):
        return (ERROR_INPUT,)

    for pa in aux:
        granules.set(pa, REC_AUX)
    granules.set(rec, REC)
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
    return (SUCCESS,)


def rec_destroy(rmm: Rmm, rec_pa: int) -> tuple[int, ...]:
    """RMI_REC_DESTROY(rec): a REC that is not running goes, with its auxiliary granules."""
    rec = rmm.recs.get(rec_pa)
    if rec is None:
        return (ERROR_INPUT,)
    if rec.running:
        return (ERROR_REC,)
    for pa in (rec_pa, *rec.aux):
        rmm.granules.set(pa, DELEGATED)
    del rmm.recs[rec_pa]
    del rec.realm.recs[rec_pa]
    return (SUCCESS,)


def rec_aux_count(rmm: Rmm, rd: int) -> tuple[int, ...]:
    """RMI_REC_AUX_COUNT(rd) -> how many auxiliary granules a REC of this Realm takes."""
    if rd not in rmm.realms:
        return (ERROR_INPUT, 0)
    return (SUCCESS, rmm.rec_aux_count)


def rec_enter(rmm: Rmm, rec_pa: int, run: int) -> tuple[int, ...]:
    """RMI_REC_ENTER(rec, run): complete what was pending and let the Realm run.

    On SUCCESS `Rec.resume` holds what the vCPU goes on with; after an error the Realm did not
    run and nothing pending is lost.
    """
    if rmm.granules.get(run) != NS:
        return (ERROR_INPUT,)
    rec = rmm.recs.get(rec_pa)
    if rec is None:
        return (ERROR_INPUT,)
    if rec.running:
        return (ERROR_REC,)
    state = rec.realm.state
    if state != RealmState.ACTIVE:
        return (ERROR_REALM | (0 if state == RealmState.NEW else 1) << 8,)
    if not rec.runnable or rec.psci is not None:
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
    elif rec.ripas_change is not None:
        resume = _ripas_changed(rec.ripas_change, bool(flags & RecEnter.RIPAS_RESPONSE))
        rec.ripas_change = None
    elif rec.mapping is not None:
        resume = rmm.mapping_validated(rec.mapping, bool(flags & RecEnter.RIPAS_RESPONSE))
        rec.mapping = None
    elif rec.host_call is not None:
        gprs = rmm.memory.read(run + RecEnter.GPRS, RecExit.NUM_GPRS * 8)
        level = rmm.finish_host_call(rec, rec.host_call, gprs)
        if level is not None:
            rec.resume = rmm.leave(rec, unassigned_exit(rec.host_call, level))
            return (SUCCESS,)
        rec.host_call = None
        resume = Resume({0: int(RsiStatus.SUCCESS)}, advance=True)
    rec.abort_esr = 0
    rec.running = True
    rec.resume = resume
    return (SUCCESS,)


def _emulated(esr: int, value: int) -> Resume:
    """What does a load or store that the host emulated leave in its register?"""
    target = esr >> 16 & 31
    if esr & ESR_WNR or target == 31:
        return Resume(advance=True)
    width = 8 << (esr >> 22 & 3)
    value &= (1 << width) - 1
    if esr & ESR_SSE:
        sign = 1 << (width - 1)
        value = ((value ^ sign) - sign) & (U64 if esr & ESR_SF else 0xFFFF_FFFF)
    return Resume({target: value}, advance=True)


def _ripas_changed(change: RipasChange, refused: bool) -> Resume:
    """What does RSI_IPA_STATE_SET return? A refused share shows only in how far it came."""
    unfinished = change.ripas == Ripas.RAM and change.progress != change.top
    response = REJECT if refused and unfinished else ACCEPT
    regs = {0: int(RsiStatus.SUCCESS), 1: change.progress, 2: response}
    return Resume(regs, advance=True)


def unassigned_exit(ipa: int, level: int) -> Exit:
    """Which exit tells the host that the Realm needs memory at `ipa` for an RSI call?"""
    return Exit(ExitReason.SYNC, EC_DATA_ABORT | 0x4 | level, hpfar=ipa >> 12 << 4, retry=True)


def write_exit(rmm: Rmm, run: int, exit_: Exit) -> None:
    """Store an exit in the run page, if the host still owns that page."""
    if rmm.granules.get(run) != NS:
        return
    memory = rmm.memory
    memory.fill(run + RecExit.BASE, GRANULE - RecExit.BASE)
    memory.write_u64(run + RecExit.REASON, exit_.reason)
    if exit_.reason == ExitReason.SYNC:
        memory.write(run + RecExit.ESR, struct.pack("<3Q", exit_.esr, exit_.far, exit_.hpfar))
    elif exit_.reason in (ExitReason.RIPAS_CHANGE, ExitReason.VDEV_MAP):
        memory.write(
            run + RecExit.RIPAS_BASE,
            struct.pack("<3Q", exit_.ripas_base, exit_.ripas_top, exit_.ripas_value),
        )
    elif exit_.reason == ExitReason.HOST_CALL:
        memory.write_u64(run + RecExit.IMM, exit_.imm)
    if exit_.gprs:
        _write_gprs(rmm, run, exit_.gprs)


def _write_gprs(rmm: Rmm, run: int, gprs: Sequence[int]) -> None:
    rmm.memory.write(run + RecExit.GPRS, struct.pack(f"<{len(gprs)}Q", *gprs))
