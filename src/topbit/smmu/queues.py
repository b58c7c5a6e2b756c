"""How do the command queue and the event queue pass 16- and 32-byte entries through memory?

A queue is a power of two of entries; each index carries one wrap bit above it, so that full and
empty differ (IHI0070 3.5).
"""

from __future__ import annotations

from dataclasses import dataclass, field

from topbit.arch.gpt import PAS
from topbit.arch.ipa import Pa
from topbit.arch.smmuv3 import COMMAND_BYTES, EVENT_BYTES, Command, EventRecord
from topbit.arch.smmuv3_regs import OVERFLOW, GpfReason, QueueBase
from topbit.smmu.bus import Bus

_CMDQ_GPF = 0x00  # SMMU_ROOT_GPF_FAR.FAULTCODE with REASON = GERROR
_EVENTQ_GPF = 0x02


@dataclass(slots=True)
class Queue:
    """Where does the next entry of a queue stand?

    Attributes:
        entry_bytes: size of an entry.
        log2_max: the largest log2 of entries that the SMMU supports (SMMU_IDR1).
        base: the base register.
        prod, cons: the index registers, with their wrap bit.
    """

    entry_bytes: int
    log2_max: int
    base: QueueBase = field(default_factory=QueueBase)
    prod: int = 0
    cons: int = 0

    @property
    def log2size(self) -> int:
        """How many index bits does the queue use?"""
        return min(self.base.LOG2SIZE, self.log2_max)

    @property
    def empty(self) -> bool:
        """Do the indices and their wrap bits agree?"""
        return not (self.prod ^ self.cons) & ((2 << self.log2size) - 1)

    @property
    def full(self) -> bool:
        """Do the indices agree while their wrap bits differ?"""
        return (self.prod ^ self.cons) & ((2 << self.log2size) - 1) == 1 << self.log2size

    def address(self, index: int) -> Pa:
        """At which physical address does the entry of an index register stand?"""
        size = self.log2size
        alignment = max(5, size + self.entry_bytes.bit_length() - 1)
        base = Pa(self.base.ADDR >> alignment << alignment)
        return base + (index & ((1 << size) - 1)) * self.entry_bytes

    def next(self, index: int) -> int:
        """What is an index register one entry later? The wrap bit toggles at the end."""
        return (index + 1) & ((2 << self.log2size) - 1)


class CommandQueue(Queue):
    """Which command does software want next?"""

    def __init__(self, log2_max: int) -> None:
        super().__init__(COMMAND_BYTES, log2_max)

    def peek(self, bus: Bus) -> Command:
        """Which command stands at CONS?

        Raises:
            FetchAbort: it could not be read (CERROR_ABT).
        """
        pa = self.address(self.cons)
        data = bus.fetch(pa, COMMAND_BYTES, PAS.NS, GpfReason.GERROR, _CMDQ_GPF)
        return Command.unpack(data)


class EventQueue(Queue):
    """Did an event record reach memory?"""

    def __init__(self, log2_max: int) -> None:
        super().__init__(EVENT_BYTES, log2_max)
        self.overflow = 0  # EVENTQ_PROD.OVFLG
        self.overflow_acknowledged = 0  # EVENTQ_CONS.OVACKFLG

    def record(self, event: EventRecord, bus: Bus) -> bool:
        """Write `event` at PROD. A full queue loses it and says so in OVFLG (IHI0070 7.4).

        Raises:
            FetchAbort: the queue's memory could not be written (the event is lost).
        """
        if self.full:
            if self.overflow == self.overflow_acknowledged:
                self.overflow ^= OVERFLOW
            return False
        pa = self.address(self.prod)
        bus.store(pa, event.pack(), PAS.NS, GpfReason.GERROR, _EVENTQ_GPF)
        self.prod = self.next(self.prod)
        return True
