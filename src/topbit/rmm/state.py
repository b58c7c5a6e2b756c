"""What does the RMM know: which Realms, virtual CPUs and assigned devices, and what waits of them?

`RmmState` is what every handler gets. An RSI call that only the host can complete leaves a
`Pending` in its REC; the next RMI_REC_ENTER completes it.
Source: DEN0137 1.0, Realm and REC attributes; 2.0 beta 0, VDEV attributes.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum
from typing import Literal, Protocol, TypeAlias

import numpy as np

from topbit.arch.ipa import Ipa, IpaSpace, Pa
from topbit.arch.rmi import Ripas
from topbit.arch.rsi import ACCEPT, REJECT, VERSION_1_0, VERSION_1_1, RsiStatus
from topbit.events import Emit, Event, ignore
from topbit.memory import PhysicalMemory, Words
from topbit.rmm.attestation import Attestor
from topbit.rmm.granules import Granules
from topbit.rmm.measurement import Measurements
from topbit.rmm.rec_run import NOTHING, Exit, Resume, exit_event, write_exit
from topbit.rmm.s2tt import NOWHERE, SHIFTS, Rtt

Abi: TypeAlias = Literal["1.0", "2.0"]


class RealmState(IntEnum):
    """In which state of life is a Realm?"""

    NEW = 0
    ACTIVE = 1
    SYSTEM_OFF = 2


@dataclass(slots=True)
class Realm:
    """Who is a Realm, and what does it own?

    Attributes:
        rd: PA of its Realm Descriptor, which names it.
        rtt: its translation tables.
        vmid: the VMID its translations are tagged with.
        state: NEW, ACTIVE or SYSTEM_OFF.
        measurements: RIM and REMs.
        rpv: Realm Personalization Value, 64 bytes.
        recs: its RECs, by the word that names them: the PA of their granule.
        vdevs: its device assignments, named likewise.
    """

    rd: Pa
    rtt: Rtt
    vmid: int
    measurements: Measurements
    rpv: bytes
    state: RealmState = RealmState.NEW
    recs: dict[int, Rec] = field(default_factory=dict)
    vdevs: dict[int, Vdev] = field(default_factory=dict)

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

    def complete(self, rmm: RmmState, rec: Rec, refused: bool) -> Resume | Exit:
        """What does it return at an entry of its REC? An exit: it waits on.

        `refused`: the host said no (RmiRecEnter flags, ripas_response).
        """
        ...


def _reached(progress: int, refused: bool) -> Resume:
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

    def complete(self, rmm: RmmState, rec: Rec, refused: bool) -> Resume:
        """What does the call return? A refused share shows only in how far it came."""
        unfinished = self.ripas == Ripas.RAM and self.progress != self.top
        return _reached(self.progress, refused and unfinished)


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

    pa: Pa
    pdev: Pa
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
    base: Ipa
    top: int
    pa: Pa
    progress: Ipa

    def complete(self, rmm: RmmState, rec: Rec, refused: bool) -> Resume:
        """What does the call return?"""
        return _reached(self.progress, refused and self.progress != self.top)


class RealmSmmu(Protocol):
    """The SMMU as the RMM programs it: Realm stream table and TLB maintenance."""

    def enable(self, sid: int, realm: Realm) -> None:
        """Make the stream valid: from now on it translates through the Realm's table."""
        ...

    def disable(self, sid: int) -> None:
        """Make the stream invalid."""
        ...

    def invalidate(self, vmid: int, ipa: Ipa, size: int) -> None:
        """Forget what is remembered of [ipa, ipa + size) of the Realm with this VMID."""
        ...


class RmmState:
    """What does the RMM of one platform know?

    Args:
        memory: physical memory; parameter pages, run pages and tables are bytes in it.
        granules: state and PAS of its granules; made here if not given.
        abi: RMI revision: "1.0" (single pages) or "2.0" (ranges, devices).
        emit: receives one event per change of state.
        lpa2: offer FEAT_LPA2 (49 to 52 bit Realms).
        pa_bits: width of the physical address space.
        rec_aux_count: auxiliary granules per REC.
        smmu: what stands before trusted devices, to be told of changes; None: nothing does.
        told_ipa_bits: the width that RSI_REALM_CONFIG tells; None: the Realm's own.
    """

    def __init__(
        self,
        memory: PhysicalMemory,
        granules: Granules | None = None,
        *,
        abi: Abi = "1.0",
        emit: Emit = ignore,
        lpa2: bool = True,
        pa_bits: int = 48,
        rec_aux_count: int = 16,
        smmu: RealmSmmu | None = None,
        told_ipa_bits: int | None = None,
    ) -> None:
        self.memory = memory
        self.granules = granules if granules is not None else Granules(memory)
        self.abi = abi
        self.emit = emit
        self.listening = emit is not ignore
        self.lpa2 = lpa2
        self.pa_bits = pa_bits
        self.rec_aux_count = rec_aux_count
        self.smmu = smmu
        self.told_ipa_bits = told_ipa_bits
        self.gicv3_vtr = 0
        self.rsi_version = VERSION_1_0 if abi == "1.0" else VERSION_1_1
        self.active = abi == "1.0"
        self.realms: dict[int, Realm] = {}
        self.recs: dict[int, Rec] = {}
        self.pdevs: dict[int, int] = {}
        self.vdevs: dict[int, Vdev] = {}
        self._attestor: Attestor | None = None

    def running(self, rec_pa: Pa) -> Rec:
        """Which REC at `rec_pa` is running? ValueError if it is not."""
        found = self.recs.get(rec_pa)
        if found is None or not found.running:
            raise ValueError(f"no REC is running at 0x{rec_pa:016x}")
        return found

    def leave(self, rec_: Rec, exit_: Exit) -> Exit:
        """Return a REC to the host: the run page holds the exit, the REC no longer runs."""
        rec_.running = False
        write_exit(self.granules, rec_.run, exit_)
        if self.listening:
            self.emit(exit_event(exit_))
        return exit_

    def invalidate(self, realm_: Realm, ipa: Ipa, size: int) -> None:
        """Valid entries of [ipa, ipa + size) were changed or removed: make the SMMU forget."""
        if self.smmu is not None:
            self.smmu.invalidate(realm_.vmid, ipa, size)

    def free_vmid(self) -> int:
        """Which VMID does no Realm have? -1 if all are taken."""
        taken = {realm_.vmid for realm_ in self.realms.values()}
        return next((vmid for vmid in range(1, 1 << 16) if vmid not in taken), -1)

    def attestor(self) -> Attestor:
        """Who signs the tokens of this RMM? Made, with its keys, when first asked for.

        Raises:
            ImportError: the `attest` extra is not installed.
        """
        if self._attestor is None:
            self._attestor = Attestor()
        return self._attestor

    # Events. Callers ask `listening` first: an ignored event costs nothing.

    def say_granule(self, what: str, pa: Pa, size: int) -> None:
        """Emit that granules were delegated or undelegated."""
        self.emit(Event("rmm", "granule", pa=pa, size=size, status=what))

    def say_ripas(self, realm_: Realm, ipa: Ipa, size: int, value: Ripas) -> None:
        """Emit that a range of protected IPAs has another RIPAS."""
        self.emit(Event("rmm", "ripas", phys=ipa, size=size, status="ok", attrs=value.name))

    def say_rtt(self, event: str, realm_: Realm, ipa: Ipa, pa: Pa | None, size: int) -> None:
        """Emit that a range of IPAs was mapped or unmapped."""
        half, phys = realm_.space.half(ipa), realm_.space.protected(ipa)
        self.emit(Event("rmm", event, address=ipa, phys=phys, pa=pa, size=size, attrs=half))

    def say_realm_config(self, ipa: Ipa, ipa_bits: int) -> None:
        """Emit which width the Realm was told, by its shared bit."""
        bit = IpaSpace(ipa_bits).shared_bit
        self.emit(Event("rmm", "realm_config", address=bit, phys=ipa, detail=f"{ipa_bits} bits"))

    def say_table_gone(self, realm_: Realm, ipa: Ipa, words: Words, level: int) -> None:
        """Emit what the destruction of a table did to the range that it covered."""
        size = len(words) << SHIFTS[level]
        if realm_.space.in_par(ipa):
            self.say_ripas(realm_, ipa, size, Ripas.DESTROYED)
        elif (words & np.uint64(1)).any():
            self.say_rtt("rtt_unmap", realm_, ipa, None, size)


def rec_index(mpidr: int) -> int:
    """Which number in order of creation must the REC with this MPIDR have? -1: not an MPIDR."""
    if mpidr & ~0xFF_00FF_FF0F:
        return -1
    aff0, aff1, aff2, aff3 = mpidr & 0xF, mpidr >> 8 & 0xFF, mpidr >> 16 & 0xFF, mpidr >> 32
    return aff0 | aff1 << 4 | aff2 << 12 | aff3 << 20
