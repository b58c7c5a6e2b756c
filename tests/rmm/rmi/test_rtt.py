"""Tables grow, fold and go, and what their entries said is kept."""

import pytest

from rmm_host import PAGE, Host
from topbit.arch.rmi import Ripas, Rmi, RttState
from topbit.rmm import State

ERROR_INPUT, ERROR_RTT = 1, 4
HALF = 1 << 32
L2, L1 = 2 << 20, 1 << 30
NORMAL = 0xD8


def error(level: int) -> int:
    return ERROR_RTT | level << 8


@pytest.fixture
def host() -> Host:
    host = Host()
    host.create()
    host.rec()
    return host


def entry(host: Host, ipa: int, level: int = 3) -> tuple[int, ...]:
    """(walk level, state, address and attributes, RIPAS)"""
    return host.ok(Rmi.RTT_READ_ENTRY, host.rd, ipa, level)[1:]


def entries(host: Host, base: int, count: int = 512, step: int = PAGE) -> set[tuple[int, ...]]:
    return {entry(host, base + n * step) for n in range(count)}


def ram(host: Host, base: int, top: int) -> None:
    while base < top:
        base = host.ok(Rmi.RTT_INIT_RIPAS, host.rd, base, top)[1]


def filled(host: Host, ipa: int) -> int:
    """512 contiguous pages of RAM at `ipa`; their PA."""
    host.tables(ipa)
    ram(host, ipa, ipa + L2)
    pa = host.granule(512, align=L2)
    for offset in range(0, L2, PAGE):
        host.ok(Rmi.DATA_CREATE_UNKNOWN, host.rd, pa + offset, ipa + offset)
    return pa


# What a new table says.


@pytest.mark.parametrize("ripas", [Ripas.EMPTY, Ripas.RAM, Ripas.DESTROYED])
def test_a_new_table_inherits_the_ripas_of_its_parent(host: Host, ripas: Ripas) -> None:
    host.tables(0, 2)
    if ripas == Ripas.RAM:
        ram(host, 0, L2)
    elif ripas == Ripas.DESTROYED:
        host.tables(0)
        host.ok(Rmi.RTT_DESTROY, host.rd, 0, 3)
    assert entry(host, 0, 2) == (2, RttState.UNASSIGNED, 0, ripas)
    assert entry(host, L2, 2) == (2, RttState.UNASSIGNED, 0, Ripas.EMPTY)
    table = host.granule()
    host.ok(Rmi.RTT_CREATE, host.rd, table, 0, 3)
    assert entries(host, 0) == {(3, RttState.UNASSIGNED, 0, ripas)}
    assert entry(host, L2) == (2, RttState.UNASSIGNED, 0, Ripas.EMPTY)
    assert host.rmm.granules.get(table) == State.RTT


def test_a_new_table_in_a_block_maps_the_same_pages(host: Host) -> None:
    pa = filled(host, L2)
    assert host.ok(Rmi.RTT_FOLD, host.rd, L2, 3)
    assert entry(host, L2, 2) == (2, RttState.ASSIGNED, pa, Ripas.RAM)
    host.ok(Rmi.RTT_CREATE, host.rd, host.granule(), L2, 3)
    for offset in range(0, L2, PAGE):
        assert entry(host, L2 + offset) == (3, RttState.ASSIGNED, pa + offset, Ripas.RAM)


def test_a_new_table_in_an_unprotected_block_keeps_its_attributes(host: Host) -> None:
    alias = HALF | L2
    host.tables(alias, 2)
    host.ok(Rmi.RTT_MAP_UNPROTECTED, host.rd, alias, 2, 0x8060_0000 | NORMAL)
    host.ok(Rmi.RTT_CREATE, host.rd, host.granule(), alias, 3)
    for offset in (0, PAGE, L2 - PAGE):
        descriptor = 0x8060_0000 + offset | NORMAL
        assert entry(host, alias + offset)[:3] == (3, RttState.ASSIGNED, descriptor)


def test_a_new_table_of_pages_that_the_realm_cannot_reach_yet(host: Host) -> None:
    host.tables(0)
    pa = host.granule(512, align=L2)
    for offset in range(0, L2, PAGE):
        host.ok(Rmi.DATA_CREATE_UNKNOWN, host.rd, pa + offset, offset)
    host.ok(Rmi.RTT_FOLD, host.rd, 0, 3)
    assert entry(host, 0, 2) == (2, RttState.ASSIGNED, pa, Ripas.EMPTY)
    host.ok(Rmi.RTT_CREATE, host.rd, host.granule(), 0, 3)
    for offset in (0, PAGE, L2 - PAGE):
        assert entry(host, offset) == (3, RttState.ASSIGNED, pa + offset, Ripas.EMPTY)


@pytest.mark.parametrize(
    ("ipa", "level", "status"),
    [
        (0, 2, error(1)),  # there is one
        (0, 3, 0),
        (L1, 3, error(1)),  # its parent is missing
        (PAGE, 3, ERROR_INPUT),
        (0, 1, ERROR_INPUT),  # the root
        (0, 4, ERROR_INPUT),
        (L2, 2, ERROR_INPUT),
        (2 * HALF, 2, ERROR_INPUT),
        (2 * HALF - L1, 2, 0),
    ],
)
def test_where_a_table_may_be_created(host: Host, ipa: int, level: int, status: int) -> None:
    host.tables(0, 2)
    table = host.granule()
    assert host.status(Rmi.RTT_CREATE, host.rd, table, ipa, level) == status
    assert host.rmm.granules.get(table) == (State.DELEGATED if status else State.RTT)


def test_a_table_is_a_delegated_granule(host: Host) -> None:
    host.tables(0, 2)
    table = host.granule(delegate=False)
    assert host.status(Rmi.RTT_CREATE, host.rd, table, 0, 3) == ERROR_INPUT


# Folding.


@pytest.mark.parametrize("ripas", [Ripas.EMPTY, Ripas.RAM])
def test_a_table_that_says_one_thing_is_folded_into_it(host: Host, ripas: Ripas) -> None:
    host.tables(0)
    if ripas == Ripas.RAM:
        ram(host, 0, L2)
    table = host.ok(Rmi.RTT_FOLD, host.rd, 0, 3)[1]
    assert entry(host, 0, 3) == (2, RttState.UNASSIGNED, 0, ripas)
    assert host.rmm.granules.get(table) == State.DELEGATED


@pytest.mark.parametrize("other", [0, 1, 255, 511])
def test_a_table_of_mixed_unassigned_entries_is_not_folded(host: Host, other: int) -> None:
    host.tables(0)
    ram(host, other * PAGE, (other + 1) * PAGE)
    assert host.status(Rmi.RTT_FOLD, host.rd, 0, 3) == error(3)
    for number in range(512):
        ripas = Ripas.RAM if number == other else Ripas.EMPTY
        assert entry(host, number * PAGE) == (3, RttState.UNASSIGNED, 0, ripas)


@pytest.mark.parametrize("missing", [0, 1, 511])
def test_a_table_with_a_page_missing_is_not_folded(host: Host, missing: int) -> None:
    filled(host, 0)
    host.ok(Rmi.DATA_DESTROY, host.rd, missing * PAGE)
    assert host.status(Rmi.RTT_FOLD, host.rd, 0, 3) == error(3)


def test_pages_that_are_not_contiguous_are_not_folded(host: Host) -> None:
    pa = filled(host, 0)
    for ipa in (0, PAGE):
        host.ok(Rmi.DATA_DESTROY, host.rd, ipa)
    host.data(0, pa + PAGE)
    host.data(PAGE, pa)
    assert host.status(Rmi.RTT_FOLD, host.rd, 0, 3) == error(3)


def test_unprotected_pages_fold_only_with_one_set_of_attributes(host: Host) -> None:
    alias = HALF | L2
    host.tables(alias)
    for offset in range(0, L2, PAGE):
        host.ok(Rmi.RTT_MAP_UNPROTECTED, host.rd, alias + offset, 3, 0x8060_0000 + offset | NORMAL)
    last = alias + L2 - PAGE
    host.ok(Rmi.RTT_UNMAP_UNPROTECTED, host.rd, last, 3)
    host.ok(Rmi.RTT_MAP_UNPROTECTED, host.rd, last, 3, 0x807F_F000 | 0x58)
    assert host.status(Rmi.RTT_FOLD, host.rd, alias, 3) == error(3)
    host.ok(Rmi.RTT_UNMAP_UNPROTECTED, host.rd, last, 3)
    host.ok(Rmi.RTT_MAP_UNPROTECTED, host.rd, last, 3, 0x807F_F000 | NORMAL)
    host.ok(Rmi.RTT_FOLD, host.rd, alias, 3)
    assert entry(host, alias)[:3] == (2, RttState.ASSIGNED, 0x8060_0000 | NORMAL)


def test_a_table_of_tables_is_not_folded(host: Host) -> None:
    host.tables(0)
    assert host.status(Rmi.RTT_FOLD, host.rd, 0, 2) == error(2)


@pytest.mark.parametrize(
    ("ipa", "level", "status"),
    [(L2, 3, error(2)), (L1, 3, error(1)), (PAGE, 3, ERROR_INPUT), (0, 1, ERROR_INPUT)],
)
def test_what_is_no_table_is_not_folded(host: Host, ipa: int, level: int, status: int) -> None:
    host.tables(0)
    assert host.status(Rmi.RTT_FOLD, host.rd, ipa, level) == status


# Destroying.


def test_a_destroyed_table_leaves_destroyed_memory(host: Host) -> None:
    host.tables(0)
    ram(host, 0, PAGE)
    table = host.rmm.realm(host.rd).rtt.pa_of(host.rmm.realm(host.rd).rtt.walk(0, 2).entry)
    assert host.ok(Rmi.RTT_DESTROY, host.rd, 0, 3) == (0, table, L1)
    assert entry(host, 0) == (2, RttState.UNASSIGNED, 0, Ripas.DESTROYED)
    assert host.rmm.granules.get(table) == State.DELEGATED


def test_a_destroyed_table_of_the_unprotected_half_leaves_nothing(host: Host) -> None:
    host.tables(HALF)
    host.ok(Rmi.RTT_MAP_UNPROTECTED, host.rd, HALF, 3, 0x8000_0000 | NORMAL)
    host.ok(Rmi.RTT_DESTROY, host.rd, HALF, 3)
    assert entry(host, HALF) == (2, RttState.UNASSIGNED, 0, Ripas.EMPTY)


@pytest.mark.parametrize("page", [0, 1, 511])
def test_a_table_with_a_page_of_the_realm_stays(host: Host, page: int) -> None:
    host.data(page * PAGE)
    assert host.rmm.rmi(Rmi.RTT_DESTROY, (host.rd, 0, 3)) == (error(3), 0, 0)
    assert host.rmm.rmi(Rmi.RTT_DESTROY, (host.rd, 0, 2)) == (error(2), 0, 0)
    host.ok(Rmi.DATA_DESTROY, host.rd, page * PAGE)
    host.ok(Rmi.RTT_DESTROY, host.rd, 0, 3)


@pytest.mark.parametrize(
    ("ipa", "level", "answer"),
    [
        (L2, 3, (error(2), 0, 3 * L2)),  # the next table stands there
        (4 * L2, 3, (error(2), 0, L1)),
        (L1, 3, (error(1), 0, 1 << 39)),  # the end of the root
        (PAGE, 3, (ERROR_INPUT, 0, 0)),
    ],
)
def test_where_no_table_is_the_next_live_entry_is_told(
    host: Host, ipa: int, level: int, answer: tuple[int, ...]
) -> None:
    host.tables(0)
    host.tables(3 * L2)
    assert host.rmm.rmi(Rmi.RTT_DESTROY, (host.rd, ipa, level)) == answer


# The unprotected half.


@pytest.mark.parametrize(
    ("ipa", "level", "descriptor", "status"),
    [
        (HALF, 3, 0x8000_0000 | NORMAL, 0),
        (HALF, 3, 0x8000_0000, 0),
        (HALF, 3, 0xFFFF_FFFF_F000 | NORMAL, 0),
        (HALF, 3, 1 << 48 | NORMAL, ERROR_INPUT),
        (HALF, 3, 0x8000_0000 | NORMAL | 1, ERROR_INPUT),
        (HALF, 3, 0x8000_0000 | NORMAL | 1 << 8, ERROR_INPUT),
        (HALF, 3, 0x8000_0000 | 0b0100 << 2, ERROR_INPUT),  # MemAttr that means nothing
        (HALF, 3, 0x8000_0000 | 0b1000 << 2, ERROR_INPUT),
        (HALF - PAGE, 3, 0x8000_0000 | NORMAL, ERROR_INPUT),
        (2 * HALF, 3, 0x8000_0000 | NORMAL, ERROR_INPUT),
        (HALF + 8, 3, 0x8000_0000 | NORMAL, ERROR_INPUT),
        (HALF, 0, 0x8000_0000 | NORMAL, ERROR_INPUT),
        (HALF, 4, 0x8000_0000 | NORMAL, ERROR_INPUT),
        (HALF, 2, 0x8000_0000 | NORMAL, error(2)),  # a table stands there
        (HALF | L2, 2, 0x8000_0000 | NORMAL, 0),
        (HALF | L2, 2, 0x8000_1000 | NORMAL, ERROR_INPUT),
        (HALF | L2, 3, 0x8000_0000 | NORMAL, error(2)),
        (2 * HALF - L1, 1, 0x8000_0000 | NORMAL, 0),
    ],
)
def test_what_the_host_may_map(
    host: Host, ipa: int, level: int, descriptor: int, status: int
) -> None:
    host.tables(HALF)
    assert host.status(Rmi.RTT_MAP_UNPROTECTED, host.rd, ipa, level, descriptor) == status
    if status == 0:
        assert entry(host, ipa, level)[:3] == (level, RttState.ASSIGNED, descriptor)


def test_a_mapped_page_is_not_mapped_again_and_is_unmapped_once(host: Host) -> None:
    host.tables(HALF)
    one = (host.rd, HALF, 3, 0x8000_0000 | NORMAL)
    host.ok(Rmi.RTT_MAP_UNPROTECTED, *one)
    host.ok(Rmi.RTT_MAP_UNPROTECTED, host.rd, HALF + 2 * PAGE, 3, 0x8000_0000 | NORMAL)
    assert host.status(Rmi.RTT_MAP_UNPROTECTED, *one) == error(3)
    unmap = (host.rd, HALF, 3)
    assert host.ok(Rmi.RTT_UNMAP_UNPROTECTED, *unmap) == (0, HALF + 2 * PAGE)
    assert host.rmm.rmi(Rmi.RTT_UNMAP_UNPROTECTED, unmap) == (error(3), HALF + 2 * PAGE)
    assert entry(host, HALF) == (3, RttState.UNASSIGNED, 0, Ripas.EMPTY)


def test_a_page_of_the_realm_is_not_unmapped_as_shared(host: Host) -> None:
    host.data(0)
    assert host.status(Rmi.RTT_UNMAP_UNPROTECTED, host.rd, 0, 3) == ERROR_INPUT


# Reading.


@pytest.mark.parametrize(
    ("ipa", "level", "answer"),
    [
        (0, 1, (1, RttState.TABLE)),
        (0, 2, (2, RttState.TABLE)),
        (0, 3, (3, RttState.UNASSIGNED)),
        (L2, 3, (2, RttState.UNASSIGNED)),
    ],
)
def test_the_walk_goes_as_deep_as_asked_and_as_tables_are(
    host: Host, ipa: int, level: int, answer: tuple[int, int]
) -> None:
    host.tables(0)
    assert entry(host, ipa, level)[:2] == answer


@pytest.mark.parametrize(("ipa", "level"), [(0, 0), (0, 4), (PAGE, 2), (8, 3), (2 * HALF, 3)])
def test_entries_that_cannot_be_are_refused(host: Host, ipa: int, level: int) -> None:
    assert host.status(Rmi.RTT_READ_ENTRY, host.rd, ipa, level) == ERROR_INPUT
    assert host.status(Rmi.RTT_READ_ENTRY, host.rd + PAGE, 0, 3) == ERROR_INPUT
