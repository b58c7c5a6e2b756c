"""What becomes of an access that the Realm's own code makes, and of an instruction that traps?

Translation, exit, abort, or undefined instruction.
Source: DEN0137 1.0, "Realm exception model": translation faults, WFI, WFE, HVC, and what the host
sees of them; DDI0487 ESR_ELx;
observed on TF-RMM v0.8.0 (which registers the host sees, and the shared bit kept in HPFAR).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

from topbit.arch.esr import (
    EC_DATA_ABORT,
    EC_INSTRUCTION_ABORT,
    EC_WFX,
    ESR_EC,
    ESR_FSC,
    ESR_ISV,
    ESR_SAS,
    ESR_SAS_SHIFT,
    ESR_SF,
    ESR_SRT_SHIFT,
    ESR_WFX_TI,
    ESR_WNR,
    FSC_EXTERNAL_ABORT,
    FSC_PERMISSION,
    FSC_TRANSLATION,
    XZR,
    access_bytes,
)
from topbit.arch.ipa import Ipa, Pa
from topbit.arch.rmi import ExitReason, Ripas, RttState
from topbit.arch.rmi_params import RecEnter
from topbit.arch.stage2 import S2AP_READ, S2AP_WRITE, is_leaf
from topbit.rmm.realm import Rec
from topbit.rmm.rec_run import Exit, Resume
from topbit.rmm.s2tt import LAST, NS, SHIFTS, XN, Rtt
from topbit.rmm.state import RmmState

Kind: TypeAlias = Literal["r", "w", "x"]

U64 = 0xFFFF_FFFF_FFFF_FFFF


@dataclass(frozen=True, slots=True)
class Translated:
    """Where does the access go?

    Attributes:
        pa: physical address.
        ns: through the Non-secure physical address space (shared memory).
    """

    pa: Pa
    ns: bool


@dataclass(frozen=True, slots=True)
class Sea:
    """Which fault made the RMM inject a synchronous external abort into the Realm?

    Attributes:
        fsc: fault status code of the stage-2 fault that the host does not see.
    """

    fsc: int


def translate(rec: Rec, ipa: Ipa, kind: Kind) -> Translated | int:
    """Where does `ipa` lead through the Realm's table, as the CPU walks it?

    Returns:
        the translation, or the fault status code of the stage-2 fault. A protected leaf that
        leads to anything but memory of a Realm aborts the access, wherever it leads.
    """
    rtt = rec.realm.rtt
    if not rtt.space.contains(ipa):
        return FSC_TRANSLATION
    level, _, entry = rtt.walk(ipa, LAST)
    if not is_leaf(entry, level):
        return FSC_TRANSLATION | (level & 3)
    needed = S2AP_READ if kind != "w" else S2AP_WRITE
    if not entry & needed or (kind == "x" and entry & XN):
        return FSC_PERMISSION | (level & 3)
    pa = output(rtt, entry, level, ipa)
    if entry & NS:
        return Translated(pa, ns=True)
    return Translated(pa, ns=False) if rtt.reaches(pa) else FSC_EXTERNAL_ABORT


def output(rtt: Rtt, entry: int, level: int, ipa: Ipa) -> Pa:
    """Which PA does a valid leaf give for `ipa`? Low bits that a block ignores are ignored."""
    offset = (1 << SHIFTS[level]) - 1
    return (rtt.pa_of(entry) & ~offset) + (ipa & offset)


def access(
    rmm: RmmState, rec: Rec, ipa: Ipa, kind: Kind, size: int, value: int, esr: int | None
) -> Translated | Sea | Exit:
    """What becomes of the Realm's access? See `RmmState.access`."""
    found = translate(rec, ipa, kind)
    if isinstance(found, Translated):
        return found
    rtt = rec.realm.rtt
    if found == FSC_EXTERNAL_ABORT or not rtt.space.contains(ipa):
        return Sea(found)
    hpfar = ipa >> 12 << 4
    if not rtt.space.in_par(ipa):
        if kind == "x":
            return Sea(found)
        syndrome = _syndrome(found, kind, size) if esr is None else esr & ~ESR_FSC | found
        visible = EC_DATA_ABORT | found | syndrome & (ESR_ISV | ESR_WNR)
        if syndrome & ESR_ISV:
            visible |= syndrome & (ESR_SAS | ESR_SF)
        rec.abort_esr = EC_DATA_ABORT | syndrome & (1 << 26) - 1
        written = value & ((1 << 8 * access_bytes(syndrome)) - 1) & U64
        gprs = (written,) if kind == "w" and syndrome & ESR_ISV else ()
        return rmm.leave(rec, Exit(ExitReason.SYNC, visible, ipa & 0xFFF, hpfar, gprs))
    level, _, entry = rtt.walk(ipa, LAST)
    decoded = rtt.decode(entry, level)
    inaccessible = decoded.ripas == Ripas.EMPTY
    device_refused = decoded.state == RttState.ASSIGNED_DEV and decoded.valid
    if inaccessible or device_refused:
        return Sea(found)
    ec = EC_INSTRUCTION_ABORT if kind == "x" else EC_DATA_ABORT
    return rmm.leave(rec, Exit(ExitReason.SYNC, ec | found, hpfar=hpfar))


def trap(rmm: RmmState, rec: Rec, esr: int) -> Resume | Exit:
    """What becomes of an instruction of the Realm that traps, and is neither SMC nor access?

    WFI and WFE leave to the host if it asked for that (RmiRecEnter flags), which sees which of
    the two it was, and wait as usual if not; the next entry goes on behind them. Anything else,
    HVC among it, is undefined in a Realm.
    """
    if esr & ESR_EC != EC_WFX:
        return Resume(undefined=True)
    wanted = RecEnter.TRAP_WFE if esr & ESR_WFX_TI else RecEnter.TRAP_WFI
    behind = Resume(advance=True)
    if not rec.traps & wanted:
        return behind
    rec.result = behind
    return rmm.leave(rec, Exit(ExitReason.SYNC, esr & (ESR_EC | ESR_WFX_TI)))


def _syndrome(fsc: int, kind: Kind, size: int) -> int:
    """Which ISS does a plain load to, or store of, XZR have?"""
    sas = {1: 0, 2: 1, 4: 2, 8: 3}.get(size)
    if sas is None:
        return fsc | (ESR_WNR if kind == "w" else 0)
    wide = ESR_SF if size == 8 else 0
    return (
        ESR_ISV
        | sas << ESR_SAS_SHIFT
        | XZR << ESR_SRT_SHIFT
        | wide
        | (ESR_WNR if kind == "w" else 0)
        | fsc
    )


def unassigned_exit(ipa: Ipa, level: int) -> Exit:
    """Which exit tells the host that the Realm needs memory at `ipa` for an RSI call?"""
    return Exit(
        ExitReason.SYNC, EC_DATA_ABORT | FSC_TRANSLATION | level, hpfar=ipa >> 12 << 4, retry=True
    )
