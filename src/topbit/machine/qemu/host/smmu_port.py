"""How does the host reach the registers of QEMU's SMMUv3?

Only a vCPU at EL2 can: a register access is an operation of the EL2 program, carried out at once
by the vCPU whose trap is being handled, or else by the next one that traps. The event queue is
read without any register: a record that is not zero is new.
"""

from __future__ import annotations

from collections.abc import Callable

from topbit.arch.ipa import Pa
from topbit.arch.smmuv3 import EventRecord
from topbit.arch.smmuv3_regs import QueueBase, Reg
from topbit.machine.qemu.el2.mailbox import Mailbox, Op, Ops, r32, w32, w64
from topbit.machine.qemu.host.memory_map import SMMU
from topbit.memory import PhysicalMemory

_WIDE = (Reg.STRTAB_BASE, Reg.CMDQ_BASE, Reg.EVENTQ_BASE)


class QemuSmmuPort:
    """The SMMU's registers (a `vmm.arm_smmu_v3.SmmuPort`).

    Args:
        memory: physical memory, where the event queue stands.
        current: the mailbox of the vCPU that is at EL2 now, or None.
    """

    def __init__(self, memory: PhysicalMemory, current: Callable[[], Mailbox | None]) -> None:
        self._memory = memory
        self._current = current
        self._later: Ops = []
        self._queue = Pa(0)
        self._log2 = 0
        self._cons = 0

    def write_reg(self, offset: int, value: int) -> None:
        """Write a register, now or as soon as a vCPU traps."""
        if offset == Reg.EVENTQ_BASE:
            base = QueueBase.of(value)
            self._queue, self._log2 = Pa(base.ADDR), base.LOG2SIZE
        elif offset == Reg.EVENTQ_CONS:
            if value == self._cons:
                return
            self._forget(value)
        operation = w64(SMMU + offset, value) if offset in _WIDE else w32(SMMU + offset, value)
        self._do([operation])

    def read_reg(self, offset: int) -> int:
        """What does a register read as? Between traps: 0, but for EVENTQ_PROD."""
        if offset == Reg.EVENTQ_PROD:
            return self._event_prod()
        mailbox = self._current()
        return mailbox.do([r32(SMMU + offset)])[0] & 0xFFFF_FFFF if mailbox else 0

    @property
    def full(self) -> bool:
        """Is there no place left in the event queue?"""
        return self._event_prod() - self._cons & (2 << self._log2) - 1 == 1 << self._log2

    def flush(self) -> None:
        """Carry out what was written while no vCPU was at EL2; one is now."""
        if self._later:
            self._do([])

    def _do(self, ops: list[Op]) -> None:
        mailbox = self._current()
        self._later += ops
        if mailbox is not None:
            ops, self._later = self._later, []
            mailbox.do(ops)

    def _record(self, counter: int) -> Pa:
        return self._queue + EventRecord.size() * (counter & ((1 << self._log2) - 1))

    def _event_prod(self) -> int:
        wrap = (2 << self._log2) - 1
        counter = self._cons
        for _ in range(1 << self._log2):
            if not self._memory.read_u64(self._record(counter)):
                break
            counter = counter + 1 & wrap
        return counter

    def _forget(self, cons: int) -> None:
        """Zero the records that the driver has taken, so that new ones show."""
        wrap = (2 << self._log2) - 1
        while self._cons != cons & wrap:
            self._memory.fill(self._record(self._cons), EventRecord.size())
            self._cons = self._cons + 1 & wrap
