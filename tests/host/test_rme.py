"""Which RMI 1.0 calls does the host make, and what does it make of the answers?"""

from collections.abc import Sequence

import pytest

from realm_bench import BASE, IPA_BITS, MIB, PAGE, POOL, RAM, SHARED_PA, CountedRmm, S
from topbit.arch.rmi import Ripas, Rmi, RmiStatus
from topbit.arch.rmi_params import RealmFlags0, RealmParams
from topbit.host.pages import PagePool
from topbit.host.rme import NOT_CREATED, RealmHost, RmiError, start_level, walked_level
from topbit.memory import PhysicalMemory
from topbit.rmm import Rmm, State

BITS = 41


@pytest.mark.parametrize(
    ("index", "level"), [(0, 0), (2, 2), (3, 3), (127, 127), (128, -128), (255, -1)]
)
def test_levels_of_walks(index: int, level: int) -> None:
    assert walked_level(RmiStatus.ERROR_RTT | index << 8) == level


@pytest.fixture
def host() -> RealmHost:
    """A Realm of RMI 1.0, which knows pages only."""
    memory = PhysicalMemory(BASE, 8 * MIB)
    host = RealmHost(Rmm(memory), memory, PagePool(BASE, 4 * MIB), BITS)
    assert host.rd == NOT_CREATED
    assert host.create() == host.rd != NOT_CREATED
    return host


def entry(host: RealmHost, ipa: int) -> tuple[int, int, int]:
    """State, output address and RIPAS of the level 3 entry."""
    assert isinstance(host.port, Rmm)
    rtt = host.port.realm(host.rd).rtt
    level, _, word = rtt.walk(ipa, 3)
    found = rtt.decode(word, level)
    return int(found.state), found.oa, int(found.ripas)


def test_a_range_is_a_start_and_a_size(host: RealmHost) -> None:
    ipa, pa, size = 0x4000_0000, BASE + 5 * MIB, 3 * PAGE
    host.init_ripas(ipa, size)
    host.populate_range(ipa, size, pa)
    for page in range(0, size, PAGE):
        assert entry(host, ipa + page) == (1, pa + page, Ripas.RAM)
    assert entry(host, ipa - PAGE)[0] == 0
    assert entry(host, ipa + size) == (0, 0, Ripas.EMPTY)
    host.destroy_range(ipa, 2 * PAGE, pa)
    assert [entry(host, ipa + page)[0] for page in range(0, size, PAGE)] == [0, 0, 1]


def test_ranges_of_shared_memory(host: RealmHost) -> None:
    alias, pa = 1 << 40 | 0x4000_0000, BASE + 5 * MIB
    host.map_unprotected_range(alias, 2 * PAGE, pa)
    mapped = [entry(host, alias + n * PAGE)[:2] for n in (-1, 0, 1, 2)]
    assert mapped == [(0, 0), (1, pa), (1, pa + PAGE), (0, 0)]
    host.unmap_unprotected_range(alias + PAGE, PAGE)
    assert [entry(host, alias + n * PAGE)[0] for n in (0, 1)] == [1, 0]


def test_granules_are_delegated_up_to_the_end(host: RealmHost) -> None:
    assert isinstance(host.port, Rmm)
    host.delegate(BASE + 5 * MIB, 2 * PAGE)
    states = [host.port.granules.get(BASE + 5 * MIB + n * PAGE) for n in (0, 1, 2)]
    assert states == [State.DELEGATED, State.DELEGATED, State.NS]


NORMAL = 0xD8  # write-back, read and write


class Recorded:
    """An RMM that answers what the test says, in order, then SUCCESS."""

    def __init__(self, *answers: tuple[int, ...]) -> None:
        self.answers = list(answers)
        self.calls: list[tuple[int, ...]] = []

    def rmi(self, fid: int, args: Sequence[int] = ()) -> tuple[int, ...]:
        self.calls.append((fid, *args))
        return self.answers.pop(0) if self.answers else (0, 0)


def rtt_error(level: int) -> tuple[int, int]:
    return (RmiStatus.ERROR_RTT | (level & 0xFF) << 8, 0)


def host_on(port: Recorded) -> RealmHost:
    memory = PhysicalMemory(BASE, 8 * MIB)
    return RealmHost(port, memory, PagePool(POOL, 2 * MIB), IPA_BITS, rd=0x1000)


class Bench:
    """A Realm, still NEW, on the real RMM."""

    def __init__(self, ipa_bits: int = IPA_BITS) -> None:
        self.memory = PhysicalMemory(BASE, 16 * MIB)
        self.memory.fill(POOL, MIB, 0xFF)  # pages that the host used before
        self.rmm = Rmm(self.memory)
        self.port = CountedRmm(self.rmm)
        self.host = RealmHost(self.port, self.memory, PagePool(POOL, 10 * MIB), ipa_bits)

    def entry(self, ipa: int) -> tuple[int, ...]:
        """(walk level, state, output address and attributes, RIPAS) of the entry at level 3."""
        return self.rmm.rmi(Rmi.RTT_READ_ENTRY, (self.host.rd, ipa, 3))[1:]


@pytest.mark.parametrize(
    ("ipa_bits", "level"),
    [(32, 2), (34, 2), (35, 1), (43, 1), (44, 0), (48, 0), (52, 0), (53, -1)],
)
def test_the_root_is_at_the_lowest_level_that_concatenation_allows(
    ipa_bits: int, level: int
) -> None:
    assert start_level(ipa_bits) == level


@pytest.mark.parametrize(
    ("ipa_bits", "level", "tables", "flags"),
    [(40, 1, 2, 0), (48, 0, 1, 0), (49, 0, 2, RealmFlags0(LPA2=1).words[0]), (34, 2, 16, 0)],
)
def test_a_realm_is_created_as_wide_as_asked(
    ipa_bits: int, level: int, tables: int, flags: int
) -> None:
    bench = Bench(ipa_bits)
    params = POOL
    rd = bench.host.create()
    assert rd == bench.host.rd
    (created,) = (call for call in bench.port.calls if call[0] == Rmi.REALM_CREATE)
    assert created == (Rmi.REALM_CREATE, rd, params)
    read = bench.memory.read_u64
    root = read(params + RealmParams.RTT_BASE)
    assert read(params + RealmParams.S2SZ) == ipa_bits
    assert read(params + RealmParams.RTT_LEVEL_START) == level
    assert read(params + RealmParams.RTT_NUM_START) == tables
    assert read(params + RealmParams.VMID) == 1
    assert read(params + RealmParams.FLAGS0) == flags
    assert read(params + RealmParams.NUM_BPS) == read(params + RealmParams.NUM_WPS) == 1
    assert read(params + RealmParams.HASH_ALGO) == 0
    assert root % (tables * PAGE) == 0
    assert all(bench.rmm.granules.get(root + n * PAGE) == State.RTT for n in range(tables))
    assert bench.rmm.granules.get(root + tables * PAGE) != State.RTT
    assert bench.host.pages.free == [params]  # it stays the host's
    assert bench.rmm.realm(rd).space.bits == ipa_bits


def test_a_rec_starts_where_and_with_what_it_was_told() -> None:
    bench = Bench()
    bench.host.create()
    rec = bench.host.rec_create(mpidr=0, pc=0x4000, regs=(5, 6))
    made = bench.rmm.rec(rec)
    assert made.start is not None
    assert (made.start.pc, made.start.regs[0], made.start.regs[1]) == (0x4000, 5, 6)
    assert all(made.start.regs[n] == 0 for n in range(2, 8))
    assert (made.runnable, made.mpidr, len(made.aux)) == (True, 0, 16)
    run = bench.host.run_pages[rec]
    assert not any(bench.memory.read(run, PAGE))
    assert bench.rmm.granules.get(run) == State.NS
    second = bench.host.rec_create(mpidr=1, pc=0, runnable=False)
    assert bench.rmm.rec(second).runnable is False
    assert bench.host.run_pages[second] != run


def test_private_memory_is_given_and_taken_back() -> None:
    bench = Bench()
    bench.host.create()
    bench.host.init_ripas(RAM, 4 * MIB)
    assert bench.entry(RAM + 4 * MIB - PAGE)[3] == Ripas.RAM
    bench.host.rec_create(mpidr=0, pc=0)
    bench.host.activate()
    bench.host.populate_range(RAM, 2 * PAGE, SHARED_PA)
    assert [bench.rmm.granules.get(SHARED_PA + n * PAGE) for n in range(3)] == [
        State.DATA, State.DATA, State.NS,
    ]  # fmt: skip
    assert bench.entry(RAM + PAGE) == (3, 1, SHARED_PA + PAGE, Ripas.RAM)
    assert bench.host.destroy_data(RAM + PAGE) == SHARED_PA + PAGE
    assert bench.rmm.granules.get(SHARED_PA + PAGE) == State.NS
    bench.host.destroy_range(RAM, PAGE, SHARED_PA)
    assert bench.rmm.granules.get(SHARED_PA) == State.NS


def test_shared_memory_is_mapped_normal_and_writable() -> None:
    bench = Bench()
    bench.host.create()
    bench.host.map_unprotected_range(RAM | S, 2 * PAGE, SHARED_PA)
    for page in (0, PAGE):
        assert bench.entry((RAM | S) + page)[:3] == (3, 1, SHARED_PA + page | NORMAL)
    assert bench.entry((RAM | S) + 2 * PAGE)[1] == 0
    bench.host.unmap_unprotected_range(RAM | S, 2 * PAGE)
    assert [bench.entry((RAM | S) + page)[1] for page in (0, PAGE)] == [0, 0]


def test_a_realm_may_begin_with_content() -> None:
    bench = Bench()
    bench.host.create()
    first, size = RAM + 2 * MIB - PAGE, 2 * PAGE  # across the end of a table
    bench.host.init_ripas(RAM, 4 * MIB)
    bench.memory.write(BASE, b"kernel")
    bench.memory.write(BASE + PAGE, b"more")
    bench.host.delegate(SHARED_PA, size)
    bench.host.data_create(first, size, SHARED_PA, BASE, 0)
    assert bench.entry(first)[:3] == (3, 1, SHARED_PA)
    assert bench.entry(first + PAGE)[:3] == (3, 1, SHARED_PA + PAGE)
    assert bench.entry(first + size)[1] == 0
    assert bench.memory.read(SHARED_PA, 6) == b"kernel"
    assert bench.memory.read(SHARED_PA + PAGE, 4) == b"more"


def test_tables_that_are_missing_are_supplied_from_the_walks_level_on() -> None:
    port = Recorded(rtt_error(1))
    host = host_on(port)
    host.map_unprotected(RAM | S | 0x12_3000, SHARED_PA)
    asked = (Rmi.RTT_MAP_UNPROTECTED, 0x1000, RAM | S | 0x12_3000, 3, SHARED_PA | NORMAL)
    assert port.calls == [
        asked,
        (Rmi.GRANULE_DELEGATE, POOL),
        (Rmi.RTT_CREATE, 0x1000, POOL, RAM | S, 2),
        (Rmi.GRANULE_DELEGATE, POOL + PAGE),
        (Rmi.RTT_CREATE, 0x1000, POOL + PAGE, RAM | S, 3),
        asked,
    ]


def test_the_first_table_may_be_of_level_0() -> None:
    port = Recorded(rtt_error(-1))
    host_on(port).map_unprotected(1 << 50 | 0x1000, SHARED_PA)
    created = [(call[3], call[4]) for call in port.calls if call[0] == Rmi.RTT_CREATE]
    assert created == [(1 << 50, level) for level in range(4)]


@pytest.mark.parametrize(
    "answers",
    [
        [(RmiStatus.ERROR_INPUT, 0)],
        [rtt_error(3)],
        [rtt_error(2), (0, 0), (0, 0), rtt_error(3)],
        [rtt_error(2), (0, 0), (RmiStatus.ERROR_INPUT, 0)],
    ],
)
def test_a_map_that_stays_refused_is_told(answers: list[tuple[int, int]]) -> None:
    port = Recorded(*answers)
    with pytest.raises(RmiError) as refused:
        host_on(port).map_unprotected(RAM | S, SHARED_PA)
    assert len(port.calls) == len(answers)
    assert refused.value.result == answers[-1][0]
    assert refused.value.call == port.calls[-1][0]


def test_an_error_names_the_call_and_what_it_said() -> None:
    assert str(RmiError(Rmi.RTT_CREATE, 0x204)) == "RMI_RTT_CREATE: ERROR_RTT, index 2"


def test_a_call_that_makes_part_of_the_way_is_repeated() -> None:
    port = Recorded((0, RAM + PAGE), rtt_error(2), (0, 0), (0, 0), (0, RAM + 3 * PAGE))
    host_on(port).set_ripas(0x2000, RAM, 3 * PAGE)
    top = RAM + 3 * PAGE
    assert port.calls == [
        (Rmi.RTT_SET_RIPAS, 0x1000, 0x2000, RAM, top),
        (Rmi.RTT_SET_RIPAS, 0x1000, 0x2000, RAM + PAGE, top),
        (Rmi.GRANULE_DELEGATE, POOL),
        (Rmi.RTT_CREATE, 0x1000, POOL, RAM, 3),
        (Rmi.RTT_SET_RIPAS, 0x1000, 0x2000, RAM + PAGE, top),
    ]


@pytest.mark.parametrize("answer", [(0, RAM), rtt_error(3), (RmiStatus.ERROR_REALM, RAM + PAGE)])
def test_a_call_without_progress_is_told(answer: tuple[int, int]) -> None:
    port = Recorded(answer)
    with pytest.raises(RmiError) as refused:
        host_on(port).init_ripas(RAM, PAGE)
    assert (refused.value.call, refused.value.result) == (Rmi.RTT_INIT_RIPAS, answer[0])
    assert len(port.calls) == 1


def test_nothing_is_asked_for_an_empty_range() -> None:
    port = Recorded()
    host = host_on(port)
    host.init_ripas(RAM, 0)
    host.delegate(RAM, 0)
    assert port.calls == []
