"""A Realm's table holds addresses as every stage-2 table does, also where it takes a short cut."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rmm_host import PAGE, Host
from topbit.arch.rmi import Ripas, RttState
from topbit.arch.stage2 import Geometry, Granule, address_bits, output_address
from topbit.memory import PhysicalMemory
from topbit.rmm.granules import Granules
from topbit.rmm.s2tt import IS_TABLE, LAST, SHIFTS, Rtt, ripas_of

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
