"""Which entries does a host that speaks RMI 2.0 make for shared memory?"""

import pytest

from topbit.host.pages import PAGE, PagePool
from topbit.host.rme import RmiError, start_level
from topbit.host.rme_ranges import BLOCK, RangeRealmHost
from topbit.memory import PhysicalMemory
from topbit.rmm import Rmm

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
    with pytest.raises(RmiError):
        host.map_unprotected_range(ALIAS, BLOCK, SHARED + BLOCK)
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
