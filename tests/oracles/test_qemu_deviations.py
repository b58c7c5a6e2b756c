"""Where QEMU's SMMUv3 departs from IHI0070 (docs/qemu-deviations.md), and the model does not.

Each test shows both: what QEMU does, and what the model gives for the same bytes. A test that
fails because QEMU does better now is good news: the row in the table goes.
"""

from collections.abc import Iterator

import pytest

from qemu_smmu import QUEUES, STRTAB, QemuSmmu, start
from qtest import RAM_BASE, RAM_SIZE, find_qemu
from smmu_pair import OAS_BITS, configure_model
from topbit.arch.smmuv3 import L1STD, Command, EventType, Opcode
from topbit.arch.smmuv3_regs import Gerror, Reg
from topbit.host.io_pgtable import READ, WRITE, Stage2Table
from topbit.host.pages import PageRange
from topbit.memory import PhysicalMemory
from topbit.smmu import Fault, Ok, Smmu, Terminated

pytestmark = pytest.mark.qemu

SID = 8
PAGE = 0x5000_1000
DATA = 0x1122_3344
TABLES = 0x4900_0000
SINK = 0x800


class Both:
    """QEMU and a fresh model at the same stream table and tables."""

    def __init__(self, qemu: QemuSmmu, memory: PhysicalMemory) -> None:
        self.qemu = qemu
        self.memory = memory
        memory.fill(STRTAB, 64 * 256)
        memory.fill(TABLES, 1 << 20)
        memory.write_u32(PAGE, DATA)
        qemu.command(
            Command(Opcode=Opcode.CFGI_STE_RANGE, Range=31), Command(Opcode=Opcode.TLBI_NSNH_ALL)
        )
        qemu.reset_sinks()
        qemu.events()
        self.model: Smmu = configure_model(memory)
        self.pages = PageRange(memory, TABLES, 1 << 20)

    def table(self, ipa_bits: int = 39, start_level: int = 1) -> Stage2Table:
        return Stage2Table(
            self.memory, self.pages, ipa_bits, start_level=start_level, output_bits=44
        )

    def install(self, table: Stage2Table, **fields: int) -> None:
        ste = table.ste(1)
        for name, value in fields.items():
            setattr(ste, name, value)
        self.memory.write(STRTAB + 64 * SID, ste.pack())

    def read(self, address: int) -> tuple[list[str], int]:
        """QEMU: which events did a device read leave, and what did it get?"""
        self.qemu.device_read(SID, address, SINK)
        names = [event.name for event in self.qemu.events()]
        return names, self.qemu.sinks(SID)[SINK]

    def write(self, address: int) -> tuple[list[str], bool]:
        """QEMU: which events did a device write leave, and did it change the page?"""
        value = self.qemu.device_write(SID, address, 0)
        changed = self.memory.read_u32(PAGE) == value
        self.memory.write_u32(PAGE, DATA)
        return [event.name for event in self.qemu.events()], changed

    def model_says(self, address: int, write: bool = False) -> str:
        outcome = self.model.access(SID, address, 4, write)
        if isinstance(outcome, Fault):
            return outcome.event.name
        return "ok" if isinstance(outcome, Ok) else outcome.reason


@pytest.fixture(scope="module")
def qemu() -> Iterator[tuple[QemuSmmu, PhysicalMemory]]:
    with start(find_qemu()) as qtest:
        memory = PhysicalMemory(RAM_BASE, RAM_SIZE, qtest.ram)
        yield QemuSmmu(qtest, memory), memory


@pytest.fixture
def both(qemu: tuple[QemuSmmu, PhysicalMemory]) -> Both:
    return Both(*qemu)


def leaf_word(table: Stage2Table, iova: int) -> int:
    """Where does the last descriptor of the walk for `iova` stand?"""
    pa = table.root
    for level in range(table.start_level, 3):
        index = iova >> (39 - 9 * level)
        pa = table.memory.read_u64(pa + 8 * (index & 511)) & 0xFFFF_FFFF_F000
    return pa + 8 * (iova >> 12 & 511)


def test_no_deviation_at_rest(both: Both) -> None:
    table = both.table()
    table.map(0x1000, PAGE, 4096)
    both.install(table)
    assert both.read(0x1000) == ([], DATA)
    assert both.write(0x1000) == ([], True)
    assert both.read(0x2000)[0] == ["F_TRANSLATION"]
    assert both.model_says(0x1000) == "ok"
    assert both.model_says(0x2000) == "F_TRANSLATION"


def test_q1_permission_refused_by_a_tlb_entry_leaves_no_event(both: Both) -> None:
    table = both.table()
    table.map(0x1000, PAGE, 4096, READ)
    table.map(0x2000, PAGE, 4096, WRITE)
    both.install(table)
    assert both.read(0x1000) == ([], DATA)
    assert both.write(0x1000) == ([], False)
    assert both.write(0x2000) == ([], True)
    assert both.read(0x2000) == ([], 0)
    assert both.model_says(0x1000) == both.model_says(0x2000, write=True) == "ok"
    assert both.model_says(0x1000, write=True) == "F_PERMISSION"
    assert both.model_says(0x2000) == "F_PERMISSION"


def test_q2_access_flag_and_permission_before_address_size(both: Both) -> None:
    table = both.table()
    table.map(0x1000, PAGE, 0x2000)
    both.install(table, S2PS=2, S2AFFD=0)
    flagless, denied = leaf_word(table, 0x1000), leaf_word(table, 0x2000)
    both.memory.write_u64(flagless, 1 << 40 | 0x3FF)
    both.memory.write_u64(denied, 1 << 40 | 0x73F)
    assert both.read(0x1000)[0] == ["F_ACCESS"]
    assert both.read(0x2000)[0] == ["F_PERMISSION"]
    assert both.model_says(0x1000) == both.model_says(0x2000) == "F_ADDR_SIZE"


def test_q3_table_address_beyond_the_output_size_is_fetched(both: Both) -> None:
    table = both.table()
    both.memory.write_u64(table.root, 1 << 45 | 3)
    both.install(table)
    assert both.read(0x1000)[0] == ["F_WALK_EABT"]
    assert both.model_says(0x1000) == "F_ADDR_SIZE"


def test_q4_level_0_block_is_accepted(both: Both) -> None:
    table = both.table(40, 0)
    both.memory.write_u64(table.root, 0x7FD)
    both.install(table)
    assert both.read(PAGE) == ([], DATA)
    assert both.model_says(PAGE) == "F_TRANSLATION"


def test_q5_too_few_input_bits_for_the_start_level_are_accepted(both: Both) -> None:
    table = both.table(40, 0)
    table.map(0x1000, PAGE, 4096)
    both.install(table, S2T0SZ=64 - 39)
    assert both.read(0x1000) == ([], DATA)
    assert both.model_says(0x1000) == "C_BAD_STE"


def test_q6_input_addresses_beyond_44_bits_never_reach_the_smmu(both: Both) -> None:
    table = both.table()
    table.map(0x1000, PAGE, 4096)
    both.install(table)
    address = 1 << OAS_BITS | 0x1000
    assert both.read(address) == ([], 0)
    outcome = both.model.access(SID, address)
    assert isinstance(outcome, Fault)
    assert (outcome.event.Type, outcome.event.S2) == (EventType.F_ADDR_SIZE, 0)


def test_q7_concatenated_root_tables_alias_the_first(both: Both) -> None:
    table = both.table(40, 1)
    table.map(0x1000, PAGE, 4096)
    both.install(table)
    alias = 1 << 39 | 0x1000
    assert both.read(alias) == ([], DATA)  # the shared bit is dropped
    assert both.model_says(0x1000) == "ok"
    assert both.model_says(alias) == "F_TRANSLATION"


def test_q8_bad_streamid_is_recorded_without_recinvsid(both: Both) -> None:
    both.qemu.write_reg(Reg.CR2, 0)
    both.qemu.write_reg(Reg.STRTAB_BASE_CFG, 3)  # StreamIDs 0 to 7
    try:
        assert both.read(0x1000)[0] == ["C_BAD_STREAMID"]
    finally:
        both.qemu.write_reg(Reg.STRTAB_BASE_CFG, 8)
        both.qemu.write_reg(Reg.CR2, 2)
    both.model.write_reg(Reg.CR2, 0)
    set_format(both.model, 3)
    outcome = both.model.access(SID, 0x1000)
    assert isinstance(outcome, Terminated)
    assert outcome.reason == "streamid"


@pytest.mark.parametrize("field", ["S2HA", "S2HD"])
def test_q9_hardware_update_is_accepted_and_ignored(both: Both, field: str) -> None:
    table = both.table()
    table.map(0x1000, PAGE, 4096)
    both.install(table, **{field: 1})
    assert both.qemu.read_reg(Reg.IDR0) >> 6 & 3 == 0  # IDR0.HTTU: not implemented
    assert both.read(0x1000) == ([], DATA)
    assert both.model_says(0x1000) == "C_BAD_STE"


def test_q10_output_size_below_the_input_size_is_refused(both: Both) -> None:
    table = both.table()
    table.map(0x1000, PAGE, 4096)
    both.install(table, S2PS=1)
    assert both.read(0x1000)[0] == ["C_BAD_STE"]
    assert both.model_says(0x1000) == "ok"


def test_q11_span_of_a_level_1_descriptor_is_doubled_and_q15_the_format_sticks() -> None:
    """Span = 4 covers StreamIDs 0 to 7; QEMU serves 8 too, and never goes back to linear."""
    with start(find_qemu()) as qtest:
        memory = PhysicalMemory(RAM_BASE, RAM_SIZE, qtest.ram)
        both = Both(QemuSmmu(qtest, memory), memory)
        l2 = TABLES + 0x8_0000
        table = both.table()
        table.map(0x1000, PAGE, 4096)
        memory.write_u64(STRTAB, L1STD(Span=4, L2Ptr=l2).words[0])
        memory.write(l2 + 64 * SID, table.ste(1).pack())
        config = 8 | 6 << 6 | 1 << 16
        both.qemu.write_reg(Reg.STRTAB_BASE_CFG, config)
        assert both.read(0x1000) == ([], DATA)
        set_format(both.model, config)
        assert both.model_says(0x1000) == "C_BAD_STREAMID"

        both.qemu.write_reg(Reg.STRTAB_BASE_CFG, 8)
        both.install(table)
        memory.write_u64(STRTAB, 0)
        both.qemu.command(Command(Opcode=Opcode.CFGI_STE_RANGE, Range=31))
        assert both.read(0x1000)[0] == ["C_BAD_STREAMID"]
        set_format(both.model, 8)
        assert both.model_says(0x1000) == "ok"


def set_format(model: Smmu, config: int) -> None:
    """Reprogram SMMU_STRTAB_BASE_CFG, which is guarded by SMMUEN."""
    model.write_reg(Reg.CR0, 0)
    model.write_reg(Reg.STRTAB_BASE_CFG, config)
    model.write_reg(Reg.CR0, 1)


def test_q12_ipa_of_an_event_is_not_cut_to_its_page(both: Both) -> None:
    both.install(both.table())
    before = both.qemu.read_reg(Reg.EVENTQ_PROD) & 127
    both.qemu.device_read(SID, 0x1234, SINK)
    raw = both.memory.read_u64(QUEUES + 32 * before + 24)
    both.qemu.events()
    assert raw == 0x1234
    outcome = both.model.access(SID, 0x1234)
    assert isinstance(outcome, Fault)
    assert outcome.event.words[3] == 0x1000


def test_q13_a_full_event_queue_is_reported_as_an_abort(both: Both) -> None:
    """Its PROD.OVFLG stays; GERROR.EVENTQ_ABT_ERR is raised instead."""
    both.install(both.table())
    gerror = both.qemu.read_reg(Reg.GERROR)
    for _ in range(129):
        both.qemu.device_read(SID, 0x1000, SINK)
    overflow = both.qemu.read_reg(Reg.EVENTQ_PROD) >> 31
    raised = (both.qemu.read_reg(Reg.GERROR) ^ gerror) & Gerror.EVENTQ_ABT_ERR
    assert len(both.qemu.events()) == 128
    both.qemu.write_reg(Reg.GERRORN, both.qemu.read_reg(Reg.GERROR))
    assert (overflow, bool(raised)) == (0, True)


def test_q14_vmsav8_32_tables_stop_qemu() -> None:
    with start(find_qemu()) as qtest:
        memory = PhysicalMemory(RAM_BASE, RAM_SIZE, qtest.ram)
        both = Both(QemuSmmu(qtest, memory), memory)
        both.install(both.table(), S2AA64=0)
        assert both.model_says(0x1000) == "C_BAD_STE"
        with pytest.raises((RuntimeError, OSError)):
            both.read(0x1000)


def test_the_event_layout_is_the_same(both: Both) -> None:
    """All 32 bytes of a plain stage-2 fault, page-aligned address."""
    both.install(both.table())
    both.qemu.device_read(SID, 0x7000, SINK)
    (recorded,) = both.qemu.events()
    outcome = both.model.access(SID, 0x7000, 4)
    assert isinstance(outcome, Fault)
    assert outcome.event == recorded
