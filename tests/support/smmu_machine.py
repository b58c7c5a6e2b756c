"""A small SMMU with a linear stream table, both queues and one stage-2 table, for tests."""

from __future__ import annotations

import realm_stream_table
from topbit.arch.smmuv3 import STE, Command, EventRecord, Opcode
from topbit.arch.smmuv3_regs import CR0, Reg
from topbit.events import Emit, ignore
from topbit.host.io_pgtable import Stage2Table
from topbit.host.pages import PageRange
from topbit.memory import PhysicalMemory
from topbit.smmu import Smmu
from topbit.smmu.bus import Gpc

RAM = 0x4000_0000
STRTAB = RAM
CMDQ = RAM + 0x1_0000
EVENTQ = RAM + 0x2_0000
REALM_STRTAB = RAM + 0x4_0000
TABLES = RAM + 0x10_0000
DATA = RAM + 0x40_0000
SID = 8
VMID = 3
IPA_BITS = 41
ALIAS = 1 << (IPA_BITS - 1)
LOG2 = 4
ALL = CR0.SMMUEN | CR0.CMDQEN | CR0.EVENTQEN


class Machine:
    """Programmed as a host would program it."""

    def __init__(self, *, gpc: Gpc | None = None, emit: Emit = ignore) -> None:
        self.memory = PhysicalMemory(RAM, 8 << 20)
        self.smmu = Smmu(self.memory, gpc=gpc, emit=emit)
        self.pages = PageRange(self.memory, TABLES, 0x20_0000)
        self.table = Stage2Table(self.memory, self.pages, IPA_BITS)
        smmu = self.smmu
        smmu.write_reg(Reg.STRTAB_BASE, STRTAB)
        smmu.write_reg(Reg.STRTAB_BASE_CFG, 8)
        smmu.write_reg(Reg.CMDQ_BASE, CMDQ | LOG2)
        smmu.write_reg(Reg.EVENTQ_BASE, EVENTQ | LOG2)
        smmu.write_reg(Reg.CR2, 2)
        smmu.write_reg(Reg.CR0, ALL)
        self.install(SID, self.table.ste(VMID))

    def install(self, sid: int, ste: STE) -> None:
        self.memory.write(STRTAB + 64 * sid, ste.pack())

    def install_realm(self, sid: int, ste: STE) -> range:
        """An entry of the Realm stream table, as the RMM writes it; the table's pages."""
        return realm_stream_table.install(self.smmu, REALM_STRTAB, sid, ste)

    def queue(self, *commands: Command) -> None:
        """Put commands into the queue's memory and ring the doorbell."""
        prod = self.smmu.read_reg(Reg.CMDQ_PROD)
        for command in commands:
            self.memory.write(CMDQ + 16 * (prod % (1 << LOG2)), command.pack())
            prod = (prod + 1) % (2 << LOG2)
        self.smmu.write_reg(Reg.CMDQ_PROD, prod)

    def sync(self, *commands: Command) -> None:
        self.queue(*commands, Command(Opcode=Opcode.SYNC))
        assert self.smmu.read_reg(Reg.CMDQ_CONS) == self.smmu.read_reg(Reg.CMDQ_PROD)

    def recorded(self) -> list[EventRecord]:
        """The records that stand in the event queue (without wrapping)."""
        prod = self.smmu.read_reg(Reg.EVENTQ_PROD) & ((2 << LOG2) - 1)
        return [
            EventRecord.unpack(self.memory.read(EVENTQ + 32 * (i % (1 << LOG2)), 32))
            for i in range(prod)
        ]
