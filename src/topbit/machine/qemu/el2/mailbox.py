"""What do Python and the EL2 program say to each other, and where does it stand in memory?

Each vCPU has two pages behind the program (`trampoline.S`, which holds the same numbers): the
registers of the trapped guest, a sequence number that the program raises, an acknowledgement
that Python sets equal to it, and the answer: a list of operations.

An answer is a list of `Op`s. `Mailbox.resume` lets the guest go on after them; `Mailbox.do` has
them carried out while the vCPU stays trapped, and returns their results.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from enum import IntEnum
from pathlib import Path
from typing import NamedTuple, TypeAlias

from topbit.arch.ipa import Ipa, Pa
from topbit.errors import RunError
from topbit.host.pages import PAGE
from topbit.memory import PhysicalMemory

PROGRAM = Path(__file__).with_name("trampoline.bin")
MAILBOXES_OFFSET = 0x1_0000  # from the load address of the EL2 program
MAILBOX_BYTES = 0x2000
MAX_VCPUS = 64

_X0, _ELR, _SPSR, _ESR, _FAR, _HPFAR, _MPIDR, _REASON = 0, 31, 32, 33, 34, 35, 36, 37
_SEQ, _ACK, _BELL_ADDRESS, _BELL_VALUE = 38, 39, 40, 41
_VBAR_EL1, _SCTLR_EL1, _EL1_STATE = 42, 43, 44
_OPS = 0x400 // 8
MAX_OPS = (0x1000 - 0x400) // 24 - 1

MOST_PAGES = 64
"""Of so many pages at most are the translations forgotten one by one, which keeps the others."""
_BUSY_POLLS = 2000  # about 0.1 ms; then the vCPU's thread needs the processor more than this one
_PATIENCE = 10.0  # seconds that an operation may take


class Reason(IntEnum):
    """Why did a vCPU come to the EL2 program? 0 to 15 are the exception vectors."""

    CURRENT_SYNC_SP0 = 0
    CURRENT_SYNC = 4
    LOWER_SYNC = 8
    LOWER_IRQ = 9
    LOWER_FIQ = 10
    LOWER_SERROR = 11
    START = 16
    YIELD = 17


class Code(IntEnum):
    """Which operation can the EL2 program carry out?"""

    END = 0
    W32 = 1
    W64 = 2
    R32 = 3
    R64 = 4
    TLBI_ALL = 5
    TLBI_IPA = 6
    SMC = 7
    EXEC = 8
    SET_EL1 = 9
    YIELD = 10


class Op(NamedTuple):
    """What shall the EL2 program do next? `a` and `b` mean what `code` says."""

    code: int
    a: int = 0
    b: int = 0


Ops: TypeAlias = list[Op]

TLBI_ALL = Op(Code.TLBI_ALL)
SMC = Op(Code.SMC)
SET_EL1 = Op(Code.SET_EL1)


def w32(pa: int, value: int) -> Op:
    """Store a word at a physical address (a device's register)."""
    return Op(Code.W32, pa, value)


def w64(pa: int, value: int) -> Op:
    """Store a doubleword at a physical address."""
    return Op(Code.W64, pa, value)


def r32(pa: int) -> Op:
    """Load a word from a physical address; the result is the word."""
    return Op(Code.R32, pa)


def r64(pa: int) -> Op:
    """Load a doubleword from a physical address; the result is the doubleword."""
    return Op(Code.R64, pa)


def forget(ipa: Ipa, size: int) -> Op:
    """Forget what the pages of [ipa, ipa + size) translated to, in the half that `ipa` names.

    Of stage 1 everything, whose entries may hold combined translations.
    """
    pages = size // PAGE
    return Op(Code.TLBI_IPA, ipa // PAGE, pages) if pages <= MOST_PAGES else TLBI_ALL


def execute(instruction: int, x0: int = 0) -> Op:
    """Run one A64 instruction at EL2 with X0 set; the result is the X0 that it leaves."""
    return Op(Code.EXEC, instruction, x0)


class Mailbox:
    """What did one vCPU post, and how is it answered?

    Args:
        memory: physical memory that holds the mailbox.
        program: load address of the EL2 program.
        index: number of the vCPU (Aff0 + 16 * Aff1 of its MPIDR).
        doorbell: physical address of the device register that the program writes `index` to.
        alive: does the vCPU still exist?

    Attributes:
        index: number of the vCPU.
        x: X0 to X30 of the trapped guest; stores go through.
    """

    def __init__(
        self,
        memory: PhysicalMemory,
        program: Pa,
        index: int,
        doorbell: Pa,
        alive: Callable[[], bool] = lambda: True,
    ) -> None:
        base = program + MAILBOXES_OFFSET + index * MAILBOX_BYTES
        self._words = memory.table(base, 0x1000 // 8).data
        self._words[_BELL_ADDRESS] = doorbell
        self._words[_BELL_VALUE] = index
        self._alive = alive
        self.index = index
        self.x = self._words[_X0 : _X0 + 31]

    @property
    def pending(self) -> bool:
        """Has the vCPU posted something that is not answered yet?"""
        return self._words[_SEQ] != self._words[_ACK]

    @property
    def reason(self) -> int:
        """Why did the vCPU post? A `Reason`."""
        return self._words[_REASON]

    @property
    def esr(self) -> int:
        """ESR_EL2 of the trap."""
        return self._words[_ESR]

    @property
    def far(self) -> int:
        """FAR_EL2 of the trap."""
        return self._words[_FAR]

    @property
    def hpfar(self) -> int:
        """HPFAR_EL2 of the trap."""
        return self._words[_HPFAR]

    @property
    def mpidr(self) -> int:
        """MPIDR_EL1 of the vCPU."""
        return self._words[_MPIDR]

    @property
    def elr(self) -> int:
        """Where does the guest go on? (ELR_EL2)"""
        return self._words[_ELR]

    @elr.setter
    def elr(self, value: int) -> None:
        self._words[_ELR] = value

    @property
    def spsr(self) -> int:
        """In which state does the guest go on? (SPSR_EL2)"""
        return self._words[_SPSR]

    @spsr.setter
    def spsr(self, value: int) -> None:
        self._words[_SPSR] = value

    @property
    def vbar_el1(self) -> int:
        """VBAR_EL1 at the trap."""
        return self._words[_VBAR_EL1]

    @property
    def sctlr_el1(self) -> int:
        """SCTLR_EL1 at the trap."""
        return self._words[_SCTLR_EL1]

    def take_exception(self, elr: int, spsr: int, esr: int, far: int) -> None:
        """Say what the operation SET_EL1 shall leave in ELR_EL1, SPSR_EL1, ESR_EL1, FAR_EL1."""
        for n, value in enumerate((elr, spsr, esr, far)):
            self._words[_EL1_STATE + n] = value

    def do(self, ops: Ops) -> list[int]:
        """Have `ops` carried out while the guest stays trapped.

        Returns:
            what each of them left in its `b`: the result, where it has one.

        Raises:
            RunError: the vCPU is gone, does not finish them, or took an exception over one.
        """
        results: list[int] = []
        for start in range(0, len(ops), MAX_OPS):
            part = ops[start : start + MAX_OPS]
            self._answer(part, Code.YIELD)
            self._wait()
            self.require_program()
            results += (self._words[_OPS + 3 * i + 2] for i in range(len(part)))
        return results

    def require_program(self) -> None:
        """Is the EL2 program itself well?

        Raises:
            RunError: it has taken an exception, as over an address where nothing is.
        """
        if self.reason < Reason.LOWER_SYNC:
            raise RunError(
                f"the EL2 program faulted on vCPU {self.index}: ESR 0x{self.esr:08x}, "
                f"ELR 0x{self.elr:016x}, FAR 0x{self.far:016x}"
            )

    def resume(self, ops: Ops = []) -> None:  # noqa: B006 - never changed
        """Let the vCPU carry out `ops` (at most MAX_OPS of them) and return to the guest."""
        self._answer(ops, Code.END)

    def _answer(self, ops: Ops, last: Code) -> None:
        words, place = self._words, _OPS
        for op in ops:
            words[place], words[place + 1], words[place + 2] = op
            place += 3
        words[place] = last
        words[_ACK] = words[_SEQ]

    def _wait(self) -> None:
        for _ in range(_BUSY_POLLS):
            if self.pending:
                return
        end = time.monotonic() + _PATIENCE
        while not self.pending:
            if not self._alive() or time.monotonic() > end:
                raise RunError(f"vCPU {self.index} does not answer at EL2")
            time.sleep(50e-6)
