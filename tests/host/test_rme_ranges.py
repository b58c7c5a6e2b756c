"""Which entries does a host that speaks RMI 2.0 make for shared memory?"""

import pytest

from topbit.arch.rmi import Rmi2
from topbit.host.pages import PAGE, PagePool
from topbit.host.rme import RmiError, start_level
from topbit.host.rme_ranges import BLOCK, RangeRealmHost
from topbit.memory import PhysicalMemory
from topbit.rmm import Rmm, State

BASE = 0x8000_0000
MIB = 1 << 20
SHARED = BASE + 32 * MIB
BITS = 41
ALIAS = 1 << (BITS - 1) | 0x4000_0000


@pytest.fixture
def host() -> RangeRealmHost:
    memory = PhysicalMemory(BASE, 64 * MIB)
    realm = RangeRealmHost(Rmm(memory, abi="2.0"), memory, PagePool(BASE, SHARED - BASE), BITS)
    realm.activate_rmm()
    realm.create()
    return realm


def mapped(host: RangeRealmHost, ipa: int) -> tuple[int, int] | None:
    """The level of the entry and the physical address."""
    assert isinstance(host.port, Rmm)
    rtt = host.port.realm(host.rd).rtt
    level, _, entry = rtt.walk(ipa, 3)
    if not entry & 1:
        return None
    size = PAGE << 9 * (3 - level)
    return level, (rtt.pa_of(entry) & -size) + ipa % size


def test_blocks_where_they_fit(host: RangeRealmHost) -> None:
    base, top = ALIAS + MIB, ALIAS + 7 * MIB
    host.map_unprotected_range(base, top - base, SHARED + MIB)
    for ipa in range(base, top, PAGE):
        level = 2 if ALIAS + BLOCK <= ipa < ALIAS + 3 * BLOCK else 3
        assert mapped(host, ipa) == (level, SHARED + ipa - ALIAS)
    assert mapped(host, base - PAGE) is None
    assert mapped(host, top) is None


def attributes(host: RangeRealmHost, ipa: int) -> int:
    """MemAttr and S2AP of the entry."""
    assert isinstance(host.port, Rmm)
    return host.port.realm(host.rd).rtt.walk(ipa, 3).entry & 0xFC


def test_shared_memory_is_write_back_and_writable_unless_told_otherwise(
    host: RangeRealmHost,
) -> None:
    host.map_unprotected(ALIAS, SHARED)
    assert mapped(host, ALIAS) == (3, SHARED)
    assert mapped(host, ALIAS + PAGE) is None
    assert attributes(host, ALIAS) == 0b110 << 2 | 0b11 << 6
    page = ALIAS + PAGE
    host.map_unprotected_blocks(page, PAGE, SHARED + PAGE, 3, 0b101, writable=False)
    assert attributes(host, page) == 0b101 << 2 | 0b01 << 6
    host.unmap_unprotected(ALIAS)
    assert mapped(host, ALIAS) is None
    assert mapped(host, page) == (3, SHARED + PAGE)


def test_private_memory_is_given_and_taken_back(host: RangeRealmHost) -> None:
    assert isinstance(host.port, Rmm)
    granules, ipa = host.port.granules, ALIAS & ~(1 << (BITS - 1))
    host.init_ripas(ipa, 8 * PAGE)
    host.populate_range(ipa, 3 * PAGE, SHARED)
    assert [granules.get(SHARED + n * PAGE) for n in range(4)] == [State.DATA] * 3 + [State.NS]
    assert mapped(host, ipa + 2 * PAGE) == (3, SHARED + 2 * PAGE)
    assert host.destroy_data(ipa + PAGE) == SHARED + PAGE
    host.destroy_range(ipa + 2 * PAGE, PAGE, SHARED + 2 * PAGE)
    assert [granules.get(SHARED + n * PAGE) for n in range(3)] == [State.DATA] + [State.NS] * 2
    host.populate(ipa + 5 * PAGE, SHARED + PAGE)
    assert mapped(host, ipa + 5 * PAGE) == (3, SHARED + PAGE)


def test_more_pages_than_one_descriptor_names_are_mapped(host: RangeRealmHost) -> None:
    count = 1023 + 2
    host.map_unprotected_range(ALIAS, count * PAGE, SHARED + PAGE)
    for page in (0, 1022, 1023, 1024):
        assert mapped(host, ALIAS + page * PAGE) == (3, SHARED + PAGE + page * PAGE)
    assert mapped(host, ALIAS + count * PAGE) is None


def test_a_single_block_is_one_where_it_fits_exactly(host: RangeRealmHost) -> None:
    host.map_unprotected_range(ALIAS, BLOCK, SHARED)
    assert mapped(host, ALIAS) == (2, SHARED)
    page = ALIAS + BLOCK
    host.map_unprotected_range(page, BLOCK - PAGE, SHARED + BLOCK)
    assert mapped(host, page) == (3, SHARED + BLOCK)


def test_pages_within_a_block_are_mapped_and_no_others(host: RangeRealmHost) -> None:
    host.map_unprotected_range(ALIAS + PAGE, 2 * PAGE, SHARED + PAGE)
    assert mapped(host, ALIAS + 2 * PAGE) == (3, SHARED + 2 * PAGE)
    assert mapped(host, ALIAS) is None
    assert mapped(host, ALIAS + 3 * PAGE) is None


@pytest.mark.parametrize("shift", [PAGE, MIB])
def test_pages_where_the_memory_is_not_aligned_alike(host: RangeRealmHost, shift: int) -> None:
    host.map_unprotected_range(ALIAS, 2 * BLOCK, SHARED + shift)
    assert mapped(host, ALIAS + BLOCK) == (3, SHARED + shift + BLOCK)


@pytest.mark.parametrize("first", [0, 1, 511])
def test_a_page_leaves_a_block_and_comes_back(host: RangeRealmHost, first: int) -> None:
    host.map_unprotected_range(ALIAS, 2 * BLOCK, SHARED)
    page = ALIAS + first * PAGE
    host.unmap_unprotected_range(page, PAGE)
    assert mapped(host, page) is None
    for ipa in range(ALIAS, ALIAS + BLOCK, PAGE):
        assert ipa == page or mapped(host, ipa) == (3, SHARED + ipa - ALIAS)
    assert mapped(host, ALIAS + BLOCK) == (2, SHARED + BLOCK)
    host.map_unprotected_range(page, PAGE, SHARED + first * PAGE)
    assert mapped(host, page) == (3, SHARED + first * PAGE)
    host.unmap_unprotected_range(ALIAS, 2 * BLOCK)
    assert all(mapped(host, ipa) is None for ipa in range(ALIAS, ALIAS + 2 * BLOCK, PAGE))
    # The table stays: pages again.
    host.map_unprotected_range(ALIAS, 2 * BLOCK, SHARED)
    assert mapped(host, ALIAS) == (3, SHARED)
    assert mapped(host, ALIAS + BLOCK) == (2, SHARED + BLOCK)


def test_what_is_mapped_already_is_refused(host: RangeRealmHost) -> None:
    host.map_unprotected_range(ALIAS, BLOCK, SHARED)
    with pytest.raises(RmiError) as refused:
        host.map_unprotected_range(ALIAS, BLOCK, SHARED + BLOCK)
    assert refused.value.call is Rmi2.RTT_UNPROT_MAP
    assert mapped(host, ALIAS) == (3, SHARED)  # in a table now, and the same


@pytest.mark.parametrize(
    ("ipa_bits", "level"), [(32, 2), (34, 2), (35, 1), (39, 1), (43, 1), (44, 0), (48, 0), (52, 0)]
)
def test_the_root_is_as_short_as_concatenation_allows(ipa_bits: int, level: int) -> None:
    assert start_level(ipa_bits) == level
    memory = PhysicalMemory(BASE, 16 * MIB)
    realm = RangeRealmHost(Rmm(memory, abi="2.0"), memory, PagePool(BASE, MIB), ipa_bits)
    realm.activate_rmm()
    realm.create()  # the RMM accepts it
    ipa = 3 << (ipa_bits - 2)
    realm.map_unprotected_range(ipa, PAGE, BASE + MIB)
    assert mapped(realm, ipa) == (3, BASE + MIB)
