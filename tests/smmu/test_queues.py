"""Commands from memory bytes, events into memory bytes, and what happens when either fails."""

import pytest

from smmu_machine import ALIAS, ALL, CMDQ, DATA, LOG2, SID, VMID, Machine
from topbit.arch.smmuv3 import STE, Command, CommandError, Config, EventType, Opcode
from topbit.arch.smmuv3_regs import CR0, OVERFLOW, Gerror, QueueBase, Reg
from topbit.smmu import Fault, Ok
from topbit.smmu.queues import CommandQueue, EventQueue, Queue

PAGE = 4096
HOLE = ALIAS | 0x7000


def invalidate(ipa: int, **fields: int) -> Command:
    return Command(Opcode=Opcode.TLBI_S2_IPA, VMID=VMID, Address=ipa, **fields)


@pytest.fixture
def machine() -> Machine:
    return Machine()


def stale(machine: Machine, ipa: int = ALIAS | 0x1000, size: int = PAGE) -> int:
    """Map, use, and unmap: a translation that only the TLB still has."""
    machine.table.map(ipa, DATA, size)
    assert isinstance(machine.smmu.access(SID, ipa), Ok)
    machine.table.unmap(ipa, size)
    assert isinstance(machine.smmu.access(SID, ipa), Ok), "the entry must be stale now"
    return ipa


@pytest.mark.parametrize(
    "command",
    [
        invalidate(ALIAS | 0x1000),
        Command(Opcode=Opcode.TLBI_S12_VMALL, VMID=VMID),
        Command(Opcode=Opcode.TLBI_NSNH_ALL),
        invalidate(ALIAS, TG=1, NUM=1),  # two pages from ALIAS
        invalidate(ALIAS, TG=1, SCALE=1),
        invalidate(ALIAS | 0x1000, TG=1, TTL=3),
    ],
    ids=str,
)
def test_commands_that_reach_the_entry(machine: Machine, command: Command) -> None:
    ipa = stale(machine)
    machine.sync(command)
    assert isinstance(machine.smmu.access(SID, ipa), Fault)


@pytest.mark.parametrize(
    "command",
    [
        invalidate(0x1000),  # the protected spelling of the same page
        invalidate(ALIAS | 0x2000),
        Command(Opcode=Opcode.TLBI_S2_IPA, VMID=VMID + 1, Address=ALIAS | 0x1000),
        Command(Opcode=Opcode.TLBI_S12_VMALL, VMID=VMID + 1),
        Command(Opcode=Opcode.CFGI_STE, StreamID=SID),
        Command(Opcode=Opcode.CFGI_STE_RANGE, Range=31),
        Command(Opcode=Opcode.PREFETCH_ADDR),
        Command(Opcode=Opcode.SYNC, CS=1),
        invalidate(ALIAS | 0x1000, TG=2, TTL=3),  # entries of 16K tables only
        invalidate(ALIAS | 0x1000, TG=1, TTL=2),  # level 2 entries only
    ],
    ids=str,
)
def test_commands_that_do_not(machine: Machine, command: Command) -> None:
    ipa = stale(machine)
    machine.sync(command)
    assert isinstance(machine.smmu.access(SID, ipa), Ok)


def test_any_address_of_a_block_invalidates_it(machine: Machine) -> None:
    ipa = stale(machine, ALIAS | 0x20_0000, 0x20_0000)
    machine.sync(invalidate(ipa + 0x5000))
    assert isinstance(machine.smmu.access(SID, ipa), Fault)


def test_ste_cache(machine: Machine) -> None:
    machine.table.map(ALIAS, DATA, PAGE)
    assert isinstance(machine.smmu.access(SID, ALIAS), Ok)
    machine.install(SID, STE(V=1, Config=Config.ABORT))
    assert isinstance(machine.smmu.access(SID, ALIAS), Ok)
    machine.sync(Command(Opcode=Opcode.CFGI_STE, StreamID=SID + 1))
    machine.sync(Command(Opcode=Opcode.CFGI_STE_RANGE, StreamID=0, Range=1))
    assert isinstance(machine.smmu.access(SID, ALIAS), Ok)
    machine.sync(Command(Opcode=Opcode.CFGI_STE_RANGE, StreamID=SID | 3, Range=1))
    assert not isinstance(machine.smmu.access(SID, ALIAS), Ok)


@pytest.mark.parametrize(
    "command",
    [
        Command(),
        Command(Opcode=0x7F),
        Command(Opcode=Opcode.TLBI_NH_ALL),
        Command(Opcode=Opcode.TLBI_EL2_ALL),
        Command(Opcode=Opcode.CFGI_CD),
        Command(Opcode=Opcode.ATC_INV),
        Command(Opcode=Opcode.RESUME),
        Command(Opcode=Opcode.CFGI_STE, SSec=1),
        Command(Opcode=Opcode.SYNC, CS=3),
        invalidate(ALIAS, TG=1),
    ],
    ids=str,
)
def test_illegal_commands_stop_the_queue(machine: Machine, command: Command) -> None:
    smmu = machine.smmu
    machine.queue(Command(Opcode=Opcode.SYNC), command, Command(Opcode=Opcode.SYNC))
    assert smmu.read_reg(Reg.CMDQ_CONS) == 1 | CommandError.ILL << 24
    assert smmu.read_reg(Reg.GERROR) == Gerror.CMDQ_ERR
    machine.memory.write(CMDQ + 16, Command(Opcode=Opcode.SYNC).pack())
    smmu.write_reg(Reg.CMDQ_PROD, 3)
    assert smmu.read_reg(Reg.CMDQ_CONS) & 0xFFFFF == 1, "stopped until acknowledged"
    smmu.write_reg(Reg.GERRORN, Gerror.CMDQ_ERR)
    assert smmu.read_reg(Reg.CMDQ_CONS) & 0xFFFFF == 3


def test_command_queue_outside_memory(machine: Machine) -> None:
    smmu = machine.smmu
    smmu.write_reg(Reg.CR0, 0)
    smmu.write_reg(Reg.CMDQ_BASE, 0x1000_0000 | LOG2)
    smmu.write_reg(Reg.CR0, ALL)
    smmu.write_reg(Reg.CMDQ_PROD, 1)
    assert smmu.read_reg(Reg.CMDQ_CONS) == CommandError.ABT << 24


def test_the_queue_wraps(machine: Machine) -> None:
    for _ in range(5 << LOG2):
        machine.sync()
    assert machine.smmu.read_reg(Reg.CMDQ_CONS) == (5 << LOG2) % (2 << LOG2)


def test_events_overflow(machine: Machine) -> None:
    smmu = machine.smmu
    for number in range((1 << LOG2) + 2):
        smmu.access(SID, HOLE + number * PAGE)
    records = machine.recorded()
    assert len(records) == 1 << LOG2
    assert [r.InputAddr for r in records] == [HOLE + n * PAGE for n in range(1 << LOG2)]
    assert smmu.read_reg(Reg.EVENTQ_PROD) == 1 << LOG2 | OVERFLOW
    smmu.write_reg(Reg.EVENTQ_CONS, 4 | OVERFLOW)  # four taken, overflow acknowledged
    smmu.access(SID, HOLE)
    assert smmu.read_reg(Reg.EVENTQ_PROD) == 1 << LOG2 | OVERFLOW | 1
    for _ in range(4):
        smmu.access(SID, HOLE)
    assert smmu.read_reg(Reg.EVENTQ_PROD) == 1 << LOG2 | 4, "OVFLG toggles again"


def test_events_are_dropped_while_the_queue_is_disabled(machine: Machine) -> None:
    machine.smmu.write_reg(Reg.CR0, CR0.SMMUEN)
    assert isinstance(machine.smmu.access(SID, HOLE), Fault)
    assert machine.smmu.read_reg(Reg.EVENTQ_PROD) == 0


def test_event_queue_outside_memory(machine: Machine) -> None:
    smmu = machine.smmu
    smmu.write_reg(Reg.CR0, 0)
    smmu.write_reg(Reg.EVENTQ_BASE, 0x1000_0000 | LOG2)
    smmu.write_reg(Reg.CR0, ALL)
    smmu.access(SID, HOLE)
    smmu.access(SID, HOLE)
    assert smmu.read_reg(Reg.GERROR) == Gerror.EVENTQ_ABT_ERR
    assert smmu.read_reg(Reg.EVENTQ_PROD) == 0


def test_guarded_registers_ignore_writes_while_enabled(machine: Machine) -> None:
    smmu = machine.smmu
    for register in (Reg.STRTAB_BASE, Reg.STRTAB_BASE_CFG, Reg.CMDQ_BASE, Reg.EVENTQ_BASE):
        before = smmu.read_reg(register)
        smmu.write_reg(register, 0xFFFF_FFFF_FFFF_FFFF)
        assert smmu.read_reg(register) == before
    smmu.write_reg(Reg.CMDQ_CONS, 5)
    assert smmu.read_reg(Reg.CMDQ_CONS) == 0


def test_64_bit_registers_in_halves(machine: Machine) -> None:
    smmu = machine.smmu
    smmu.write_reg(Reg.CR0, 0)
    smmu.write_reg(Reg.STRTAB_BASE, 0x1234_5000, 4)
    smmu.write_reg(Reg.STRTAB_BASE + 4, 0xAB, 4)
    assert smmu.read_reg(Reg.STRTAB_BASE) == 0xAB_1234_5000
    assert smmu.read_reg(Reg.STRTAB_BASE + 4, 4) == 0xAB


def test_id_registers(machine: Machine) -> None:
    smmu = machine.smmu
    idr0 = smmu.read_reg(Reg.IDR0)
    assert (idr0 & 3, idr0 >> 2 & 3, idr0 >> 24 & 3) == (1, 2, 1)  # stage 2 only, AArch64
    assert smmu.read_reg(Reg.IDR1) & 0x3F == 16
    assert smmu.read_reg(Reg.IDR5) & 7 == 5
    smmu.write_reg(Reg.IDR0, 0)
    assert smmu.read_reg(Reg.IDR0) == idr0
    assert smmu.read_reg(0x9999) == 0


def test_event_types_in_the_queue(machine: Machine) -> None:
    smmu = machine.smmu
    machine.table.map(ALIAS | 0x1000, DATA, PAGE, prot=1 << 6)
    smmu.access(SID, ALIAS | 0x1234, 4, True)
    smmu.access(SID + 1, 0x1000)
    smmu.access(256, 0x1000)
    types = [EventType(record.Type).name for record in machine.recorded()]
    assert types == ["F_PERMISSION", "C_BAD_STE", "C_BAD_STREAMID"]
    first = machine.recorded()[0]
    assert (first.InputAddr, first.IPA, first.RnW) == (ALIAS | 0x1234, ALIAS | 0x1000, 0)


@pytest.mark.parametrize(
    ("queue", "log2", "base", "aligned"),
    [
        (CommandQueue(10), 0, 0x4000_00E0, 0x4000_00E0),
        (CommandQueue(10), 1, 0x4000_00E0, 0x4000_00E0),
        (CommandQueue(10), 2, 0x4000_00E0, 0x4000_00C0),
        (CommandQueue(10), 4, 0x4000_01E0, 0x4000_0100),
        (CommandQueue(10), 8, 0x4000_1FE0, 0x4000_1000),
        (CommandQueue(4), 8, 0x4000_01E0, 0x4000_0100),  # no more than the SMMU supports
        (EventQueue(10), 0, 0x4000_00E0, 0x4000_00E0),
        (EventQueue(10), 1, 0x4000_00E0, 0x4000_00C0),
        (EventQueue(10), 4, 0x4000_03E0, 0x4000_0200),
    ],
)
def test_a_queue_is_aligned_to_its_size(queue: Queue, log2: int, base: int, aligned: int) -> None:
    queue.base = QueueBase(ADDR=base, LOG2SIZE=log2)
    assert queue.address(0) == aligned
    size = queue.entry_bytes
    last = (1 << queue.log2size) - 1
    assert queue.address(last) == aligned + last * size
    assert queue.address(last + 1) == aligned  # the wrap bit is no part of the place


@pytest.mark.parametrize(
    ("prod", "cons", "empty", "full"),
    [
        (0, 0, True, False),
        (1, 0, False, False),
        (4, 0, False, True),
        (0, 4, False, True),
        (7, 3, False, True),
        (7, 7, True, False),
        (8, 0, True, False),  # bits above the wrap bit are none of the index
        (5, 0, False, False),
    ],
)
def test_full_and_empty_differ_in_the_wrap_bit(
    prod: int, cons: int, empty: bool, full: bool
) -> None:
    queue = Queue(16, 10, QueueBase(LOG2SIZE=2), prod, cons)
    assert (queue.empty, queue.full) == (empty, full)


def test_an_index_wraps_with_its_wrap_bit() -> None:
    queue = Queue(16, 10, QueueBase(LOG2SIZE=2))
    assert [queue.next(index) for index in (0, 3, 4, 7)] == [1, 4, 5, 0]
