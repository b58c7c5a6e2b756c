"""RMI 2.0 range calls leave the same bytes and states as the single-page calls of 1.0."""

import random
from typing import Literal

import numpy as np
import pytest

from rmm_host import BASE, LIST, PAGE, RUN, Host
from topbit.arch.rmi import Rmi, Rmi2
from topbit.arch.rmi_range import AddrRange, MapFlags
from topbit.arch.rsi import Rsi
from topbit.events import Event
from topbit.rmm import State

ERROR_INPUT, ERROR_RTT = 1, 4
HALF = 1 << 32
U64 = (1 << 64) - 1


def descriptor(pa: int, count: int, *, size: int = 0, state: int = 0) -> int:
    return AddrRange(SIZE=size, COUNT=count, ADDR=pa, STATE=state).words[0]


def listed(host: Host, *descriptors: int) -> tuple[int, int]:
    """flags and oaddr of a list of descriptors in a host page"""
    host.memory.table(LIST, len(descriptors))[:] = descriptors
    flags = MapFlags(OADDR_TYPE=MapFlags.LIST, LIST_COUNT=len(descriptors)).words[0]
    return flags, LIST


SINGLE = MapFlags(OADDR_TYPE=MapFlags.SINGLE).words[0]
NORMAL_RW = MapFlags(MEMATTR=5, S2AP_READ=1, S2AP_WRITE=1).words[0]


@pytest.fixture
def host() -> Host:
    host = Host(abi="2.0")
    host.create()
    for ipa in (0, 0x20_0000, HALF, HALF + 0x20_0000):
        host.tables(ipa)
    host.ok(Rmi.RTT_INIT_RIPAS, host.rd, 0, 0x20_0000)
    return host


def one_page_at_a_time(abi: Literal["1.0", "2.0"]) -> tuple[bytes, np.ndarray]:
    """Map, change, unmap 700 pages of both halves; the RAM's bytes and the granule states."""
    host = Host(abi=abi)
    # 2.0 delegates in the same order as 1.0, so that both have the same granules
    host.create()
    host.rec()
    for ipa in (0, 0x20_0000, HALF, HALF + 0x20_0000):
        host.tables(ipa)
    for base, top in ((0, 0x20_0000), (0x20_0000, 0x2B_C000)):
        host.ok(Rmi.RTT_INIT_RIPAS, host.rd, base, top - 32 * PAGE)
    data = host.granule(700)
    shared = host.granule(700, delegate=False)
    if abi == "1.0":
        for i in range(700):
            host.ok(Rmi.DATA_CREATE_UNKNOWN, host.rd, data + i * PAGE, i * PAGE)
            ipa = HALF + i * PAGE
            host.ok(Rmi.RTT_MAP_UNPROTECTED, host.rd, ipa, 3, shared + i * PAGE | 0xD4)
        for i in range(100, 600):
            host.ok(Rmi.DATA_DESTROY, host.rd, i * PAGE)
            host.ok(Rmi.GRANULE_UNDELEGATE, data + i * PAGE)
        for i in range(300, 650):
            host.ok(Rmi.RTT_UNMAP_UNPROTECTED, host.rd, HALF + i * PAGE, 3)
    else:
        flags, oaddr = listed(host, descriptor(data, 300), descriptor(data + 300 * PAGE, 400))
        assert host.ok(Rmi2.RTT_DATA_MAP, host.rd, 0, 700 * PAGE, flags, oaddr)[1] == 700 * PAGE
        one = descriptor(shared, 700, state=1)
        top = HALF + 700 * PAGE
        done = host.ok(Rmi2.RTT_UNPROT_MAP, host.rd, HALF, top, SINGLE | NORMAL_RW, one)
        assert done[1] == top
        first, last = 100 * PAGE, 600 * PAGE
        assert host.ok(Rmi2.RTT_DATA_UNMAP, host.rd, first, last, 0, 0)[1] == last
        host.ok(Rmi2.GRANULE_RANGE_UNDELEGATE, data + first, data + last)
        top = HALF + 650 * PAGE
        assert host.ok(Rmi2.RTT_UNPROT_UNMAP, host.rd, HALF + 300 * PAGE, top, 0, 0)[1] == top
    host.memory.fill(BASE, 16 * PAGE)
    return bytes(host.memory.bytes), host.rmm.granules.state.copy()


def test_ranges_leave_what_single_pages_leave() -> None:
    single, ranges = one_page_at_a_time("1.0"), one_page_at_a_time("2.0")
    assert single[0] == ranges[0]
    assert (single[1] == ranges[1]).all()


def test_nothing_answers_before_activation() -> None:
    host = Host()
    from topbit.rmm import Rmm

    rmm = Rmm(host.memory, abi="2.0")
    assert rmm.rmi(Rmi2.GRANULE_RANGE_DELEGATE, [BASE, BASE + PAGE])[0] == 11
    assert rmm.rmi(Rmi.GRANULE_DELEGATE, [BASE])[0] == U64
    assert rmm.rmi(Rmi.VERSION, [0x2_0000]) == (0, 0x2_0000, 0x2_0000)
    assert rmm.rmi(Rmi2.RMM_CONFIG_SET, [RUN]) == (0,)
    assert rmm.rmi(Rmi2.RMM_ACTIVATE) == (0,)
    assert rmm.rmi(Rmi2.RMM_ACTIVATE) == (11,)
    assert rmm.rmi(Rmi2.GRANULE_RANGE_DELEGATE, [BASE, BASE + PAGE])[0] == 0


def test_delegation_goes_as_far_as_it_can(host: Host) -> None:
    pa = host.granule(8, delegate=False)
    host.ok(Rmi2.GRANULE_RANGE_DELEGATE, pa + 5 * PAGE, pa + 6 * PAGE)
    assert host.ok(Rmi2.GRANULE_RANGE_DELEGATE, pa, pa + 8 * PAGE)[1] == pa + 5 * PAGE
    assert host.status(Rmi2.GRANULE_RANGE_DELEGATE, pa, pa + 8 * PAGE) == ERROR_INPUT
    assert host.ok(Rmi2.GRANULE_RANGE_UNDELEGATE, pa, pa + 8 * PAGE)[1] == pa + 6 * PAGE
    for wrong in ((pa, pa), (pa + 1, pa + PAGE), (pa, U64), (0, PAGE), (U64 & ~0xFFF, U64)):
        assert host.status(Rmi2.GRANULE_RANGE_DELEGATE, *wrong) == ERROR_INPUT


def test_a_second_mapping_of_the_same_page_is_no_error_and_loses_nothing(host: Host) -> None:
    data = host.granule(4)
    call = (Rmi2.RTT_DATA_MAP, host.rd, 0, 4 * PAGE, SINGLE, descriptor(data, 4))
    host.ok(*call)
    host.memory.write(data, b"kept")
    assert host.ok(*call)[1] == 4 * PAGE
    assert host.memory.read(data, 4) == b"kept"
    other = host.granule(4)
    out = host.status(Rmi2.RTT_DATA_MAP, host.rd, 0, 4 * PAGE, SINGLE, descriptor(other, 4))
    assert out == ERROR_RTT | 3 << 8
    assert host.rmm.granules.get(other) == State.DELEGATED
    elsewhere = descriptor(data, 4)
    out = host.status(Rmi2.RTT_DATA_MAP, host.rd, 0x1_0000, 0x1_4000, SINGLE, elsewhere)
    assert out == ERROR_INPUT


def test_progress_ends_where_the_memory_is_not_the_realms(host: Host) -> None:
    data = host.granule(6)
    host.ok(Rmi2.GRANULE_RANGE_UNDELEGATE, data + 2 * PAGE, data + 3 * PAGE)
    call = (Rmi2.RTT_DATA_MAP, host.rd, 0, 6 * PAGE, SINGLE, descriptor(data, 6))
    assert host.ok(*call)[1] == 2 * PAGE
    assert host.rmm.granules.get(data + 3 * PAGE) == State.DELEGATED
    twice = listed(host, descriptor(data + 3 * PAGE, 1), descriptor(data + 3 * PAGE, 1))
    out = host.ok(Rmi2.RTT_DATA_MAP, host.rd, 8 * PAGE, 10 * PAGE, *twice)
    assert out[1] == 9 * PAGE, "the same page at two places"


@pytest.mark.parametrize(
    ("base", "top", "oaddr"),
    [
        (HALF, HALF + PAGE, descriptor(BASE, 1)),
        (0, 0, descriptor(BASE, 1)),
        (0, PAGE, descriptor(BASE, 1, state=1)),
        (0, PAGE, descriptor(BASE, 0)),
        (0, PAGE, 3),
        (PAGE, 2 * PAGE, descriptor(BASE, 1, size=1)),
        (0, HALF + PAGE, descriptor(BASE, 1)),
        (U64 & ~0xFFF, PAGE, descriptor(BASE, 1)),
        (0, PAGE, U64),
    ],
)
def test_wrong_arguments_of_data_map(host: Host, base: int, top: int, oaddr: int) -> None:
    assert host.status(Rmi2.RTT_DATA_MAP, host.rd, base, top, SINGLE, oaddr) == ERROR_INPUT


def test_a_list_in_memory_that_is_not_the_hosts_is_refused(host: Host) -> None:
    flags, _ = listed(host, descriptor(BASE, 1))
    for oaddr in (host.rd, LIST + 4, U64, 0):
        assert host.status(Rmi2.RTT_DATA_MAP, host.rd, 0, PAGE, flags, oaddr) == ERROR_INPUT


def test_blocks_are_mapped_and_unmapped_whole(host: Host) -> None:
    block = host.granule(512, align=512 * PAGE)
    shared = host.granule(512, align=512 * PAGE, delegate=False)
    ipa = 0x40_0000
    assert host.ok(
        Rmi2.RTT_DATA_MAP, host.rd, ipa, ipa + 0x20_0000, SINGLE, descriptor(block, 1, size=1)
    )
    read = host.ok(Rmi.RTT_READ_ENTRY, host.rd, ipa, 3)
    assert read[1:] == (2, 1, block, 0)
    assert (host.rmm.granules.span(block, 0x20_0000) == State.DATA).all()
    alias = ipa | HALF
    unprot = descriptor(shared, 1, size=1, state=1)
    host.ok(Rmi2.RTT_UNPROT_MAP, host.rd, alias, alias + 0x20_0000, SINGLE | NORMAL_RW, unprot)
    assert host.ok(Rmi.RTT_READ_ENTRY, host.rd, alias, 3)[1] == 2
    refused = host.status(Rmi2.RTT_DATA_UNMAP, host.rd, ipa, ipa + PAGE, 0, 0)
    assert refused == ERROR_RTT | 2 << 8
    out = host.ok(Rmi2.RTT_DATA_UNMAP, host.rd, ipa, ipa + 0x20_0000, SINGLE, 0)
    assert out[1:3] == (ipa + 0x20_0000, descriptor(block, 1, size=1))
    assert (host.rmm.granules.span(block, 0x20_0000) == State.DELEGATED).all()
    host.ok(Rmi2.RTT_UNPROT_UNMAP, host.rd, alias, alias + 0x20_0000, 0, 0)


def test_unmap_tells_the_host_which_memory_is_free(host: Host) -> None:
    data = host.granule(8)
    order = [descriptor(data + 4 * PAGE, 4), descriptor(data, 4)]
    host.ok(Rmi2.RTT_DATA_MAP, host.rd, 0, 8 * PAGE, *listed(host, *order))
    single = host.ok(Rmi2.RTT_DATA_UNMAP, host.rd, 0, 8 * PAGE, SINGLE, 0)
    assert single[1:3] == (4 * PAGE, order[0])
    flags = MapFlags(OADDR_TYPE=MapFlags.LIST, LIST_COUNT=8).words[0]
    rest = host.ok(Rmi2.RTT_DATA_UNMAP, host.rd, 4 * PAGE, 8 * PAGE, flags, LIST)
    assert rest[1] == 8 * PAGE
    assert rest[3] == 1
    assert host.memory.read_u64(LIST) == order[1]


def test_one_map_call_says_one_event_per_table(host: Host) -> None:
    events: list[Event] = []
    host.rmm.emit, host.rmm.listening = events.append, True
    data = host.granule(600)
    host.ok(Rmi2.RTT_DATA_MAP, host.rd, 0, 600 * PAGE, SINGLE, descriptor(data, 600))
    mapped = [(e.phys, e.pa, e.size, e.attrs) for e in events if e.event == "rtt_map"]
    assert mapped == [
        (0, data, 512 * PAGE, "protected"),
        (512 * PAGE, data + 512 * PAGE, 88 * PAGE, "protected"),
    ]


def test_wide_realms_keep_bits_50_and_51_of_an_address() -> None:
    host = Host(abi="2.0")
    host.create(52, -1, 1)
    alias = 1 << 51
    host.tables(alias)
    pa = 0xC_1234_5678_9000
    one = descriptor(pa, 3, state=1)
    host.ok(Rmi2.RTT_UNPROT_MAP, host.rd, alias, alias + 3 * PAGE, SINGLE | NORMAL_RW, one)
    assert host.ok(Rmi.RTT_READ_ENTRY, host.rd, alias + PAGE, 3)[3] & ~0xFFF == pa + PAGE
    out = host.ok(Rmi2.RTT_UNPROT_UNMAP, host.rd, alias, alias + 3 * PAGE, SINGLE, 0)
    assert out[2] == one


def test_ripas_change_is_the_same_word_by_word_and_at_once() -> None:
    rng = random.Random(3)
    one, many = Host(), Host()
    for host in (one, many):
        host.create()
        host.rec()
        host.tables(0)
        host.ok(Rmi.RTT_INIT_RIPAS, host.rd, 0, 0x20_0000)
    pages = [i for i in range(64) if rng.random() < 0.7]
    destroyed = [i for i in pages if rng.random() < 0.3]
    for host in (one, many):
        first = host.granule(64)
        for i in pages:
            host.data(i * PAGE, first + i * PAGE)
        for i in destroyed:
            host.ok(Rmi.DATA_DESTROY, host.rd, i * PAGE)
        host.ok(Rmi.REALM_ACTIVATE, host.rd)
    for ripas, flags in ((0, 0), (1, 0), (0, 0), (1, 1)):
        for host in (one, many):
            host.enter()
            host.rsi(Rsi.IPA_STATE_SET, 0, 64 * PAGE, ripas, flags)
        many.ok(Rmi.RTT_SET_RIPAS, many.rd, many.recs[0], 0, 64 * PAGE)
        for i in range(64):
            one.ok(Rmi.RTT_SET_RIPAS, one.rd, one.recs[0], i * PAGE, (i + 1) * PAGE)
        tables = [
            bytes(h.realm.rtt.rest_of_table(h.realm.rtt.walk(0, 3).word)) for h in (one, many)
        ]
        assert tables[0] == tables[1]
