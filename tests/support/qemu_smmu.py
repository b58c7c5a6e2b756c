"""QEMU's SMMUv3 with `edu` devices behind it, with the interface of the model's Smmu.

Source of the addresses: QEMU 10 hw/arm/virt.c (SMMU, PCIe), docs/specs/edu.rst (registers).
An access is one DMA of an edu device. Whether it succeeded shows in the event queue and in the
bytes that it moved; where it went shows because every word of the data area is different.
"""

from __future__ import annotations

import random
from collections.abc import Sequence

from qtest import RAM_BASE, Qtest
from topbit.arch.smmuv3 import COMMAND_BYTES, EVENT_BYTES, Command, EventRecord, Opcode
from topbit.arch.smmuv3_regs import Reg
from topbit.memory import PhysicalMemory

SMMU = 0x0905_0000
ECAM = 0x40_1000_0000
BAR = 0x1000_0000
SIDS = (8, 16, 24)

STRTAB = 0x4800_0000
QUEUES = 0x4801_0000  # QEMU's event queue, then its command queue
CMDQ = QUEUES + 0x8000
LOG2_ENTRIES = 7
SCRATCH = 0x4804_0000
ENABLED = 0b1101  # SMMUEN, EVENTQEN, CMDQEN
BYPASSED = 0b1100

EDU_BUFFER = 0x4_0000
SOURCES = range(0, 0x800, 4)  # slots of the buffer that device writes take their data from
SINKS = range(0x800, 0x1000, 4)  # slots that device reads fill
UNREAD = 0xDEAD_BEEF


class QemuSmmu:
    """What does QEMU's SMMU do with the accesses of three edu devices?"""

    def __init__(self, qtest: Qtest, memory: PhysicalMemory) -> None:
        self.qtest = qtest
        self.memory = memory
        for number, sid in enumerate(SIDS):
            config = ECAM + (sid << 12)
            bar = BAR + number * 0x10_0000
            qtest.send(f"writel 0x{config + 0x10:x} 0x{bar:x}", f"writew 0x{config + 4:x} 0x6")
        self.bars = {sid: BAR + number * 0x10_0000 for number, sid in enumerate(SIDS)}
        self._events = 0
        self._commands = 0
        self._setup()
        rng = random.Random(0)
        self.sources = {slot: rng.getrandbits(32) | 1 for slot in SOURCES}
        self._fill_buffers()

    def _setup(self) -> None:
        self.qtest.send(
            f"writeq 0x{SMMU + Reg.STRTAB_BASE:x} 0x{STRTAB:x}",
            f"writel 0x{SMMU + Reg.STRTAB_BASE_CFG:x} 8",
            f"writeq 0x{SMMU + Reg.EVENTQ_BASE:x} 0x{QUEUES | LOG2_ENTRIES:x}",
            f"writeq 0x{SMMU + Reg.CMDQ_BASE:x} 0x{CMDQ | LOG2_ENTRIES:x}",
            f"writel 0x{SMMU + Reg.CR2:x} 2",
            f"writel 0x{SMMU + Reg.CR0:x} {ENABLED}",
        )

    def _fill_buffers(self) -> None:
        """Put the sources into every edu's buffer, through a bypassed SMMU."""
        for slot, value in self.sources.items():
            self.memory.write_u32(SCRATCH + slot, value)
        self._bypassed(lambda sid: self._dma(sid, SCRATCH, EDU_BUFFER, 0x800, to_ram=False))

    def reset_sinks(self) -> None:
        """Make every sink slot say that nothing was read into it."""
        for slot in SINKS:
            self.memory.write_u32(SCRATCH + slot, UNREAD)
        self._bypassed(
            lambda sid: self._dma(sid, SCRATCH + 0x800, EDU_BUFFER + 0x800, 0x800, to_ram=False)
        )

    def sinks(self, sid: int) -> dict[int, int]:
        """What does each sink slot of a device hold?"""
        self.qtest.send(f"writel 0x{SMMU + Reg.CR0:x} {BYPASSED}")
        self._dma(sid, EDU_BUFFER + 0x800, SCRATCH + 0x800, 0x800, to_ram=True)
        self.qtest.send(f"writel 0x{SMMU + Reg.CR0:x} {ENABLED}")
        return {slot: self.memory.read_u32(SCRATCH + slot) for slot in SINKS}

    def _bypassed(self, action: object) -> None:
        assert callable(action)
        self.qtest.send(f"writel 0x{SMMU + Reg.CR0:x} {BYPASSED}")
        for sid in SIDS:
            action(sid)
        self.qtest.send(f"writel 0x{SMMU + Reg.CR0:x} {ENABLED}")

    def _dma(self, sid: int, source: int, target: int, size: int, *, to_ram: bool) -> None:
        bar = self.bars[sid]
        replies = self.qtest.send(
            f"writeq 0x{bar + 0x80:x} 0x{source:x}",
            f"writeq 0x{bar + 0x88:x} 0x{target:x}",
            f"writeq 0x{bar + 0x90:x} {size}",
            f"writeq 0x{bar + 0x98:x} {1 | to_ram << 1}",
            f"readq 0x{bar + 0x98:x}",
        )
        running = int(replies[-1][0], 0) & 1
        for _ in range(100_000):
            if not running:
                return
            running = self.qtest.read("q", bar + 0x98) & 1
        raise RuntimeError("edu never finished its DMA")

    def device_read(self, sid: int, address: int, slot: int, size: int = 4) -> None:
        """Let a device read memory at `address` into a sink slot."""
        self._dma(sid, address, EDU_BUFFER + slot, size, to_ram=False)

    def device_write(self, sid: int, address: int, slot: int) -> int:
        """Let a device write a source slot to memory at `address`. Returns the value."""
        self._dma(sid, EDU_BUFFER + slot, address, 4, to_ram=True)
        return self.sources[slot]

    def command(self, *commands: Command) -> None:
        """Have commands and a CMD_SYNC consumed."""
        for command in (*commands, Command(Opcode=Opcode.SYNC)):
            place = CMDQ + COMMAND_BYTES * (self._commands % (1 << LOG2_ENTRIES))
            self.memory.write(place, command.pack())
            self._commands = (self._commands + 1) % (2 << LOG2_ENTRIES)
        self.qtest.send(f"writel 0x{SMMU + Reg.CMDQ_PROD:x} {self._commands}")
        consumed = self.qtest.read("l", SMMU + Reg.CMDQ_CONS)
        if consumed != self._commands:
            raise RuntimeError(f"command queue stopped: CONS 0x{consumed:x}")

    def events(self) -> Sequence[EventRecord]:
        """Which events were recorded since the last call? They are consumed."""
        prod = self.qtest.read("l", SMMU + Reg.EVENTQ_PROD) & ((2 << LOG2_ENTRIES) - 1)
        found = []
        while self._events != prod:
            place = QUEUES + EVENT_BYTES * (self._events % (1 << LOG2_ENTRIES))
            found.append(EventRecord.unpack(self.memory.read(place, EVENT_BYTES)))
            self._events = (self._events + 1) % (2 << LOG2_ENTRIES)
        if found:
            self.qtest.send(f"writel 0x{SMMU + Reg.EVENTQ_CONS:x} {prod}")
        return found

    def write_reg(self, offset: int, value: int) -> None:
        self.qtest.send(f"writel 0x{SMMU + offset:x} 0x{value:x}")

    def read_reg(self, offset: int) -> int:
        return self.qtest.read("l", SMMU + offset)


def start(qemu: str) -> Qtest:
    """A `virt` machine with the SMMU and three edu devices of full DMA mask."""
    edus = [
        word
        for sid in SIDS
        for word in ("-device", f"edu,addr={sid >> 3:02x}.0,dma_mask=0xffffffffffffffff")
    ]
    return Qtest(qemu, "virt,iommu=smmuv3,gic-version=3", edus)


assert RAM_BASE < STRTAB
