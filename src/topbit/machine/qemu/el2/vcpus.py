"""What does a trap of the real CPU mean to the RMM and the VMM, and how does the CPU go on?

One vCPU of QEMU is one REC. Each trap goes to the RMM (`rsi` or `access`); if the RMM returns the
REC to the host, the VMM handles the exit and enters the REC again, which leaves what the vCPU
needs to go on. Nothing here decides what an RSI call or an exit means.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from topbit.arch import esr as esr_fields
from topbit.arch import psci
from topbit.arch.esr import ESR_S1PTW, ESR_WNR, XZR
from topbit.arch.ipa import Ipa, Pa
from topbit.arch.psci import Psci
from topbit.arch.rmi import ExitReason, Ripas
from topbit.machine.qemu.el2 import registers
from topbit.machine.qemu.el2.cpu_model import CpuFeatures
from topbit.machine.qemu.el2.mailbox import SMC, TLBI_ALL, Mailbox, Ops, Reason, forget
from topbit.machine.qemu.el2.registers import ExceptionClass
from topbit.rmm import Exit, Resume, Rmm, Sea, Translated
from topbit.rmm.exit import Kind
from topbit.vmm.power import Power
from topbit.vmm.vmm import Vmm

SEA = 0x10  # fault status code: synchronous external abort, not on a table walk
_SPURIOUS_LIMIT = 8
_OFF_POLLS = 1000


class RealmCpus:
    """Which REC runs on which vCPU, and what does each trap of it lead to?

    Args:
        rmm: the RMM.
        vmm: the host.
        recs: the REC of each vCPU.
        entry: load address of the EL2 program, where PSCI starts a vCPU.
        at_el2: is called at each trap before it is handled, `current` set: what waited for a
            vCPU at EL2 can be done now.
        started: is called with a REC that was entered for the first time, before its first
            instruction.

    Attributes:
        ended: why the Realm has powered off; None while it runs.
        at_resume: operations that the vCPU carries out before its guest goes on.
        current: the mailbox of the vCPU whose trap is being handled; None between traps.
    """

    def __init__(
        self,
        rmm: Rmm,
        vmm: Vmm,
        recs: list[Pa],
        entry: Pa,
        at_el2: Callable[[], None],
        started: Callable[[Pa], None],
    ) -> None:
        self.rmm = rmm
        self.vmm = vmm
        self.recs = recs
        self.ended: str | None = None
        self.at_resume: Ops = []
        self.current: Mailbox | None = None
        self._entry = entry
        self._at_el2 = at_el2
        self._started = started
        self._spurious: dict[int, tuple[int, int, int]] = {}
        self._handlers: dict[int, Callable[[Mailbox, Pa], None]] = {
            ExceptionClass.SMC64: self._smc,
            ExceptionClass.DATA_ABORT_LOWER: self._abort,
            ExceptionClass.INSTRUCTION_ABORT_LOWER: self._abort,
        }

    def __call__(self, mailbox: Mailbox) -> None:
        """Handle one trap. The vCPU stays stopped if the Realm has ended."""
        self.current = mailbox
        try:
            if self.ended is None:
                reason = mailbox.reason  # `do` leaves another
                self._at_el2()
                self._handle(mailbox, reason, self.recs[mailbox.index])
        finally:
            self.current = None

    def _handle(self, mailbox: Mailbox, reason: int, rec: Pa) -> None:
        if reason == Reason.START:
            realm = self.rmm.rec(rec).realm
            features = CpuFeatures.read(
                mailbox.do([registers.mrs(r) for r in CpuFeatures.ID_REGISTERS])
            )
            bits = realm.space.bits
            features.require(bits)
            stage2 = bits, realm.start_level, realm.rtt_base, realm.vmid
            mailbox.do(registers.setup(features, *stage2))
            self.vmm.enter(rec)
            first = self.rmm.rec(rec).resume
            self._started(rec)
            self._go_on(mailbox, rec, first)
        elif reason == Reason.LOWER_SYNC:
            handler = self._handlers.get(registers.exception_class(mailbox.esr), self._trap)
            handler(mailbox, rec)
        else:  # an SError of the guest's own making, or an interrupt that nobody routed here
            mailbox.resume()

    def _smc(self, mailbox: Mailbox, rec: Pa) -> None:
        self._go_on(mailbox, rec, self.rmm.rsi(rec, list(mailbox.x)))

    def _trap(self, mailbox: Mailbox, rec: Pa) -> None:
        self._go_on(mailbox, rec, self.rmm.trap(rec, mailbox.esr))

    def _abort(self, mailbox: Mailbox, rec: Pa) -> None:
        esr, ipa = mailbox.esr, registers.faulting_ipa(mailbox)
        if registers.exception_class(esr) == ExceptionClass.INSTRUCTION_ABORT_LOWER:
            outcome = self.rmm.access(rec, ipa, "x", 4, esr=esr)
        else:
            register = esr_fields.register(esr)
            value = 0 if register == XZR else mailbox.x[register]
            size = esr_fields.access_bytes(esr)
            kind: Kind = "w" if esr & ESR_WNR and not esr & ESR_S1PTW else "r"  # a walk reads
            outcome = self.rmm.access(rec, ipa, kind, size, value=value, esr=esr)
        if isinstance(outcome, Sea):
            mailbox.resume(registers.inject_abort(mailbox, SEA))
        elif isinstance(outcome, Translated):
            self._again(mailbox)
        else:
            self._go_on(mailbox, rec, outcome)

    def _again(self, mailbox: Mailbox) -> None:
        """Another vCPU has mended the translation meanwhile; but not for ever."""
        last_elr, last_far, count = self._spurious.get(mailbox.index, (0, 0, 0))
        same = (last_elr, last_far) == (mailbox.elr, mailbox.far)
        count = count + 1 if same else 1
        self._spurious[mailbox.index] = (mailbox.elr, mailbox.far, count)
        if count > _SPURIOUS_LIMIT:
            mailbox.resume(registers.inject_abort(mailbox, SEA))
        else:
            mailbox.resume([TLBI_ALL])

    def _go_on(self, mailbox: Mailbox, rec: Pa, outcome: Resume | Exit) -> None:
        """Let the VMM handle exits until the REC runs, then set the vCPU's registers."""
        ops: Ops = []
        while isinstance(outcome, Exit):
            if outcome.reason == ExitReason.PSCI:
                if not self._power(mailbox, rec):
                    return
            else:
                self.vmm.handle_exit(rec)
                if self.vmm.stopped is not None:
                    self.ended = f"died: {self.vmm.stopped}"
                    return
            if outcome.reason == ExitReason.RIPAS_CHANGE:
                # The RMM's TLBI. Until it is done another vCPU may still use the old translation
                # of a page; both physical pages behind it belong to the guest for ever.
                ops = [forget(self._left(rec, outcome), outcome.range_top - outcome.range_base)]
            outcome = self.rmm.rec(rec).resume
        if self.at_resume:
            ops = [*ops, *self.at_resume]
            self.at_resume.clear()
        if outcome.sea:
            mailbox.resume(ops + registers.inject_abort(mailbox, SEA))
            return
        if outcome.undefined:
            mailbox.resume(ops + registers.inject_undefined(mailbox))
            return
        if outcome.pc is not None:
            registers.enter(mailbox, outcome.pc, outcome.regs)
        else:
            for register, value in outcome.regs.items():
                mailbox.x[register] = value
            if outcome.advance:
                mailbox.elr = mailbox.elr + 4 & 0xFFFF_FFFF_FFFF_FFFF
        mailbox.resume(ops)

    def _left(self, rec: Pa, asked: Exit) -> Ipa:
        """In which half do pages lose their translations, from which IPA on? What becomes shared
        is taken out of the protected half, what becomes private out of the other."""
        base = Ipa(asked.range_base)
        if asked.ripas == Ripas.EMPTY:
            return base
        return self.rmm.rec(rec).realm.space.unprotected(base)

    def _power(self, mailbox: Mailbox, rec: Pa) -> bool:
        """Do with the vCPUs what the Realm's PSCI call asks of its host.

        Returns:
            True when the REC was entered again; False when its vCPU no longer runs.
        """
        request = self.vmm.power_request(rec)
        if request.power is Power.END:
            self.ended = "power off" if request.call == Psci.SYSTEM_OFF else "reset"
            return False
        if request.power is Power.OFF:
            mailbox.x[0] = Psci.CPU_OFF
            mailbox.resume([SMC])  # never returns; PSCI CPU_ON starts the vCPU from the top
            return False
        if request.power is Power.WAIT:
            mailbox.do([registers.WAIT_FOR_INTERRUPT])
        if request.mpidr is not None:
            self._start(mailbox, request.mpidr)
        self.vmm.enter(rec)
        return True

    def _start(self, mailbox: Mailbox, mpidr: int) -> None:
        """Have QEMU start the vCPU `mpidr` at the EL2 program, by a call of this one."""
        saved = [mailbox.x[n] for n in range(4)]
        for _ in range(_OFF_POLLS):
            for n, value in enumerate((Psci.CPU_ON_64, mpidr, self._entry, 0)):
                mailbox.x[n] = value
            mailbox.do([SMC])
            if mailbox.x[0] != psci.ALREADY_ON:
                break
            time.sleep(1e-3)  # QEMU has not finished turning it off yet
        for n, value in enumerate(saved):
            mailbox.x[n] = value
