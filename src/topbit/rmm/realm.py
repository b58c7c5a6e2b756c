"""What is a Realm, what is a virtual CPU (REC) of it, and what can a REC wait for?

An RSI call that only the host can complete leaves a `Pending` in its REC; the next RMI_REC_ENTER
completes it.
Source: DEN0137 1.0, Realm and REC attributes; 2.0 beta 0 for what a Realm has of devices.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum
from typing import Protocol

from topbit.arch.ipa import Ipa, IpaSpace, Pa
from topbit.arch.rmi import Ripas
from topbit.arch.rmi_params import RecEnter
from topbit.arch.rsi import ACCEPT, REJECT, RsiStatus
from topbit.rmm.measurement import Measurements
from topbit.rmm.rec_run import NOTHING, Exit, Resume
from topbit.rmm.s2tt import NOWHERE, Rtt


class RealmState(IntEnum):
    """In which state of life is a Realm?"""

    NEW = 0
    ACTIVE = 1
    SYSTEM_OFF = 2
    TERMINATED = 3  # 2.0: the host has ended it


ENDED = (RealmState.SYSTEM_OFF, RealmState.TERMINATED)


@dataclass(slots=True)
class Realm:
    """Who is a Realm, and what does it own?

    Attributes:
        rd: PA of its Realm Descriptor, which names it.
        rtt: its translation tables.
        vmid: the VMID its translations are tagged with.
        state: NEW, ACTIVE, SYSTEM_OFF or TERMINATED.
        measurements: RIM and REMs.
        rpv: Realm Personalization Value, 64 bytes.
        da: it may have devices assigned (RmiRealmParams.flags0).
        recs: its RECs, by the word that names them: the PA of their granule.
        vdevs: what the Realm calls its device assignments, by the PA of their granule.
    """

    rd: Pa
    rtt: Rtt
    vmid: int
    measurements: Measurements
    rpv: bytes
    da: bool = False
    state: RealmState = RealmState.NEW
    recs: dict[int, Rec] = field(default_factory=dict)
    vdevs: dict[int, int] = field(default_factory=dict)

    @property
    def rtt_base(self) -> Pa:
        """Where does the root of its table stand? (what a trusted stream's STE.S2TTB gets)"""
        return self.rtt.base

    @property
    def start_level(self) -> int:
        """At which level does its table begin?"""
        return self.rtt.start_level

    @property
    def space(self) -> IpaSpace:
        """Which IPA space has it?"""
        return self.rtt.space


class Pending(Protocol):
    """Which call of the Realm waits for the host?"""

    def complete(self, rec: Rec, flags: int) -> Resume | Exit:
        """What does it return at an entry of its REC with these RmiRecEnter flags?

        An exit: the REC goes straight back to the host, and `Rec.pending` is what waits then.
        """
        ...


def reached(progress: Ipa, refused: bool) -> Resume:
    """What does a call return that the host has carried out up to `progress`, or refused?"""
    response = REJECT if refused else ACCEPT
    return Resume({0: int(RsiStatus.SUCCESS), 1: progress, 2: response}, advance=True)


@dataclass(slots=True)
class RipasChange:
    """Which RSI_IPA_STATE_SET waits for the host, and how far has RMI_RTT_SET_RIPAS come?"""

    base: Ipa
    top: int
    ripas: int
    change_destroyed: bool
    progress: Ipa

    def complete(self, rec: Rec, flags: int) -> Resume:
        """What does the call return? A refused share shows only in how far it came."""
        unfinished = self.ripas == Ripas.RAM and self.progress != self.top
        rec.pending = None
        return reached(self.progress, bool(flags & RecEnter.RIPAS_RESPONSE) and unfinished)


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
        traps: which instructions of it the host traps (RmiRecEnter flags, TRAP_WFI, TRAP_WFE).
        pending: the call of the Realm that the next entry completes.
        psci: the call about another REC that RMI_PSCI_COMPLETE completes.
        result: what that call returns.
        resume: what the last successful RMI_REC_ENTER left for the vCPU; an `Exit` if it went
            straight back to the host.
    """

    pa: Pa
    realm: Realm
    mpidr: int
    aux: tuple[Pa, ...]
    runnable: bool
    running: bool = False
    run: Pa = NOWHERE
    traps: int = 0
    resume: Resume | Exit = NOTHING
    start: Resume | None = None
    abort_esr: int = 0
    pending: Pending | None = None
    psci: PsciRequest | None = None
    result: Resume | None = None
    token: bytes | None = None
    token_done: int = 0


def rec_index(mpidr: int) -> int:
    """Which number in order of creation must the REC with this MPIDR have? -1: not an MPIDR."""
    if mpidr & ~0xFF_00FF_FF0F:
        return -1
    aff0, aff1, aff2, aff3 = mpidr & 0xF, mpidr >> 8 & 0xFF, mpidr >> 16 & 0xFF, mpidr >> 32
    return aff0 | aff1 << 4 | aff2 << 12 | aff3 << 20
