"""Which Realms, RECs and granules does one RMM hold, and which handler takes which call?

`Rmm` has three doors: `rmi` for the host's calls, `rsi` for the Realm's, and `access` for what
the Realm's CPU does with memory. All parameter pages are bytes in physical memory. Whatever
values come in, the answer is a status, an exit or an abort, never a Python exception.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, TypeAlias

import numpy as np

from topbit.arch import psci as psci_numbers
from topbit.arch.rmi import (
    UNKNOWN_FUNCTION,
    ExitReason,
    Ripas,
    RmiStatus,
)
from topbit.arch.rsi import VERSION_1_0, VERSION_1_1
from topbit.events import Emit, Event, ignore
from topbit.memory import PhysicalMemory, Words
from topbit.rmm import (
    commands,
    devices,
    psci,
    rsi,
    stage2_access,
)
from topbit.rmm.attestation import Attestor
from topbit.rmm.devices import MappingRequest, Vdev
from topbit.rmm.granules import Granules
from topbit.rmm.realm import Realm
from topbit.rmm.realm_smmu import RealmSmmu
from topbit.rmm.rec import Exit, Rec, Resume, write_exit
from topbit.rmm.rtt import SHIFTS
from topbit.rmm.stage2_access import Kind, Sea, Translated

Abi: TypeAlias = Literal["1.0", "2.0"]

RSI_REGISTERS = 31


class Rmm:
    """What does the RMM of one platform know, and what does it answer?

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
        self.realms: dict[int, Realm] = {}
        self.recs: dict[int, Rec] = {}
        self._attestor: Attestor | None = None
        self.pdevs: dict[int, int] = {}
        self.vdevs: dict[int, Vdev] = {}
        self.active = abi == "1.0"
        self._rmi = dict(commands.RMI_1_0) if abi == "1.0" else dict(commands.BEFORE_ACTIVATE)
        self._rsi = dict(rsi.HANDLERS)

    def rmi(self, fid: int, args: Sequence[int] = ()) -> tuple[int, ...]:
        """What does the host's SMC return?

        Args:
            fid: X0, an `arch.rmi.Rmi` number.
            args: X1 and up; missing ones are 0, surplus ones are ignored.

        Returns:
            X0 (status | index << 8) and the command's outputs from X1 on. An unknown function
            answers SMCCC NOT_SUPPORTED.
        """
        call = self._rmi.get(fid)
        if call is None:
            if not self.active and fid in commands.RMI_2_0:
                return (int(RmiStatus.ERROR_GLOBAL),)
            return (UNKNOWN_FUNCTION,)
        handler, count = call
        if len(args) != count:
            args = (*args, *(0,) * count)[:count]
        return handler(self, *args)

    def rsi(self, rec_pa: int, regs: Sequence[int]) -> Resume | Exit:
        """What becomes of an SMC that the Realm made on a running REC?

        Args:
            rec_pa: the REC.
            regs: X0 (function) and up; missing ones are 0.

        Returns:
            `Resume` with the registers to set, or the `Exit` that was written to the run page.

        Raises:
            ValueError: the REC is not running; a mistake of the machine, not of the Realm.
        """
        rec_ = self.running(rec_pa)
        x = regs if len(regs) >= RSI_REGISTERS else (*regs, *(0,) * (RSI_REGISTERS - len(regs)))
        function = x[0] & 0xFFFF_FFFF
        handler = self._rsi.get(function)
        if handler is not None:
            return handler(self, rec_, x)
        if function in psci.FUNCTIONS:
            return psci.call(self, rec_, x)
        if function == psci_numbers.SMCCC_VERSION:
            return Resume({0: psci_numbers.SMCCC_1_2}, advance=True)
        return Resume({0: psci_numbers.NOT_SUPPORTED}, advance=True)

    def access(
        self,
        rec_pa: int,
        ipa: int,
        kind: Kind,
        size: int = 8,
        *,
        value: int = 0,
        esr: int | None = None,
    ) -> Translated | Sea | Exit:
        """What becomes of a load, store or fetch of the Realm at `ipa` on a running REC?

        Args:
            rec_pa: the REC.
            ipa: the intermediate physical address, shared bit as used.
            kind: "r", "w" or "x".
            size: bytes.
            value: what a store stores; the host sees it if it may emulate the store.
            esr: ESR_EL2 of the trap, from a real CPU. Without it, a plain load to XZR or store.

        Returns:
            `Translated`; `Sea` if the RMM injects an external abort; or the `Exit` that was
            written to the run page.
        """
        found = stage2_access.access(self, self.running(rec_pa), ipa, kind, size, value, esr)
        if self.listening and isinstance(found, Sea):
            fault = f"stage 2 fault, fsc 0x{found.fsc:02x}"
            self.emit(Event("rmm", "sea", address=ipa, direction=kind, size=size, detail=fault))
        return found

    def interrupt(self, rec_pa: int, reason: ExitReason = ExitReason.IRQ) -> Exit:
        """Take a running REC back to the host for an interrupt (IRQ, FIQ or SERROR)."""
        return self.leave(self.running(rec_pa), Exit(reason))

    def realm(self, rd: int) -> Realm:
        """Which Realm has the descriptor at `rd`?

        Raises:
            KeyError: none has.
        """
        return self.realms[rd]

    def rec(self, rec_pa: int) -> Rec:
        """Which REC is at `rec_pa`?

        Raises:
            KeyError: none is.
        """
        return self.recs[rec_pa]

    def running(self, rec_pa: int) -> Rec:
        """Which REC at `rec_pa` is running? ValueError if it is not."""
        found = self.recs.get(rec_pa)
        if found is None or not found.running:
            raise ValueError(f"no REC is running at 0x{rec_pa:016x}")
        return found

    def leave(self, rec_: Rec, exit_: Exit) -> Exit:
        """Return a REC to the host: the run page holds the exit, the REC no longer runs."""
        rec_.running = False
        write_exit(self, rec_.run, exit_)
        if self.listening:
            self.emit(exit_event(exit_))
        return exit_

    def serve_2_0(self) -> None:
        """Answer all commands of RMI 2.0."""
        self.active = True
        self._rmi = dict(commands.RMI_2_0)
        self._rsi |= commands.RSI_1_1

    def attestor(self) -> Attestor:
        """Who signs the tokens of this RMM? Made, with its keys, when first asked for.

        Raises:
            ImportError: the `attest` extra is not installed.
        """
        if self._attestor is None:
            self._attestor = Attestor()
        return self._attestor

    def invalidate(self, realm_: Realm, ipa: int, size: int) -> None:
        """Valid entries of [ipa, ipa + size) were changed or removed: make the SMMU forget."""
        if self.smmu is not None:
            self.smmu.invalidate(realm_.vmid, ipa, size)

    def trusted_stream(self, sid: int) -> Realm | None:
        """Whose table does the stream of a trusted device translate through?

        Returns:
            the Realm, once it has accepted the device and enabled its DMA; None where the
            Realm stream table has no valid entry (the access is aborted).
        """
        return next((v.realm for v in self.vdevs.values() if v.tdi_id == sid and v.dma), None)

    def mapping_validated(self, request: MappingRequest, refused: bool) -> Resume:
        """What does RSI_VDEV_VALIDATE_MAPPING return?"""
        return devices.mapping_validated(request, refused)

    def finish_host_call(self, rec_: Rec, ipa: int, gprs: bytes) -> int | None:
        """Store what the host returned in the Realm's host call structure."""
        return rsi.finish_host_call(self, rec_, ipa, gprs)

    def free_vmid(self) -> int:
        """Which VMID does no Realm have? -1 if all are taken."""
        taken = {realm_.vmid for realm_ in self.realms.values()}
        return next((vmid for vmid in range(1, 1 << 16) if vmid not in taken), -1)

    # Events. Callers ask `listening` first: an ignored event costs nothing.

    def say_granule(self, what: str, pa: int, size: int) -> None:
        """Emit that granules were delegated or undelegated."""
        self.emit(Event("rmm", "granule", pa=pa, size=size, status=what))

    def say_ripas(self, realm_: Realm, ipa: int, size: int, value: Ripas) -> None:
        """Emit that a range of protected IPAs has another RIPAS."""
        self.emit(Event("rmm", "ripas", phys=ipa, size=size, status="ok", attrs=value.name))

    def say_rtt(self, event: str, realm_: Realm, ipa: int, pa: int | None, size: int) -> None:
        """Emit that a range of IPAs was mapped or unmapped."""
        half = "unprotected" if ipa >= realm_.half else "protected"
        phys = ipa & (realm_.half - 1)
        self.emit(Event("rmm", event, address=ipa, phys=phys, pa=pa, size=size, attrs=half))

    def say_realm_config(self, ipa: int, ipa_bits: int) -> None:
        """Emit which width the Realm was told, by its shared bit."""
        bit = 1 << (ipa_bits - 1)
        self.emit(Event("rmm", "realm_config", address=bit, phys=ipa, detail=f"{ipa_bits} bits"))

    def say_table_gone(self, realm_: Realm, ipa: int, words: Words, level: int) -> None:
        """Emit what the destruction of a table did to the range that it covered."""
        size = len(words) << SHIFTS[level]
        if ipa < realm_.half:
            self.say_ripas(realm_, ipa, size, Ripas.DESTROYED)
        elif (words & np.uint64(1)).any():
            self.say_rtt("rtt_unmap", realm_, ipa, None, size)


def exit_event(exit_: Exit) -> Event:
    """Which event tells of an exit? `address`: the IPA as the host sees it, shared bit and all."""
    event = Event("rmm", "rmm_exit", status=exit_.reason.name)
    if exit_.reason == ExitReason.SYNC:
        event.address = exit_.hpfar << 8 | exit_.far
        event.detail = f"ESR 0x{exit_.esr:08x}"
    elif exit_.reason in (ExitReason.RIPAS_CHANGE, ExitReason.VDEV_MAP):
        event.phys = exit_.ripas_base
        event.size = exit_.ripas_top - exit_.ripas_base
        event.attrs = Ripas(exit_.ripas_value).name
    return event
