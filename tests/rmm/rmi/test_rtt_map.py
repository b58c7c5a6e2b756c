"""How far does one map call of RMI 2.0 come, and what is left of what it did not do?"""

import pytest

from rmm_devices import BAR, BAR_SIZE, assign
from rmm_host import BASE, LIST, PAGE, Host
from topbit.arch.rmi import Ripas, Rmi, Rmi2, RttState
from topbit.arch.rmi_range import AddrRange, MapFlags
from topbit.events import Event
from topbit.rmm import State

ERROR_INPUT, ERROR_REALM, ERROR_RTT = 1, 2, 4
HALF, L2 = 1 << 32, 2 << 20
BLOCK_BAR = 4 * L2
SINGLE = MapFlags(OADDR_TYPE=MapFlags.SINGLE).words[0]
SHARED = MapFlags(OADDR_TYPE=MapFlags.SINGLE, MEMATTR=6, S2AP_READ=1, S2AP_WRITE=1).words[0]


def described(pa: int, count: int, *, size: int = 0, state: int = 0) -> int:
    return AddrRange(SIZE=size, COUNT=count, ADDR=pa, STATE=state).words[0]


@pytest.fixture
def host() -> Host:
    host = Host(abi="2.0")
    host.rmm.granules.add_device_memory(BAR, BAR_SIZE)
    host.create(da=True)
    for ipa in (0, L2, HALF):
        host.tables(ipa)
    return host


@pytest.fixture
def vdev(host: Host) -> int:
    """A device whose registers are a block and some pages."""
    ranges = ((BLOCK_BAR, BLOCK_BAR + L2), (BAR, BAR + BAR_SIZE))
    return assign(host, ranges=ranges).vdev


def entry(host: Host, ipa: int) -> tuple[int, ...]:
    return host.ok(Rmi.RTT_READ_ENTRY, host.rd, ipa, 3)[1:]


def data_map(host: Host, base: int, top: int, pa: int, count: int, *, size: int = 0) -> int:
    one = described(pa, count, size=size)
    got = host.rmm.rmi(Rmi2.RTT_DATA_MAP, (host.rd, base, top, SINGLE, one))
    return got[1] if got[0] == 0 else -got[0]


def unprot_map(host: Host, base: int, top: int, pa: int, count: int, flags: int = SHARED) -> int:
    one = described(pa, count, state=1)
    got = host.rmm.rmi(Rmi2.RTT_UNPROT_MAP, (host.rd, base, top, flags, one))
    return got[1] if got[0] == 0 else -got[0]


def test_each_page_keeps_its_ripas_and_is_wiped(host: Host) -> None:
    host.ok(Rmi.RTT_INIT_RIPAS, host.rd, PAGE, 2 * PAGE)
    pa = host.granule(3)
    host.memory.fill(pa, 3 * PAGE, 0xA5)
    assert data_map(host, 0, 3 * PAGE, pa, 3) == 3 * PAGE
    assert [entry(host, n * PAGE) for n in range(4)] == [
        (3, RttState.ASSIGNED, pa, Ripas.EMPTY),
        (3, RttState.ASSIGNED, pa + PAGE, Ripas.RAM),
        (3, RttState.ASSIGNED, pa + 2 * PAGE, Ripas.EMPTY),
        (3, RttState.UNASSIGNED, 0, Ripas.EMPTY),
    ]
    assert not any(host.memory.read(pa, 3 * PAGE))


@pytest.mark.parametrize(("asked", "described_count"), [(2, 4), (4, 2)])
def test_the_shorter_of_range_and_blocks_ends_the_call(
    host: Host, asked: int, described_count: int
) -> None:
    pa = host.granule(4)
    assert data_map(host, 0, asked * PAGE, pa, described_count) == 2 * PAGE
    assert host.rmm.granules.get(pa + PAGE) == State.DATA
    assert host.rmm.granules.get(pa + 2 * PAGE) == State.DELEGATED


def test_a_call_goes_on_in_the_next_table_and_ends_where_none_is(host: Host) -> None:
    pa = host.granule(1028, delegate=False)
    host.memory.fill(pa, 1028 * PAGE, 0xA5)
    for at in range(0, 1028, 514):
        host.delegate(pa + at * PAGE, 514)
    flags = MapFlags(OADDR_TYPE=MapFlags.LIST, LIST_COUNT=2).words[0]
    host.memory.table(LIST, 2)[:] = [described(pa, 1000), described(pa + 1000 * PAGE, 28)]
    base = L2 - 4 * PAGE
    got = host.ok(Rmi2.RTT_DATA_MAP, host.rd, base, base + 1028 * PAGE, flags, LIST)
    assert got[1] == 2 * L2
    assert entry(host, 2 * L2 - PAGE)[2] == pa + 515 * PAGE
    assert not any(host.memory.read(pa, 516 * PAGE))
    assert host.memory.read(pa + 516 * PAGE, PAGE) == b"\xa5" * PAGE
    assert host.rmm.granules.get(pa + 516 * PAGE) == State.DELEGATED


def test_no_table_is_no_progress(host: Host) -> None:
    pa = host.granule()
    assert data_map(host, 2 * L2, 2 * L2 + PAGE, pa, 1) == -(ERROR_RTT | 2 << 8)
    assert host.rmm.granules.get(pa) == State.DELEGATED


@pytest.mark.parametrize("mapped", [0, 1, 3])
def test_what_is_mapped_elsewhere_already_stops_it(host: Host, mapped: int) -> None:
    other, pa = host.granule(), host.granule(4)
    assert data_map(host, mapped * PAGE, (mapped + 1) * PAGE, other, 1) == (mapped + 1) * PAGE
    got = data_map(host, 0, 4 * PAGE, pa, 4)
    assert got == (mapped * PAGE if mapped else -(ERROR_RTT | 3 << 8))
    assert entry(host, mapped * PAGE)[2] == other
    states = [host.rmm.granules.get(pa + n * PAGE) for n in range(4)]
    assert states == [State.DATA] * mapped + [State.DELEGATED] * (4 - mapped)


def test_what_is_mapped_to_the_same_page_already_is_passed(host: Host) -> None:
    pa = host.granule(4)
    assert data_map(host, 0, 2 * PAGE, pa, 2) == 2 * PAGE
    host.memory.write(pa, b"kept")
    assert data_map(host, 0, 4 * PAGE, pa, 4) == 4 * PAGE
    assert host.memory.read(pa, 4) == b"kept"
    assert [entry(host, n * PAGE)[2] for n in range(4)] == [pa + n * PAGE for n in range(4)]


@pytest.mark.parametrize("foreign", [0, 1, 3])
def test_what_is_not_delegated_stops_it(host: Host, foreign: int) -> None:
    pa = host.granule(4)
    at = pa + foreign * PAGE
    host.ok(Rmi2.GRANULE_RANGE_UNDELEGATE, at, at + PAGE)
    host.memory.write(at, b"the host's")
    got = data_map(host, 0, 4 * PAGE, pa, 4)
    assert got == (foreign * PAGE if foreign else -ERROR_INPUT)
    assert host.memory.read(at, 10) == b"the host's"
    assert entry(host, foreign * PAGE)[1] == RttState.UNASSIGNED


def test_a_realm_that_is_over_gets_nothing(host: Host) -> None:
    pa = host.granule()
    host.ok(Rmi2.REALM_TERMINATE, host.rd)
    assert data_map(host, 0, PAGE, pa, 1) == -ERROR_REALM


def test_shared_memory_is_any_memory_and_may_be_mapped_the_same_again(host: Host) -> None:
    assert unprot_map(host, HALF, HALF + 3 * PAGE, 0x9_0000_0000, 3) == HALF + 3 * PAGE
    assert unprot_map(host, HALF, HALF + 4 * PAGE, 0x9_0000_0000, 4) == HALF + 4 * PAGE
    assert [entry(host, HALF + n * PAGE) for n in (0, 3)] == [
        (3, RttState.ASSIGNED, 0x9_0000_0000 | 0xD8, Ripas.EMPTY),
        (3, RttState.ASSIGNED, 0x9_0000_3000 | 0xD8, Ripas.EMPTY),
    ]
    elsewhere = unprot_map(host, HALF, HALF + PAGE, 0x9_0001_0000, 1)
    assert elsewhere == -(ERROR_RTT | 3 << 8)
    assert unprot_map(host, HALF + 3 * PAGE, HALF + 5 * PAGE, 0x9_0000_3000, 2) == HALF + 5 * PAGE
    assert unprot_map(host, HALF + 8 * PAGE, HALF + 9 * PAGE, 0xA_0000_0000, 1) == HALF + 9 * PAGE
    assert unprot_map(host, HALF + 7 * PAGE, HALF + 9 * PAGE, 0x9_0000_0000, 2) == HALF + 8 * PAGE


@pytest.mark.parametrize(
    ("memattr", "read", "write", "attributes"),
    [(6, 1, 1, 0xD8), (6, 1, 0, 0x58), (6, 0, 1, 0x98), (5, 0, 0, 0x14), (4, 1, 1, None)],
)
def test_type_and_permission_are_the_hosts_choice(
    host: Host, memattr: int, read: int, write: int, attributes: int | None
) -> None:
    flags = MapFlags(
        OADDR_TYPE=MapFlags.SINGLE, MEMATTR=memattr, S2AP_READ=read, S2AP_WRITE=write
    ).words[0]
    got = unprot_map(host, HALF, HALF + PAGE, 0x8000_0000, 1, flags)
    if attributes is None:
        assert got == -ERROR_INPUT
    else:
        assert got == HALF + PAGE
        assert entry(host, HALF)[2] == 0x8000_0000 | attributes


def test_unknown_flags_are_refused(host: Host) -> None:
    assert unprot_map(host, HALF, HALF + PAGE, 0x8000_0000, 1, SHARED | 1 << 21) == -ERROR_INPUT


def test_device_memory_is_mapped_where_the_realm_expects_no_ram(host: Host, vdev: int) -> None:
    host.ok(Rmi2.GRANULE_RANGE_DELEGATE, BAR, BAR + 8 * PAGE)
    host.ok(Rmi.RTT_INIT_RIPAS, host.rd, 2 * PAGE, 3 * PAGE)
    call = (host.rd, vdev, 0, 4 * PAGE, SINGLE, described(BAR, 4))
    assert host.ok(Rmi2.RTT_DEV_MAP, *call)[1] == 2 * PAGE
    assert [entry(host, n * PAGE)[1] for n in range(3)] == [
        RttState.ASSIGNED_DEV, RttState.ASSIGNED_DEV, RttState.UNASSIGNED,
    ]  # fmt: skip
    assert entry(host, PAGE)[2:] == (BAR + PAGE, Ripas.EMPTY)
    states = [host.rmm.granules.get(BAR + n * PAGE) for n in range(3)]
    assert states == [State.DEV_MAPPED, State.DEV_MAPPED, State.DEV_DELEGATED]
    assert host.status(Rmi2.RTT_DEV_MAP, *call) == ERROR_RTT | 3 << 8


def test_device_memory_is_delegated_device_memory(host: Host, vdev: int) -> None:
    host.ok(Rmi2.GRANULE_RANGE_DELEGATE, BAR, BAR + PAGE)
    twice = (host.rd, vdev, 0, 2 * PAGE, SINGLE, described(BAR, 2))
    assert host.ok(Rmi2.RTT_DEV_MAP, *twice)[1] == PAGE
    ram = host.granule()
    call = (host.rd, vdev, 4 * PAGE, 5 * PAGE, SINGLE, described(ram, 1))
    assert host.status(Rmi2.RTT_DEV_MAP, *call) == ERROR_INPUT
    assert host.rmm.granules.get(ram) == State.DELEGATED
    huge = (host.rd, vdev, 1 << 30, 2 << 30, SINGLE, described(1 << 30, 1, size=2))
    assert host.status(Rmi2.RTT_DEV_MAP, *huge) == ERROR_INPUT


def test_device_memory_may_be_a_block(host: Host, vdev: int) -> None:
    host.rmm.granules.add_device_memory(BLOCK_BAR, L2)
    host.ok(Rmi2.GRANULE_RANGE_DELEGATE, BLOCK_BAR, BLOCK_BAR + L2)
    call = (host.rd, vdev, 4 * L2, 5 * L2, SINGLE, described(BLOCK_BAR, 1, size=1))
    assert host.ok(Rmi2.RTT_DEV_MAP, *call)[1] == 5 * L2
    assert entry(host, 4 * L2) == (2, RttState.ASSIGNED_DEV, BLOCK_BAR, Ripas.EMPTY)


def test_destroyed_memory_may_become_a_device(host: Host, vdev: int) -> None:
    host.ok(Rmi2.GRANULE_RANGE_DELEGATE, BAR, BAR + PAGE)
    host.ok(Rmi.RTT_DESTROY, host.rd, 0, 3)
    host.tables(0)
    call = (host.rd, vdev, 0, PAGE, SINGLE, described(BAR, 1))
    host.ok(Rmi2.RTT_DEV_MAP, *call)
    assert entry(host, 0) == (3, RttState.ASSIGNED_DEV, BAR, Ripas.DESTROYED)


def test_events_tell_what_was_mapped_and_no_more(host: Host, vdev: int) -> None:
    host.ok(Rmi2.GRANULE_RANGE_DELEGATE, BAR, BAR + PAGE)
    pa = host.granule(4)
    host.ok(Rmi2.GRANULE_RANGE_UNDELEGATE, pa + 2 * PAGE, pa + 4 * PAGE)
    events: list[Event] = []
    host.rmm.emit, host.rmm.listening = events.append, True
    data_map(host, 0, 4 * PAGE, pa, 4)
    unprot_map(host, HALF, HALF + 2 * PAGE, BASE, 2)
    host.ok(Rmi2.RTT_DEV_MAP, host.rd, vdev, L2, L2 + 2 * PAGE, SINGLE, described(BAR, 2))
    told = [(event.event, event.address, event.pa, event.size, event.attrs) for event in events]
    assert told == [
        ("rtt_map", 0, pa, 2 * PAGE, "protected"),
        ("rtt_map", HALF, BASE, 2 * PAGE, "unprotected"),
        ("rtt_map", L2, BAR, PAGE, "protected"),
    ]
