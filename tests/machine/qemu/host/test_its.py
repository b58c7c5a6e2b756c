"""Does the interrupt controller only ever get tables and commands that stay in place?"""

from __future__ import annotations

import struct

import pytest

from topbit.host.pages import PAGE, PageRange
from topbit.machine.qemu.el2.mailbox import Code, Ops
from topbit.machine.qemu.host.its import (
    COMMAND_BYTES,
    QUEUE_BYTES,
    VALID,
    Its,
    ItsFrame,
    RedistributorFrame,
)
from topbit.machine.qemu.host.memory_map import GICR, ITS
from topbit.memory import PhysicalMemory
from topbit.vmm.slots import MemorySlot

RAM = 0x4000_0000
MIB = 1 << 20
GUEST = 8 * MIB
POOL = RAM + 2 * GUEST
IIDR, TYPER = 0x43B, 0x1_3FF8_F0F1_0001
BASER0_RESET = 1 << 56 | 7 << 48  # a device table of 8-byte entries


class Registers:
    """Stands for the vCPU: keeps what was written, reads it back."""

    def __init__(self) -> None:
        self.held = {ITS + Its.BASER: BASER0_RESET, ITS + Its.IIDR: IIDR, ITS + Its.TYPER: TYPER}
        self.written: list[tuple[int, int]] = []

    def do(self, ops: Ops) -> list[int]:
        results = []
        for code, at, value in ops:
            if code in (Code.W32, Code.W64):
                self.held[at] = value
                self.written.append((at, value))
            results.append(self.held.get(at, 0))
        return results


@pytest.fixture
def registers() -> Registers:
    return Registers()


@pytest.fixture
def memory() -> PhysicalMemory:
    return PhysicalMemory(RAM, 2 * GUEST + 8 * MIB)


@pytest.fixture
def slot() -> MemorySlot:
    return MemorySlot(RAM, GUEST, RAM, RAM + GUEST)


@pytest.fixture
def its(memory: PhysicalMemory, slot: MemorySlot, registers: Registers) -> ItsFrame:
    pool = PageRange(memory, POOL, 8 * MIB)
    made = ItsFrame(memory, slot, pool, lambda: registers)  # type: ignore[arg-type,return-value]
    made.start()
    return made


def queue(memory: PhysicalMemory, its: ItsFrame, *commands: tuple[int, int, int, int]) -> None:
    its.write_register(Its.CBASER, VALID | RAM | 15)
    for index, command in enumerate(commands):
        memory.write(RAM + index * COMMAND_BYTES, struct.pack("<4Q", *command))
    its.write_register(Its.CWRITER, len(commands) * COMMAND_BYTES)


def mapd(table: int, bits: int = 5) -> tuple[int, int, int, int]:
    return (0x08 | 0x10 << 32, bits - 1, VALID | table, 0)


def passed(memory: PhysicalMemory, registers: Registers) -> list[tuple[int, ...]]:
    """Which commands stand in the real queue?"""
    base = registers.held[ITS + Its.CBASER] & 0x000F_FFFF_FFFF_F000
    assert base >= POOL
    assert base + QUEUE_BYTES <= POOL + 8 * MIB
    end = registers.held[ITS + Its.CWRITER]
    raw = memory.read(base, end)
    return [struct.unpack_from("<4Q", raw, at) for at in range(0, end, COMMAND_BYTES)]


def test_commands_within_the_guests_ram_are_passed_on(
    its: ItsFrame, memory: PhysicalMemory, registers: Registers
) -> None:
    commands = (mapd(RAM + MIB), (0x0A, 1, 2, 0), (0x05, 0, 0, 0))
    queue(memory, its, *commands)
    assert passed(memory, registers) == list(commands)
    assert its.read_register(Its.CREADR) == 3 * COMMAND_BYTES
    assert its.refused == 0


@pytest.mark.parametrize(
    "command",
    [
        mapd(POOL),
        mapd(RAM + GUEST),
        mapd(RAM + GUEST - 256, 8),
        mapd(RAM, 32),
        mapd(0x000F_FFFF_FFFF_FF00),
        (0x29, 0, POOL, 0),  # VMAPP: GICv4
        (0xFF, 0, 0, 0),
    ],
)
def test_commands_that_reach_further_are_not(
    its: ItsFrame,
    memory: PhysicalMemory,
    registers: Registers,
    command: tuple[int, int, int, int],
) -> None:
    queue(memory, its, command, (0x05, 0, 0, 0))
    assert passed(memory, registers) == [(0x05, 0, 0, 0)]
    assert its.refused == 1
    assert its.read_register(Its.CREADR) == 2 * COMMAND_BYTES


def test_what_the_guest_reads_stands_in_a_page_of_its_own(
    its: ItsFrame, memory: PhysicalMemory
) -> None:
    shown = memory.view(its.page, PAGE).cast("Q")
    assert its.page >= POOL
    assert shown[Its.TYPER // 8] == TYPER
    assert shown[0] == IIDR << 32
    assert shown[Its.BASER // 8] == BASER0_RESET
    its.write_register(Its.CTLR, 1)
    assert shown[0] == IIDR << 32 | 1
    assert its.read_register(Its.IIDR) == IIDR
    assert its.read_register(Its.TYPER + 4) == TYPER >> 32
    queue(memory, its, mapd(RAM + MIB))
    assert shown[Its.CREADR // 8] == shown[Its.CWRITER // 8] == COMMAND_BYTES
    assert shown[Its.CBASER // 8] == VALID | RAM | 15


def test_a_command_queue_outside_ram_gives_no_commands(
    its: ItsFrame, memory: PhysicalMemory, registers: Registers
) -> None:
    its.write_register(Its.CBASER, VALID | (RAM + GUEST))
    its.write_register(Its.CWRITER, 64)
    assert passed(memory, registers) == []
    assert its.refused == 2
    its.write_register(Its.CWRITER, 0xF_FFE0)  # beyond its end: as if it had not been written
    assert its.refused == 2


def test_the_real_tables_are_the_hosts_own(
    its: ItsFrame, memory: PhysicalMemory, registers: Registers
) -> None:
    wanted = VALID | 1 << 62 | RAM | 2 << 8 | 7
    its.write_register(Its.BASER, wanted)
    real = registers.held[ITS + Its.BASER]
    assert real & 0x0000_FFFF_FFFF_F000 >= POOL
    assert real & 0xFF == 7
    assert not real & 1 << 62  # a flat table: an indirect one holds addresses
    seen = its.read_register(Its.BASER)
    assert seen & 0x0000_FFFF_FFFF_F000 == RAM
    assert seen & BASER0_RESET == BASER0_RESET
    its.write_register(Its.BASER + 8 * 5, wanted)  # a table that the ITS does not have
    assert ITS + Its.BASER + 8 * 5 not in registers.held


def test_pending_table_is_the_hosts_own_and_properties_lie_in_ram(
    memory: PhysicalMemory, slot: MemorySlot, registers: Registers
) -> None:
    pool = PageRange(memory, POOL, MIB)
    frame = RedistributorFrame(1, slot, pool, lambda: registers)  # type: ignore[arg-type,return-value]
    base = GICR + 0x2_0000
    frame.write_register(0x78, (RAM + 0x1_0000) | 1 << 62)
    assert registers.held[base + 0x78] & 0x000F_FFFF_FFFF_0000 == POOL
    assert frame.read_register(0x78) == RAM + 0x1_0000
    frame.write_register(0x70, RAM | 15)
    assert registers.held[base + 0x70] == RAM | 15
    frame.write_register(0x70, POOL | 15)
    assert registers.held[base + 0x70] == RAM | 15
