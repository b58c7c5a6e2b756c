"""What does the host's driver write into the SMMU's registers, tables and queues?"""

import pytest

from topbit.arch.smmuv3 import STE, Command, Config, EventRecord, Opcode
from topbit.arch.smmuv3_regs import CR0, QueueBase, Reg, StrtabBase, StrtabBaseCfg
from topbit.host.arm_smmu_v3 import CMDQ_LOG2, ArmSmmuV3
from topbit.host.pages import PageRange
from topbit.memory import PhysicalMemory
from topbit.smmu import Fault, Smmu, Terminated

BASE, SIZE, SID = 0x8000_0000, 4 << 20, 0x10


class Registers:
    """A port that notes what is written and answers what it is told to."""

    def __init__(self) -> None:
        self.written: list[tuple[int, int]] = []
        self.answers: dict[int, int] = {}

    def read_reg(self, offset: int) -> int:
        return self.answers[offset]

    def write_reg(self, offset: int, value: int) -> None:
        self.written.append((offset, value))


class Bench:
    def __init__(self, sid_bits: int = 8, eventq_log2: int = 3) -> None:
        self.memory = PhysicalMemory(BASE, SIZE)
        self.port = Registers()
        self.sizes: list[int] = []
        pages = PageRange(self.memory, BASE, SIZE)

        def allocate(size: int) -> int:
            self.sizes.append(size)
            return pages(size)

        self.driver = ArmSmmuV3(self.port, self.memory, allocate, sid_bits, eventq_log2)

    def commands(self, first: int, last: int) -> list[Command]:
        at = self.driver.cmdq
        return [Command.unpack(self.memory.read(at + 16 * i, 16)) for i in range(first, last)]

    def put_event(self, index: int, sid: int) -> None:
        self.memory.write(self.driver.eventq + 32 * index, EventRecord(StreamID=sid).pack())


@pytest.mark.parametrize(
    ("sid_bits", "eventq_log2", "sizes"),
    [(8, 3, [64 << 8, 4096, 4096]), (12, 9, [64 << 12, 4096, 16384])],
)
def test_tables_and_queues_have_room_for_what_was_asked(
    sid_bits: int, eventq_log2: int, sizes: list[int]
) -> None:
    assert Bench(sid_bits, eventq_log2).sizes == sizes


def test_enable_programs_the_bases_before_the_smmu_is_on() -> None:
    bench = Bench()
    bench.driver.enable()
    driver, queues = bench.driver, CR0.CMDQEN | CR0.EVENTQEN
    assert bench.port.written == [
        (Reg.CR1, 0xD75),
        (Reg.CR2, 2),
        (Reg.STRTAB_BASE, StrtabBase(ADDR=driver.stream_table).words[0]),
        (Reg.STRTAB_BASE_CFG, StrtabBaseCfg(LOG2SIZE=8).words[0]),
        (Reg.CMDQ_BASE, QueueBase(ADDR=driver.cmdq, LOG2SIZE=8).words[0]),
        (Reg.EVENTQ_BASE, QueueBase(ADDR=driver.eventq, LOG2SIZE=3).words[0]),
        (Reg.CR0, CR0.CMDQEN),
        (Reg.CR0, queues),
        (Reg.CMDQ_PROD, 2),
        (Reg.CMDQ_PROD, 4),
        (Reg.CR0, queues | CR0.SMMUEN),
    ]
    sync = Command(Opcode=Opcode.SYNC)
    assert bench.commands(0, 4) == [
        Command(Opcode=Opcode.CFGI_STE_RANGE, Range=31),
        sync,
        Command(Opcode=Opcode.TLBI_NSNH_ALL),
        sync,
    ]


def test_a_stream_gets_its_ste_and_loses_it() -> None:
    bench = Bench()
    ste = STE(V=1, Config=Config.S2, S2VMID=7, S2TTB=BASE)
    bench.driver.attach(SID, ste)
    at = bench.driver.stream_table + 64 * SID
    assert STE.unpack(bench.memory.read(at, 64)) == ste
    bench.driver.detach(SID)
    assert bench.memory.read_u64(at) == 0
    changed = Command(Opcode=Opcode.CFGI_STE, StreamID=SID, Leaf=1)
    sync = Command(Opcode=Opcode.SYNC)
    assert bench.commands(0, 4) == [changed, sync, changed, sync]
    assert not any(bench.memory.read(at - 64, 64) + bench.memory.read(at + 64, 64))


def test_an_ste_becomes_valid_last(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench()
    at = bench.driver.stream_table + 64 * SID
    store = bench.memory.write_u64

    def watched(pa: int, value: int) -> None:
        assert any(bench.memory.read(at + 8, 56))
        assert bench.memory.read_u64(at) == 0
        store(pa, value)

    monkeypatch.setattr(bench.memory, "write_u64", watched)
    bench.driver.attach(SID, STE(V=1, S2TTB=BASE))
    assert bench.memory.read_u64(at)


@pytest.mark.parametrize("sid", [-1, 256])
def test_streams_outside_the_table_are_refused(sid: int) -> None:
    bench = Bench()
    with pytest.raises(ValueError, match="outside the stream table"):
        bench.driver.attach(sid, STE(V=1))
    with pytest.raises(ValueError, match="outside the stream table"):
        bench.driver.detach(sid)
    for sid in (0, 255):
        bench.driver.attach(sid, STE(V=1))


def test_an_invalidation_names_the_vmid() -> None:
    bench = Bench()
    bench.driver.invalidate(3)
    assert bench.commands(0, 1) == [Command(Opcode=Opcode.TLBI_S12_VMALL, VMID=3)]
    assert bench.port.written == [(Reg.CMDQ_PROD, 2)]


def test_the_command_queue_wraps_and_its_index_has_one_bit_more() -> None:
    bench = Bench()
    half = 1 << CMDQ_LOG2
    for _ in range(half // 2):
        bench.driver.invalidate(1)
    assert bench.port.written[-1] == (Reg.CMDQ_PROD, half)
    bench.driver.invalidate(9)
    assert bench.commands(0, 1) == [Command(Opcode=Opcode.TLBI_S12_VMALL, VMID=9)]
    for _ in range(half // 2 - 1):
        bench.driver.invalidate(1)
    assert bench.port.written[-1] == (Reg.CMDQ_PROD, 0)


def test_events_are_taken_once_and_their_places_given_back() -> None:
    bench = Bench()
    for index in range(3):
        bench.put_event(index, index + 1)
    bench.port.answers[Reg.EVENTQ_PROD] = 2
    assert [event.StreamID for event in bench.driver.events()] == [1, 2]
    assert bench.port.written == [(Reg.EVENTQ_CONS, 2)]
    bench.port.answers[Reg.EVENTQ_PROD] = 3
    assert [event.StreamID for event in bench.driver.events(free=False)] == [3]
    assert len(bench.port.written) == 1
    assert bench.driver.events() == []
    assert bench.port.written[-1] == (Reg.EVENTQ_CONS, 3)


def test_a_full_event_queue_is_read_across_its_end_and_the_overflow_acknowledged() -> None:
    bench = Bench()
    for index in range(8):
        bench.put_event(index, index)
    bench.port.answers[Reg.EVENTQ_PROD] = 6
    bench.driver.events()
    overflow = 1 << 31
    bench.port.answers[Reg.EVENTQ_PROD] = 14 | overflow  # 8 more, with the wrap bit
    taken = [event.StreamID for event in bench.driver.events()]
    assert taken == [6, 7, 0, 1, 2, 3, 4, 5]
    assert bench.port.written[-1] == (Reg.EVENTQ_CONS, 14 | overflow)
    bench.port.answers[Reg.EVENTQ_PROD] = overflow
    assert [event.StreamID for event in bench.driver.events()] == [6, 7]


def test_the_modelled_smmu_obeys_and_reports() -> None:
    memory = PhysicalMemory(BASE, SIZE)
    smmu = Smmu(memory)
    driver = ArmSmmuV3(smmu, memory, PageRange(memory, BASE, SIZE))
    driver.enable()
    assert isinstance(smmu.access(SID, 0x1000, 4), Fault)
    assert [event.StreamID for event in driver.events()] == [SID]
    driver.attach(SID, STE(V=1, Config=Config.ABORT))
    assert isinstance(smmu.access(SID, 0x1000, 4), Terminated)
    driver.detach(SID)
    assert isinstance(smmu.access(SID, 0x1000, 4), Fault)
