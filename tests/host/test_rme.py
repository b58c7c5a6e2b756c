"""Which level, and which range, does the host make of what the RMM answers?"""

import pytest

from topbit.arch.rmi import Ripas, RmiStatus
from topbit.host.pages import PAGE, PagePool
from topbit.host.rme import NOT_CREATED, RealmHost, walked_level
from topbit.memory import PhysicalMemory
from topbit.rmm import Rmm
from topbit.rmm.granules import State

BASE, MIB = 0x8000_0000, 1 << 20
BITS = 41


@pytest.mark.parametrize(("index", "level"), [(0, 0), (2, 2), (3, 3), (255, -1)])
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
