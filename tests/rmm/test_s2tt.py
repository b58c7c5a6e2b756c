"""What does each word of a Realm's table say, and where does a walk end?

It holds addresses as every stage-2 table does, also where it takes a short cut.
"""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rmm_host import BASE, PAGE, Host
from topbit.arch.rmi import Ripas, RttState
from topbit.arch.stage2 import Geometry, Granule, address_bits, output_address
from topbit.memory import PhysicalMemory
from topbit.rmm import Granules, State
from topbit.rmm.s2tt import (
    IS_TABLE,
    LAST,
    SHIFTS,
    Entry,
    Rtt,
    is_held,
    is_live,
    is_table,
    ripas_of,
    unassigned,
)

WORDS = st.integers(0, (1 << 64) - 1)


def table(lpa2: bool) -> Rtt:
    memory = PhysicalMemory(0, 1 << 20)
    return Rtt(Granules(memory), 0, 0, 41, lpa2)


@settings(deadline=None)
@given(st.booleans(), WORDS)
def test_words_hold_addresses_as_stage_2_descriptors_do(lpa2: bool, word: int) -> None:
    rtt = table(lpa2)
    assert rtt.pa_of(word) == output_address(word, rtt.granule)
    pa = word & ((1 << (52 if lpa2 else 48)) - PAGE)
    assert rtt.address(pa) == address_bits(pa, rtt.granule)
    assert rtt.pa_of(rtt.address(pa)) == pa


@pytest.mark.parametrize("lpa2", [False, True])
@pytest.mark.parametrize("level", [1, 2, 3])
def test_runs_of_words(lpa2: bool, level: int) -> None:
    rtt = table(lpa2)
    size = 1 << SHIFTS[level]
    start = (3 << 50 if lpa2 else 3 << 46) - 2 * size  # so that the high bits change on the way
    assert rtt.address_run(start, 4, level).tolist() == [
        rtt.address(start + n * size) for n in range(4)
    ]


@pytest.mark.parametrize(
    ("lpa2", "granule", "bits"), [(False, Granule(12), 48), (True, Granule(12, ds=True), 52)]
)
def test_what_an_smmu_is_told_of_it(lpa2: bool, granule: Granule, bits: int) -> None:
    assert table(lpa2).geometry == Geometry(41, 0, granule, bits)


def test_a_walk_ends_as_lost_or_unprotected_where_a_table_is_none() -> None:
    host = Host()
    host.create()
    half = host.realm.space.shared_bit
    for ipa in (0, half):
        host.tables(ipa)
    rtt = host.realm.rtt
    for ipa in (0, half):
        index = rtt.walk(ipa, 1).word
        rtt.write(index, 0x3 | 0x7000_0000)  # no granule is there
        level, _, entry = rtt.walk(ipa, LAST)
        found = rtt.decode(entry, level)
        assert (level, found.state, found.ns) == (1, RttState.UNASSIGNED, ipa == half)
        assert found.ripas == (Ripas.EMPTY if ipa == half else Ripas.DESTROYED)


def test_a_table_has_no_ripas() -> None:
    host = Host()
    host.create()
    host.tables(0)
    rtt = host.realm.rtt
    words = rtt.rest_of_table(rtt.walk(0, 2).word)[:2]
    assert ripas_of(words, 2).tolist() == [IS_TABLE, Ripas.EMPTY]
    assert IS_TABLE not in list(Ripas)


ROOT, L2, L3, OTHER = (BASE + n * PAGE for n in range(4))
NS, AF, SH, OUTER, RW, XN = 1 << 55, 1 << 10, 3 << 8, 2 << 8, 3 << 6, 1 << 54
RAM = 0b0110 << 2 | RW | AF
WIDE = 0xF_1234_5678_9000


def rtt(*, lpa2: bool = False, bits: int = 40, level: int = 1) -> Rtt:
    granules = Granules(PhysicalMemory(BASE, 64 * PAGE))
    for pa in (ROOT, L2, L3):
        granules.set(pa, State.RTT)
    return Rtt(granules, ROOT, level, bits, lpa2)


@pytest.mark.parametrize(
    ("ripas", "dev", "level", "word"),
    [
        (Ripas.RAM, False, 3, RAM | SH | 3),
        (Ripas.RAM, False, 2, RAM | SH | 1),
        (Ripas.DEV, True, 3, 0b0101 << 2 | RW | AF | OUTER | XN | 3),
        (Ripas.DEV, True, 2, 0b0101 << 2 | RW | AF | OUTER | XN | 1),
        (Ripas.EMPTY, False, 3, 1 << 3),
        (Ripas.DESTROYED, False, 3, 1 << 3 | 2 << 1),
        (Ripas.EMPTY, True, 3, 3 << 3),
        (Ripas.DESTROYED, True, 2, 3 << 3 | 2 << 1),
        (Ripas.RAM, True, 3, 3 << 3 | 1 << 1),
    ],
)
def test_the_word_of_an_assigned_page(ripas: Ripas, dev: bool, level: int, word: int) -> None:
    assert rtt().assigned(OTHER, ripas, level, dev=dev) == OTHER | word
    found = rtt().decode(OTHER | word, level)
    assert (found.oa, found.ripas, found.ns) == (OTHER, ripas, False)
    assert found.state == (RttState.ASSIGNED_DEV if dev else RttState.ASSIGNED)
    assert found.valid == bool(word & 1)


def test_with_lpa2_bits_9_and_8_hold_the_address() -> None:
    wide = rtt(lpa2=True)
    word = wide.assigned(WIDE, Ripas.RAM)
    assert word == WIDE & (1 << 50) - 1 | 3 << 8 | RAM | 3
    assert wide.pa_of(word) == WIDE
    assert wide.decode(word, 3).oa == WIDE
    assert wide.address_mask == 0x3_FFFF_FFFF_F000 | 3 << 8
    assert rtt().address_mask == 0xF_FFFF_FFFF_F000


def test_an_unprotected_mapping_carries_what_the_host_chose() -> None:
    word = rtt().assigned_ns(OTHER | 0xD8, 3)
    assert word == OTHER | 0xD8 | NS | XN | SH | AF | 3
    assert rtt().decode(word, 3) == Entry(RttState.ASSIGNED, Ripas.EMPTY, OTHER, True, True)
    assert rtt().assigned_ns(OTHER | 0xD8, 2) & 3 == 1
    assert rtt(lpa2=True).assigned_ns(WIDE | 0xD8, 3) >> 8 & 3 == 3


@pytest.mark.parametrize(
    ("word", "level", "entry"),
    [
        (0, 3, Entry(RttState.UNASSIGNED, Ripas.EMPTY, 0, False, False)),
        (2, 3, Entry(RttState.UNASSIGNED, Ripas.RAM, 0, False, False)),
        (4, 2, Entry(RttState.UNASSIGNED, Ripas.DESTROYED, 0, False, False)),
        (NS, 3, Entry(RttState.UNASSIGNED, Ripas.EMPTY, 0, True, False)),
        (L3 | 3, 2, Entry(RttState.TABLE, Ripas.EMPTY, L3, False, True)),
        (L3 | 0x1B, 3, Entry(RttState.ASSIGNED, Ripas.RAM, L3, False, True)),
    ],
)
def test_other_words(word: int, level: int, entry: Entry) -> None:
    assert rtt().decode(word, level) == entry


def test_unassigned_words_hold_a_ripas() -> None:
    assert [unassigned(ripas) for ripas in (Ripas.EMPTY, Ripas.RAM, Ripas.DESTROYED)] == [0, 2, 4]


class Tables:
    """Three levels of tables, the last entry of each leading on."""

    def __init__(self) -> None:
        self.rtt = rtt()
        self.memory = self.rtt.memory
        self.memory.write_u64(ROOT + 8, L2 | 3)
        self.memory.write_u64(L2 + 8 * 511, L3 | 3)
        self.memory.write_u64(L3 + 8 * 7, OTHER | RAM | SH | 3)
        self.ipa = 1 << 30 | 511 << 21 | 7 << 12

    def end(self, level: int = 3) -> tuple[int, int, int]:
        level, word, entry = self.rtt.walk(self.ipa, level)
        return level, BASE + 8 * word, entry


@pytest.mark.parametrize(
    ("level", "end"),
    [
        (3, (3, L3 + 56, OTHER | RAM | SH | 3)),
        (2, (2, L2 + 8 * 511, L3 | 3)),
        (1, (1, ROOT + 8, L2 | 3)),
    ],
)
def test_a_walk_ends_at_the_level_asked_for(level: int, end: tuple[int, int, int]) -> None:
    assert Tables().end(level) == end


@pytest.mark.parametrize("word", [0, 2, OTHER | RAM | SH | 1, OTHER | 1 << 3])
def test_a_walk_ends_at_what_is_no_table(word: int) -> None:
    made = Tables()
    made.memory.write_u64(L2 + 8 * 511, word)
    assert made.end() == (2, L2 + 8 * 511, word)


@pytest.mark.parametrize("where", [OTHER, BASE - PAGE, BASE + 64 * PAGE, 1 << 47])
@pytest.mark.parametrize("half", [0, 1 << 39])
def test_what_leads_to_no_table_reads_as_lost(where: int, half: int) -> None:
    made = Tables()
    index = ROOT + 8 * (half + (1 << 30) >> 30)
    made.memory.write_u64(index, L2 | 3)
    made.memory.write_u64(L2 + 8 * 511, where | 3)
    made.ipa |= half
    assert made.end() == (2, L2 + 8 * 511, NS if half else unassigned(Ripas.DESTROYED))
    assert made.end(2) == made.end()


def test_the_last_granule_may_be_a_table() -> None:
    made, last = Tables(), BASE + 63 * PAGE
    made.rtt.granules.set(last, State.RTT)
    made.memory.write_u64(L2 + 8 * 511, last | 3)
    assert made.end() == (3, last + 56, 0)
    made.memory.write_u64(L2 + 8 * 511, BASE | 3)
    assert made.end()[1] == BASE + 56


@pytest.mark.parametrize(
    ("bits", "level", "roots"), [(33, 1, 1), (39, 1, 1), (40, 1, 2), (43, 1, 16), (34, 2, 16)]
)
def test_root_tables_stand_side_by_side(bits: int, level: int, roots: int) -> None:
    made = rtt(bits=bits, level=level)
    assert made.roots == roots
    inside = [made.is_root(ROOT + n * PAGE) for n in (-1, 0, roots - 1, roots)]
    assert inside == [False, True, True, False]


def test_views_of_a_table_are_live() -> None:
    made = Tables()
    table, rest = made.rtt.table(L3), made.rtt.rest_of_table((L3 - BASE >> 3) + 7)
    assert (len(table), len(rest)) == (512, 505)
    assert int(rest[0]) == int(table[7]) == OTHER | RAM | SH | 3
    made.rtt.write((L3 - BASE >> 3) + 8, 4)
    assert int(rest[1]) == 4


@pytest.mark.parametrize(
    ("state", "reached"),
    [(State.DATA, True), (State.DELEGATED, False), (State.NS, False), (State.RTT, False)],
)
def test_a_protected_entry_reaches_memory_of_a_realm(state: State, reached: bool) -> None:
    made = rtt()
    made.granules.set(OTHER, state)
    assert made.reaches(OTHER + 0x123) is reached
    assert not made.reaches(BASE - 1)


WORDS = np.array(
    [
        0, 2, 4, NS, OTHER | 1 << 3, OTHER | 3 << 3 | 4, OTHER | RAM | SH | 3,
        OTHER | 0b0001 << 2 | 3, OTHER | NS | 0xD8 | 3, L3 | RAM | 1,
    ],
    np.uint64,
)  # fmt: skip


def test_arrays_of_words_say_what_single_words_say() -> None:
    assert is_live(WORDS).tolist() == [False] * 4 + [True] * 6
    assert is_table(WORDS, 3).tolist() == [False] * 10
    assert is_table(WORDS, 2).tolist() == [False] * 6 + [True] * 3 + [False]
    assert is_held(WORDS, 3).tolist() == [False] * 4 + [True] * 4 + [False, True]
    assert is_held(WORDS, 2).tolist() == [False] * 4 + [True] * 6
    protected = [n for n in range(10) if n not in (3, 8)]
    assert ripas_of(WORDS, 3)[protected].tolist() == [
        int(rtt().decode(int(word), 3).ripas) for word in WORDS[protected]
    ]
    assert ripas_of(WORDS, 2)[[6, 7]].tolist() == [4, 4]
