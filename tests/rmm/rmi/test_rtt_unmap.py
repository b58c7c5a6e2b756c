"""What does one unmap call of RMI 2.0 free, and what does it tell the host of it?"""

import pytest

from rmm_devices import BAR, BAR_SIZE, assign
from rmm_host import LIST, PAGE, Host
from topbit.arch.rmi import Ripas, Rmi, Rmi2, RttState
from topbit.arch.rmi_range import AddrRange, MapFlags
from topbit.events import Event
from topbit.rmm import State

ERROR_INPUT, ERROR_RTT = 1, 4
HALF, L2 = 1 << 32, 2 << 20
NONE = 0
SINGLE = MapFlags(OADDR_TYPE=MapFlags.SINGLE).words[0]
SHARED = MapFlags(OADDR_TYPE=MapFlags.SINGLE, MEMATTR=6, S2AP_READ=1, S2AP_WRITE=1).words[0]


def described(pa: int, count: int, *, size: int = 0, state: int = 0) -> int:
    return AddrRange(SIZE=size, COUNT=count, ADDR=pa, STATE=state).words[0]


def listed(count: int) -> int:
    return MapFlags(OADDR_TYPE=MapFlags.LIST, LIST_COUNT=count).words[0]


@pytest.fixture
def host() -> Host:
    host = Host(abi="2.0")
    host.rmm.granules.add_device_memory(BAR, BAR_SIZE)
    host.create(da=True)
    for ipa in (0, L2, HALF):
        host.tables(ipa)
    return host


def give(host: Host, ipa: int, pa: int, count: int = 1) -> None:
    one = described(pa, count)
    top = ipa + count * PAGE
    assert host.ok(Rmi2.RTT_DATA_MAP, host.rd, ipa, top, SINGLE, one)[1] == top


def unmap(
    host: Host, base: int, top: int, flags: int = NONE, oaddr: int = 0,
    call: Rmi2 = Rmi2.RTT_DATA_UNMAP,
) -> tuple[int, ...]:  # fmt: skip
    return host.rmm.rmi(call, (host.rd, base, top, flags, oaddr))


def entry(host: Host, ipa: int) -> tuple[int, ...]:
    return host.ok(Rmi.RTT_READ_ENTRY, host.rd, ipa, 3)[1:]


def test_ram_becomes_destroyed_and_the_rest_empty(host: Host) -> None:
    host.ok(Rmi.RTT_INIT_RIPAS, host.rd, PAGE, 2 * PAGE)
    pa = host.granule(3)
    give(host, 0, pa, 3)
    assert unmap(host, 0, 2 * PAGE) == (0, 2 * PAGE, 0, 0)
    assert entry(host, 0) == (3, RttState.UNASSIGNED, 0, Ripas.EMPTY)
    assert entry(host, PAGE) == (3, RttState.UNASSIGNED, 0, Ripas.DESTROYED)
    assert entry(host, 2 * PAGE)[:3] == (3, RttState.ASSIGNED, pa + 2 * PAGE)
    states = [host.rmm.granules.get(pa + n * PAGE) for n in range(3)]
    assert states == [State.DELEGATED, State.DELEGATED, State.DATA]


def test_gaps_and_missing_tables_are_passed(host: Host) -> None:
    pa = host.granule(2)
    give(host, 3 * PAGE, pa)
    give(host, L2 + 5 * PAGE, pa + PAGE)
    assert unmap(host, 0, 3 * L2) == (0, 3 * L2, 0, 0)
    assert host.rmm.granules.get(pa) == host.rmm.granules.get(pa + PAGE) == State.DELEGATED
    assert unmap(host, 0, 1 << 31) == (0, 1 << 31, 0, 0)


def test_a_single_description_ends_where_memory_is_not_contiguous(host: Host) -> None:
    pa = host.granule(4)
    give(host, 0, pa, 2)
    give(host, 2 * PAGE, pa + 3 * PAGE)
    give(host, 3 * PAGE, pa + 2 * PAGE)
    assert unmap(host, 0, 4 * PAGE, SINGLE) == (0, 2 * PAGE, described(pa, 2), 0)
    assert unmap(host, 2 * PAGE, 4 * PAGE, SINGLE)[1:3] == (3 * PAGE, described(pa + 3 * PAGE, 1))
    assert entry(host, 3 * PAGE)[1] == RttState.ASSIGNED


def test_contiguous_memory_across_a_gap_is_one_description(host: Host) -> None:
    pa = host.granule(2)
    give(host, 0, pa)
    give(host, 4 * PAGE, pa + PAGE)
    assert unmap(host, 0, 8 * PAGE, SINGLE) == (0, 8 * PAGE, described(pa, 2), 0)


@pytest.mark.parametrize(("room", "out_top", "told"), [(1, 2, 1), (2, 3, 2), (3, 8, 3), (8, 8, 3)])
def test_a_list_ends_when_it_is_full(host: Host, room: int, out_top: int, told: int) -> None:
    pa = host.granule(8)
    give(host, 0, pa)
    give(host, 2 * PAGE, pa + 6 * PAGE)
    give(host, 3 * PAGE, pa + 2 * PAGE, 2)
    got = unmap(host, 0, 8 * PAGE, listed(room), LIST)
    assert got == (0, out_top * PAGE, 0, told)
    everything = [described(pa, 1), described(pa + 6 * PAGE, 1), described(pa + 2 * PAGE, 2)]
    assert host.memory.table(LIST, told).tolist() == everything[:told]


def test_a_list_joins_memory_at_either_end_of_any_range(host: Host) -> None:
    pa = host.granule(8)
    for n, page in enumerate((1, 5, 0, 6, 2)):
        give(host, n * PAGE, pa + page * PAGE)
    assert unmap(host, 0, 8 * PAGE, listed(8), LIST) == (0, 8 * PAGE, 0, 2)
    assert host.memory.table(LIST, 2).tolist() == [described(pa, 3), described(pa + 5 * PAGE, 2)]


def test_a_list_ends_with_its_page(host: Host) -> None:
    pa = host.granule(4)
    give(host, 0, pa)
    give(host, PAGE, pa + 2 * PAGE)
    last = LIST + PAGE - 8
    assert unmap(host, 0, 2 * PAGE, listed(4), last) == (0, PAGE, 0, 1)
    assert host.memory.read_u64(last) == described(pa, 1)


def test_one_description_names_1023_blocks_at_most(host: Host) -> None:
    pa = host.granule(1024)
    for first, count in ((0, 512), (512, 512)):
        give(host, first * PAGE, pa + first * PAGE, count)
    assert unmap(host, 0, 1024 * PAGE, SINGLE) == (0, 1023 * PAGE, described(pa, 1023), 0)
    give(host, 0, pa, 1023)
    got = unmap(host, 0, 1024 * PAGE, listed(2), LIST)
    assert got == (0, 1024 * PAGE, 0, 2)
    assert host.memory.table(LIST, 2).tolist() == [
        described(pa, 1023), described(pa + 1023 * PAGE, 1),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("base", "top", "flags", "oaddr"),
    [
        (0, 0, NONE, 0),
        (PAGE, 0, NONE, 0),
        (1, PAGE, NONE, 0),
        (0, PAGE + 1, NONE, 0),
        (HALF - PAGE, HALF + PAGE, NONE, 0),
        (HALF, HALF + PAGE, NONE, 0),
        (0, PAGE, 3, 0),
        (0, PAGE, NONE, LIST),
        (0, PAGE, 1 << 2, 0),
        (0, PAGE, listed(0), LIST),
        (0, PAGE, listed(1), LIST + 4),
    ],
)
def test_wrong_arguments(host: Host, base: int, top: int, flags: int, oaddr: int) -> None:
    assert unmap(host, base, top, flags, oaddr) == (ERROR_INPUT, 0, 0, 0)


def test_a_list_is_in_the_hosts_memory(host: Host) -> None:
    assert unmap(host, 0, PAGE, listed(1), host.rd)[0] == ERROR_INPUT
    assert host.status(Rmi2.RTT_DATA_UNMAP, host.rd + PAGE, 0, PAGE, 0, 0) == ERROR_INPUT


@pytest.mark.parametrize("before", [0, 1])
def test_a_device_stops_the_unmap_of_data_and_data_that_of_a_device(
    host: Host, before: int
) -> None:
    host.ok(Rmi2.GRANULE_RANGE_DELEGATE, BAR, BAR + PAGE)
    pa = host.granule(2)
    device, data = before * PAGE, (1 - before) * PAGE
    give(host, data, pa)
    one = described(BAR, 1)
    vdev = assign(host).vdev
    host.ok(Rmi2.RTT_DEV_MAP, host.rd, vdev, device, device + PAGE, SINGLE, one)
    first = unmap(host, 0, 2 * PAGE)
    assert first == ((0, PAGE, 0, 0) if before else (ERROR_RTT | 3 << 8, 0, 0, 0))
    other = unmap(host, 0, 2 * PAGE, SINGLE, call=Rmi2.RTT_DEV_UNMAP)
    assert other == (0, 2 * PAGE if before else PAGE, one, 0)
    assert host.rmm.granules.get(BAR) == State.DEV_DELEGATED
    assert entry(host, device) == (3, RttState.UNASSIGNED, 0, Ripas.EMPTY)


def test_shared_memory_is_described_as_the_hosts(host: Host) -> None:
    one = described(0x9_0000_0000, 4, state=1)
    top = HALF + 4 * PAGE
    host.ok(Rmi2.RTT_UNPROT_MAP, host.rd, HALF, top, SHARED, one)
    got = unmap(host, HALF, top, SINGLE, call=Rmi2.RTT_UNPROT_UNMAP)
    assert got == (0, top, one, 0)
    assert entry(host, HALF) == (3, RttState.UNASSIGNED, 0, Ripas.EMPTY)
    for base, end in ((0, PAGE), (HALF - PAGE, HALF + PAGE), (HALF, 2 * HALF + PAGE)):
        assert unmap(host, base, end, call=Rmi2.RTT_UNPROT_UNMAP)[0] == ERROR_INPUT
    assert unmap(host, HALF, 2 * HALF, call=Rmi2.RTT_UNPROT_UNMAP)[1] == 2 * HALF


def test_memory_that_is_not_the_realms_data_is_left(host: Host) -> None:
    pa = host.granule(2)
    give(host, 0, pa, 2)
    host.rmm.granules.set(pa + PAGE, State.RTT)
    assert unmap(host, 0, 2 * PAGE) == (0, PAGE, 0, 0)
    assert unmap(host, PAGE, 2 * PAGE) == (ERROR_RTT | 3 << 8, 0, 0, 0)
    assert host.rmm.granules.get(pa + PAGE) == State.RTT


def test_events_tell_what_was_freed_and_lost(host: Host) -> None:
    host.ok(Rmi.RTT_INIT_RIPAS, host.rd, 0, PAGE)
    pa = host.granule(2)
    give(host, 0, pa, 2)
    events: list[Event] = []
    host.rmm.emit, host.rmm.listening = events.append, True
    unmap(host, PAGE, 2 * PAGE)
    unmap(host, 0, PAGE)
    freed = {"attrs": "protected", "size": PAGE}
    assert events == [
        Event("rmm", "rtt_unmap", address=PAGE, phys=PAGE, pa=pa + PAGE, **freed),
        Event("rmm", "ripas", phys=0, size=PAGE, status="ok", attrs="DESTROYED"),
        Event("rmm", "rtt_unmap", address=0, phys=0, pa=pa, **freed),
    ]
