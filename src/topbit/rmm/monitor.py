"""What does the RMM answer to the host, to the Realm, and to what the Realm's CPU does?

`Rmm` has four doors: `rmi` for the host's calls, `rsi` for the Realm's, `access` for what the
Realm's CPU does with memory, and `trap` for the other instructions that trap. All parameter pages
are bytes in physical memory. Whatever values come in, the answer is a status, an exit or an abort,
never a Python exception.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from topbit.arch import psci as psci_numbers
from topbit.arch.ipa import Ipa, Pa
from topbit.arch.rmi import UNKNOWN_FUNCTION, ExitReason, RmiStatus
from topbit.events import Event
from topbit.rmm import exit as realm_exit
from topbit.rmm import handlers
from topbit.rmm.exit import Kind, Sea, Translated
from topbit.rmm.realm import Realm, Rec
from topbit.rmm.rec_run import Exit, Resume
from topbit.rmm.rsi import psci
from topbit.rmm.state import RmmState

RSI_REGISTERS = 31


class Rmm(RmmState):
    """The RMM of one platform: what it knows (`RmmState`), and its doors."""

    _handlers: Mapping[int, tuple[handlers.RmiHandler, int]] = {}

    def rmi(self, fid: int, args: Sequence[int] = ()) -> tuple[int, ...]:
        """What does the host's SMC return?

        Args:
            fid: X0, an `arch.rmi.Rmi` number.
            args: X1 and up, any u64; missing ones are 0, surplus ones are ignored.

        Returns:
            X0 (status | index << 8) and the command's outputs from X1 on. An unknown function
            answers SMCCC NOT_SUPPORTED.
        """
        call = self._handlers.get(fid)
        if call is None:  # unknown, or known only since the activation
            self._handlers = handlers.rmi_handlers(self)
            call = self._handlers.get(fid)
        if call is None:
            if not self.active and fid in handlers.RMI_CALLS[self.revision.name]:
                return (int(RmiStatus.ERROR_GLOBAL),)
            return (UNKNOWN_FUNCTION,)
        handler, count = call
        if len(args) != count:
            args = (*args, *(0,) * count)[:count]
        return handler(self, *args)

    def rsi(self, rec_pa: Pa, regs: Sequence[int]) -> Resume | Exit:
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
        handler = handlers.rsi_handlers(self).get(function)
        if handler is not None:
            return handler(self, rec_, x)
        if function in psci.FUNCTIONS:
            return psci.call(self, rec_, x)
        if function == psci_numbers.SMCCC_VERSION:
            return Resume({0: psci_numbers.SMCCC_1_2}, advance=True)
        return Resume({0: psci_numbers.NOT_SUPPORTED}, advance=True)

    def access(
        self,
        rec_pa: Pa,
        ipa: Ipa,
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
        found = realm_exit.access(self, self.running(rec_pa), ipa, kind, size, value, esr)
        if self.listening and isinstance(found, Sea):
            fault = f"stage 2 fault, fsc 0x{found.fsc:02x}"
            self.emit(Event("rmm", "sea", address=ipa, direction=kind, size=size, detail=fault))
        return found

    def trap(self, rec_pa: Pa, esr: int) -> Resume | Exit:
        """What becomes of an instruction of the Realm that traps: WFI, WFE, HVC, another?

        Args:
            rec_pa: the REC; it is running.
            esr: ESR_EL2 of the trap. Those of an SMC go to `rsi`, of an abort to `access`.
        """
        return realm_exit.trap(self, self.running(rec_pa), esr)

    def interrupt(self, rec_pa: Pa, reason: ExitReason = ExitReason.IRQ) -> Exit:
        """Take a running REC back to the host for an interrupt (IRQ, FIQ or SERROR)."""
        return self.leave(self.running(rec_pa), Exit(reason))

    def realm(self, rd: Pa) -> Realm:
        """Which Realm has the descriptor at `rd`?

        Raises:
            KeyError: none has.
        """
        return self.realms[rd]

    def rec(self, rec_pa: Pa) -> Rec:
        """Which REC is at `rec_pa`?

        Raises:
            KeyError: none is.
        """
        return self.recs[rec_pa]

    def trusted_stream(self, sid: int) -> Realm | None:
        """Whose table does the stream of a trusted device translate through?

        Returns:
            the Realm, once it has accepted the device and enabled its DMA; None where the
            Realm stream table has no valid entry (the access is aborted).
        """
        return next((v.realm for v in self.vdevs.values() if v.tdi_id == sid and v.dma), None)
