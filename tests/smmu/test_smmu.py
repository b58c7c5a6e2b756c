"""What becomes of a device's access: streams, faults, granule protection, trusted devices, data."""

import pytest

from smmu_machine import (
    ALIAS,
    ALL,
    DATA,
    IPA_BITS,
    LOG2,
    REALM_STRTAB,
    SID,
    STRTAB,
    TABLES,
    VMID,
    Machine,
)
from topbit.arch.gpt import PAS
from topbit.arch.smmuv3 import STE, Config, EventRecord, EventType
from topbit.arch.smmuv3_regs import CR0, GBPA_ABORT, GBPA_UPDATE, Reg, RootGpfFar, RootReg
from topbit.arch.stage2 import NS
from topbit.events import Event
from topbit.host.io_pgtable import READ, Stage2Table
from topbit.smmu import Fault, Ok, Outcome, Terminated
from topbit.smmu.ste import StreamConfig
from topbit.smmu.translate import Translator

PAGE = 4096


def fault(outcome: Outcome) -> EventRecord:
    assert isinstance(outcome, Fault), outcome
    return outcome.event


def terminated(outcome: object) -> str:
    assert isinstance(outcome, Terminated), outcome
    return outcome.reason


def test_only_the_mapped_alias_translates() -> None:
    machine = Machine()
    machine.table.map(ALIAS | 0x3000, DATA, PAGE)
    assert machine.smmu.access(SID, ALIAS | 0x3010, 4) == Ok(DATA + 0x10, 4)
    event = fault(machine.smmu.access(SID, 0x3010, 4))
    assert event == EventRecord(
        Type=EventType.F_TRANSLATION,
        StreamID=SID,
        RnW=1,
        S2=1,
        CLASS=2,
        InputAddr=0x3010,
        IPA=0x3000,
    )
    assert machine.recorded() == [event]


def test_an_access_ends_with_its_page() -> None:
    machine = Machine()
    machine.table.map(ALIAS, DATA, 0x20_0000)
    assert machine.smmu.access(SID, ALIAS | 0xFF0, 0x100) == Ok(DATA + 0xFF0, 0x10)
    assert machine.smmu.access(SID, ALIAS | 0x1000, 0) == Ok(DATA + 0x1000, 1)


def test_addresses_beyond_the_input_and_the_intermediate_size() -> None:
    machine = Machine()
    event = fault(machine.smmu.access(SID, 1 << IPA_BITS))
    assert (event.Type, event.S2) == (EventType.F_TRANSLATION, 1)
    event = fault(machine.smmu.access(SID, 1 << 48 | 0x1000))
    assert (event.Type, event.S2, event.IPA) == (EventType.F_ADDR_SIZE, 0, 0)
    event = fault(machine.smmu.access(SID, (1 << 64) - 1))
    assert event.InputAddr == (1 << 64) - 1


def test_unrecorded_stage_2_faults() -> None:
    machine = Machine()
    machine.install(SID, machine.table.ste(VMID, record=False))
    outcome = machine.smmu.access(SID, 0x1000)
    assert terminated(outcome) == "unrecorded"
    assert isinstance(outcome, Terminated)
    assert outcome.event is not None
    assert outcome.event.name == "F_TRANSLATION"
    assert machine.recorded() == []


def test_walk_outside_memory_is_recorded_whatever_s2r_says() -> None:
    machine = Machine()
    machine.memory.write_u64(machine.table.root, 0x1000_0003)
    for record in (True, False):
        machine.install(SID, machine.table.ste(VMID, record=record))
        machine.smmu.caches.stes.clear()
        event = fault(machine.smmu.access(SID, 0x20_1000))
        assert event.name == "F_WALK_EABT"
        assert event.FetchAddr == 0x1000_0000
        assert event.GPCF == 0


def test_ste_fetch_outside_memory() -> None:
    machine = Machine()
    machine.smmu.write_reg(Reg.CR0, 0)
    machine.smmu.write_reg(Reg.STRTAB_BASE, 0x1000_0000)
    machine.smmu.write_reg(Reg.CR0, CR0.SMMUEN)
    event = fault(machine.smmu.access(SID, 0x1000))
    assert (event.name, event.FetchAddr) == ("F_STE_FETCH", 0x1000_0000 + 64 * SID)


def test_bypass_abort_and_a_disabled_smmu() -> None:
    machine = Machine()
    smmu = machine.smmu
    machine.install(SID, STE(V=1, Config=Config.BYPASS))
    machine.install(SID + 1, STE(V=1, Config=Config.ABORT))
    assert smmu.access(SID, DATA, 4) == Ok(DATA, 4)
    event = fault(smmu.access(SID, 1 << 48))
    assert (event.Type, event.S2) == (EventType.F_ADDR_SIZE, 0)
    assert terminated(smmu.access(SID + 1, DATA)) == "abort"
    smmu.write_reg(Reg.CR0, 0)
    assert smmu.access(SID + 1, DATA, 4) == Ok(DATA, 4)
    assert terminated(smmu.access(SID, 1 << 48)) == "oas"
    smmu.write_reg(Reg.GBPA, GBPA_ABORT)
    assert smmu.access(SID, DATA, 4) == Ok(DATA, 4), "ignored without UPDATE"
    smmu.write_reg(Reg.GBPA, GBPA_ABORT | GBPA_UPDATE)
    assert terminated(smmu.access(SID, DATA)) == "gbpa"


def test_unknown_streams() -> None:
    machine = Machine()
    assert fault(machine.smmu.access(300, 0)).words == [300 << 32 | 2, 0, 0, 0]
    machine.smmu.write_reg(Reg.CR2, 0)
    assert terminated(machine.smmu.access(300, 0)) == "streamid"


def test_a_stream_id_has_32_bits() -> None:
    machine = Machine()
    event = fault(machine.smmu.access(1 << 31 | SID, 0))
    assert (event.name, event.StreamID) == ("C_BAD_STREAMID", 1 << 31 | SID)
    assert fault(machine.smmu.access(1 << 32 | SID, 0x1000)).StreamID == SID


def test_the_configuration_of_a_stream_is_the_hosts_unless_the_realms_is_asked_for() -> None:
    machine = Machine()
    configured = machine.smmu.configuration(SID)
    assert isinstance(configured, StreamConfig)
    assert configured.config == Config.S2
    assert terminated(machine.smmu.configuration(SID, realm=True)) == "gbpa", "no Realm table"
    machine.install_realm(SID + 1, machine.table.ste(VMID))
    realm = machine.smmu.configuration(SID, realm=True)
    assert isinstance(realm, EventRecord)
    assert realm.name == "C_BAD_STE"


def test_a_record_that_is_lost_is_told_and_why() -> None:
    seen: list[Event] = []
    machine = Machine(emit=seen.append)
    machine.smmu.write_reg(Reg.CR0, CR0.SMMUEN)
    machine.smmu.access(SID, 0x3010)
    event, lost = seen
    assert (event.event, event.detail) == ("smmu_event", "lost: the event queue is disabled")
    assert lost == Event(
        "smmu", "smmu_lost", sid=SID, status="lost", detail="lost: the event queue is disabled"
    )


@pytest.mark.parametrize("why", ["full", "aborts"])
def test_why_a_record_is_lost(why: str) -> None:
    seen: list[Event] = []
    machine = Machine(emit=seen.append)
    if why == "aborts":
        machine.smmu.write_reg(Reg.CR0, 0)
        machine.smmu.write_reg(Reg.EVENTQ_BASE, 0x1000_0000)
        machine.smmu.write_reg(Reg.CR0, ALL)
    for page in range((1 << LOG2) + 1):
        machine.smmu.access(SID, page << 12)
    said = [event.detail for event in seen if event.event == "smmu_lost"]
    if why == "full":
        assert said == ["lost: the event queue is full"]
    else:
        assert said[:2] == [
            "lost: the event queue's memory aborts", "lost: GERROR.EVENTQ_ABT_ERR is active",
        ]  # fmt: skip


def test_events_of_realm_streams_are_told_and_not_recorded() -> None:
    seen: list[Event] = []
    machine = Machine(emit=seen.append)
    machine.install_realm(SID + 1, machine.table.ste(VMID))
    machine.smmu.access(SID, 0x3010, realm=True)
    (event,) = seen
    assert (event.status, event.detail) == ("C_BAD_STE", "Realm event queue")
    assert machine.recorded() == []


def test_events_are_emitted() -> None:
    seen: list[Event] = []
    machine = Machine(emit=seen.append)
    machine.smmu.access(SID, 0x3010, 4, True)
    machine.smmu.access(SID + 1, 0x3010)
    assert [event.status for event in seen] == ["F_TRANSLATION", "C_BAD_STE"]
    first = seen[0]
    assert (first.agent, first.event, first.sid) == ("smmu", "smmu_event", SID)
    assert (first.address, first.phys, first.direction) == (0x3010, 0x3000, "w")
    assert first.attrs == "s2|IN"
    assert seen[1].address is None


class Protection:
    """Granule protection with a set of Realm pages; everything else is Non-secure."""

    def __init__(self) -> None:
        self.realm: set[int] = set()

    def __call__(self, pa: int, size: int, write: bool, pas: PAS) -> str | None:
        space = PAS.REALM if pa >> 12 in self.realm else PAS.NS
        return None if pas == space else f"0x{pa:x} is {space.name}"


def test_an_untrusted_device_does_not_reach_a_realm_granule() -> None:
    protection = Protection()
    machine = Machine(gpc=protection)
    protection.realm.add(DATA >> 12)
    machine.table.map(0x1000, DATA, 2 * PAGE)
    outcome = machine.smmu.access(SID, 0x1234, 4, True)
    assert outcome == Terminated("gpf", pa=DATA + 0x234)
    assert machine.recorded() == [], "no event that Non-secure software sees"
    far = RootGpfFar.of(machine.smmu.read_root_reg(RootReg.GPF_FAR))
    assert (far.FAULT, far.REASON, far.FPAS, far.FADDR) == (1, 3, PAS.NS, DATA)
    assert machine.smmu.access(SID, 0x2000, 4) == Ok(DATA + PAGE, 4)


def test_the_first_granule_protection_fault_stays_latched() -> None:
    protection = Protection()
    machine = Machine(gpc=protection)
    protection.realm.update({DATA >> 12, (DATA >> 12) + 1})
    machine.table.map(0x1000, DATA, 2 * PAGE)
    machine.smmu.access(SID, 0x1000)
    machine.smmu.access(SID, 0x2000)
    assert RootGpfFar.of(machine.smmu.read_root_reg(RootReg.GPF_FAR)).FADDR == DATA
    machine.smmu.clear_gpf()
    machine.smmu.access(SID, 0x2000)
    assert RootGpfFar.of(machine.smmu.read_root_reg(RootReg.GPF_FAR)).FADDR == DATA + PAGE


@pytest.mark.parametrize(
    ("page", "name", "code"),
    [(TABLES, "F_WALK_EABT", 0x0B), (STRTAB, "F_STE_FETCH", 0x03)],
)
def test_the_smmus_own_fetches_meet_granule_protection(page: int, name: str, code: int) -> None:
    protection = Protection()
    machine = Machine(gpc=protection)
    protection.realm.add(page >> 12)
    event = fault(machine.smmu.access(SID, 0x1000))
    assert (event.name, event.GPCF) == (name, 1)
    far = RootGpfFar.of(machine.smmu.read_root_reg(RootReg.GPF_FAR))
    assert far.REASON == 1
    assert far.fields()["FAULTCODE"] == code


def trusted(machine: Machine, protection: Protection) -> Stage2Table:
    """A Realm table: a private page at 0x1000, a shared one at the alias of 0x2000."""
    table = Stage2Table(machine.memory, machine.pages, IPA_BITS, blocks=False)
    protection.realm.update(range(table.root >> 12, TABLES + 0x20_0000 >> 12))
    table.map(0x1000, DATA, PAGE)
    table.map(ALIAS | 0x2000, DATA + PAGE, PAGE, prot=READ | 1 << 7)
    leaf = machine.pages.free  # the last table page allocated holds the alias leaf
    where = TABLES + 0x20_0000 - leaf - PAGE + 8 * 2
    machine.memory.write_u64(where, machine.memory.read_u64(where) | NS)
    protection.realm.add(DATA >> 12)
    protection.realm.update(machine.install_realm(SID, table.ste(VMID)))
    return table


def test_a_trusted_device_walks_the_realms_own_table() -> None:
    protection = Protection()
    machine = Machine(gpc=protection)
    table = trusted(machine, protection)
    smmu = machine.smmu
    assert smmu.access(SID, 0x1010, 4, realm=True) == Ok(DATA + 0x10, 4, realm=True)
    assert smmu.access(SID, ALIAS | 0x2000, 4, realm=True) == Ok(DATA + PAGE, 4, realm=False)
    event = fault(smmu.access(SID, ALIAS | 0x1000, realm=True))
    assert event.name == "F_TRANSLATION"
    assert machine.recorded() == [], "Realm events are not for the host"
    # T = 0 from the same device uses the host's stream table.
    assert fault(smmu.access(SID, 0x1010)).name == "F_TRANSLATION"

    table.unmap(0x1000, PAGE)
    assert isinstance(smmu.access(SID, 0x1000, realm=True), Ok)
    smmu.invalidate_realm(VMID, 0x1000)
    assert fault(smmu.access(SID, 0x1000, realm=True)).name == "F_TRANSLATION"
    machine.install_realm(SID, STE())
    assert fault(smmu.access(SID, ALIAS | 0x2000, realm=True)).name == "C_BAD_STE"


def test_the_realm_stream_table_is_walked_where_it_stands() -> None:
    protection = Protection()
    machine = Machine(gpc=protection)
    table = trusted(machine, protection)
    smmu = machine.smmu
    assert isinstance(smmu.access(SID, 0x1000, realm=True), Ok)
    assert fault(smmu.access(SID + 64, 0x1000, realm=True)).name == "C_BAD_STREAMID"
    assert fault(smmu.access(SID + 1, 0x1000, realm=True)).name == "C_BAD_STE"
    at = REALM_STRTAB + 0x2000 + 64 * SID
    machine.memory.write(at, bytes(64))
    assert isinstance(smmu.access(SID, 0x1000, realm=True), Ok), "it remembers the entry"
    smmu.forget_realm_ste(SID)
    assert fault(smmu.access(SID, 0x1000, realm=True)).name == "C_BAD_STE"
    machine.memory.write(at, table.ste(VMID).pack())
    assert isinstance(smmu.access(SID, 0x1000, realm=True), Ok)
    smmu.forget_realm_ste(SID)
    protection.realm.remove(at >> 12)
    event = fault(smmu.access(SID, 0x1000, realm=True))
    assert (event.name, event.GPCF) == ("F_STE_FETCH", 1), "the host took the table's memory"
    smmu.disable_realm()
    assert terminated(smmu.access(SID, 0x1000, realm=True)) == "gbpa"


def test_host_commands_do_not_reach_realm_translations() -> None:
    protection = Protection()
    machine = Machine(gpc=protection)
    table = trusted(machine, protection)
    machine.smmu.access(SID, 0x1000, realm=True)
    table.unmap(0x1000, PAGE)
    machine.smmu.caches.tlb.invalidate_all(False)
    assert isinstance(machine.smmu.access(SID, 0x1000, realm=True), Ok)


def test_batch_translation_of_a_trusted_stream() -> None:
    import numpy as np

    protection = Protection()
    machine = Machine(gpc=protection)
    trusted(machine, protection)
    iovas = np.array([0x1010, ALIAS | 0x2000, ALIAS | 0x1000], np.uint64)
    pas, codes = Translator(machine.smmu).translate(SID, iovas, realm=True)
    assert pas.tolist() == [DATA + 0x10, DATA + PAGE, 0]
    assert codes.tolist() == [0, 0, EventType.F_TRANSLATION]


def test_data_moves_page_by_page() -> None:
    machine = Machine()
    machine.table.map(ALIAS, DATA + 5 * PAGE, PAGE)
    machine.table.map(ALIAS | PAGE, DATA + 2 * PAGE, PAGE)
    data = bytes(range(256)) * 20
    written, outcome = machine.smmu.write(SID, ALIAS | 0x800, data)
    assert (written, isinstance(outcome, Ok)) == (len(data), True)
    assert machine.memory.read(DATA + 5 * PAGE + 0x800, 0x800) == data[:0x800]
    assert machine.memory.read(DATA + 2 * PAGE, 16) == data[0x800:0x810]
    assert machine.smmu.read(SID, ALIAS | 0x800, len(data))[0] == data
    for _, outcome in (
        machine.smmu.write(SID, ALIAS | 0xF00, data[:0x200]),
        machine.smmu.read(SID, ALIAS | 0xF00, 0x200),
    ):
        assert outcome == Ok(DATA + 2 * PAGE, 0x100)


def test_data_stops_at_the_first_page_that_faults() -> None:
    machine = Machine()
    machine.table.map(ALIAS, DATA, PAGE)
    machine.table.map(ALIAS | 0x10_0000, 0x1000_0000, PAGE)
    written, outcome = machine.smmu.write(SID, ALIAS | 0xF00, b"x" * 0x1000)
    assert (written, fault(outcome).InputAddr) == (0x100, ALIAS | 0x1000)
    read, outcome = machine.smmu.read(SID, ALIAS | 0xF00, 0x1000)
    assert (read, fault(outcome).RnW) == (b"x" * 0x100, 1)
    read, outcome = machine.smmu.read(SID, ALIAS | 0x10_0000, 8)
    assert (read, outcome) == (b"", Terminated("bus", pa=0x1000_0000))
