"""How does the host program its SMMU? (drivers/iommu/arm/arm-smmu-v3)

Stream table, command queue and event queue in memory bytes, registers through a port: the model's
SMMU and QEMU's are programmed by the same code. One domain: all assigned streams of the guest
translate through one stage-2 table. Registers and formats: IHI0070, chapters 4 to 7.
"""

from __future__ import annotations

from typing import Protocol

from topbit.arch.ipa import Pa
from topbit.arch.smmuv3 import STE, Command, EventRecord, Opcode
from topbit.arch.smmuv3_regs import CR0, OVERFLOW, QueueBase, Reg, StrtabBase, StrtabBaseCfg
from topbit.memory import PhysicalMemory

PAGE = 4096
SID_BITS = 8
CMDQ_LOG2 = 8
EVENTQ_LOG2 = 9
CR1_CACHEABLE = 0xD75  # tables and queues inner shareable, write-back
CR2_RECINVSID = 2


class SmmuPort(Protocol):
    """The SMMU's registers."""

    def read_reg(self, offset: int) -> int:
        """What does the register read as?"""
        ...

    def write_reg(self, offset: int, value: int) -> None:
        """Write the register."""
        ...


class PageAllocator(Protocol):
    """Gives zeroed physical memory, aligned to its size (a power of two)."""

    def __call__(self, size: int) -> Pa:
        """Where do `size` zeroed bytes stand?"""
        ...


class ArmSmmuV3:
    """The host's driver of one SMMU.

    - `enable()` once;
    - `attach(sid, ste)`, `detach(sid)`;
    - `invalidate(vmid)` after every change of a table;
    - `events()` takes what the SMMU recorded since the last call.

    Args:
        port: the SMMU's registers.
        memory: holds stream table and queues.
        allocate: gives memory for them.
        sid_bits: width of the StreamIDs: 8 for one PCI bus, 16 for all.
        eventq_log2: log2 of the entries of the event queue.
    """

    def __init__(
        self,
        port: SmmuPort,
        memory: PhysicalMemory,
        allocate: PageAllocator,
        sid_bits: int = SID_BITS,
        eventq_log2: int = EVENTQ_LOG2,
    ) -> None:
        self.port = port
        self.memory = memory
        self.sid_bits = sid_bits
        self.eventq_log2 = eventq_log2
        self.stream_table = allocate(STE.size() << sid_bits)
        self.cmdq = allocate(max(PAGE, Command.size() << CMDQ_LOG2))
        self.eventq = allocate(max(PAGE, EventRecord.size() << eventq_log2))
        self._cmd_prod = 0
        self._event_cons = 0

    def enable(self) -> None:
        """Program the bases and switch the SMMU on; every stream without an STE aborts."""
        write = self.port.write_reg
        write(Reg.CR1, CR1_CACHEABLE)
        write(Reg.CR2, CR2_RECINVSID)
        write(Reg.STRTAB_BASE, StrtabBase(ADDR=self.stream_table).words[0])
        write(Reg.STRTAB_BASE_CFG, StrtabBaseCfg(LOG2SIZE=self.sid_bits).words[0])
        write(Reg.CMDQ_BASE, QueueBase(ADDR=self.cmdq, LOG2SIZE=CMDQ_LOG2).words[0])
        write(Reg.EVENTQ_BASE, QueueBase(ADDR=self.eventq, LOG2SIZE=self.eventq_log2).words[0])
        write(Reg.CR0, CR0.CMDQEN)
        write(Reg.CR0, CR0.CMDQEN | CR0.EVENTQEN)
        self.command(Command(Opcode=Opcode.CFGI_STE_RANGE, Range=31))
        self.command(Command(Opcode=Opcode.TLBI_NSNH_ALL))
        write(Reg.CR0, CR0.CMDQEN | CR0.EVENTQEN | CR0.SMMUEN)

    def attach(self, sid: int, ste: STE) -> None:
        """Give a stream its STE: the other words first, the valid one last."""
        at = self._ste(sid)
        self.memory.write(at + 8, ste.pack()[8:])
        self.memory.write_u64(at, ste.words[0])
        self.command(Command(Opcode=Opcode.CFGI_STE, StreamID=sid, Leaf=1))

    def detach(self, sid: int) -> None:
        """Take a stream's STE away; its accesses abort."""
        self.memory.write_u64(self._ste(sid), 0)
        self.command(Command(Opcode=Opcode.CFGI_STE, StreamID=sid, Leaf=1))

    def _ste(self, sid: int) -> Pa:
        if not 0 <= sid < 1 << self.sid_bits:
            raise ValueError(f"StreamID 0x{sid:x} lies outside the stream table")
        return self.stream_table + STE.size() * sid

    def invalidate(self, vmid: int) -> None:
        """Make the SMMU forget every translation of `vmid`."""
        self.command(Command(Opcode=Opcode.TLBI_S12_VMALL, VMID=vmid))

    def command(self, command: Command) -> None:
        """Let the SMMU carry out one command, and wait for it (CMD_SYNC)."""
        for entry in (command, Command(Opcode=Opcode.SYNC)):
            index = self._cmd_prod & ((1 << CMDQ_LOG2) - 1)
            self.memory.write(self.cmdq + Command.size() * index, entry.pack())
            self._cmd_prod = (self._cmd_prod + 1) & ((2 << CMDQ_LOG2) - 1)
        self.port.write_reg(Reg.CMDQ_PROD, self._cmd_prod)

    def events(self, *, free: bool = True) -> list[EventRecord]:
        """Which events did the SMMU record since the last call?

        `free`: gives their places back to the SMMU; a host that never does loses events.
        """
        prod = self.port.read_reg(Reg.EVENTQ_PROD)
        wrap = (2 << self.eventq_log2) - 1
        taken = []
        while self._event_cons != prod & wrap:
            index = self._event_cons & ((1 << self.eventq_log2) - 1)
            data = self.memory.read(self.eventq + EventRecord.size() * index, EventRecord.size())
            taken.append(EventRecord.unpack(data))
            self._event_cons = (self._event_cons + 1) & wrap
        if free:
            self.port.write_reg(Reg.EVENTQ_CONS, self._event_cons | (prod & OVERFLOW))
        return taken
