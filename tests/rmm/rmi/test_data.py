"""Which granule stands at a protected address, and what is left when it is taken away?"""

import pytest

from rmm_host import PAGE, Host
from topbit.arch.rmi import Ripas, Rmi, RttState
from topbit.arch.rsi import Rsi
from topbit.events import Event
from topbit.rmm import Exit, State

ERROR_INPUT, ERROR_REALM, ERROR_RTT = 1, 2, 4
HALF = 1 << 32
NO_PAGE = ERROR_RTT | 3 << 8


@pytest.fixture
def host() -> Host:
    host = Host()
    host.create()
    host.rec()
    host.tables(0)
    host.ok(Rmi.RTT_INIT_RIPAS, host.rd, 0, 4 * PAGE)
    return host


def entry(host: Host, ipa: int) -> tuple[int, ...]:
    return host.ok(Rmi.RTT_READ_ENTRY, host.rd, ipa, 3)[2:]


def source(host: Host, text: bytes) -> int:
    src = host.granule(delegate=False)
    host.memory.write(src, text)
    return src


def test_a_page_with_content_is_ram_with_that_content(host: Host) -> None:
    data, src = host.granule(), source(host, b"image")
    host.ok(Rmi.DATA_CREATE, host.rd, data, 8 * PAGE, src, 1)
    assert entry(host, 8 * PAGE) == (RttState.ASSIGNED, data, Ripas.RAM)
    assert host.memory.read(data, PAGE) == b"image".ljust(PAGE, b"\0")
    assert host.rmm.granules.get(data) == State.DATA
    assert host.rmm.granules.get(src) == State.NS


@pytest.mark.parametrize(("page", "ripas"), [(0, Ripas.RAM), (8, Ripas.EMPTY)])
def test_a_page_without_content_is_wiped_and_keeps_its_ripas(
    host: Host, page: int, ripas: Ripas
) -> None:
    data = host.granule()
    host.memory.fill(data, PAGE, 0xA5)
    host.ok(Rmi.DATA_CREATE_UNKNOWN, host.rd, data, page * PAGE)
    assert entry(host, page * PAGE) == (RttState.ASSIGNED, data, ripas)
    assert not any(host.memory.read(data, PAGE))


@pytest.mark.parametrize(
    ("ipa", "status"),
    [
        (0, 0),
        (8, ERROR_INPUT),
        (HALF, ERROR_INPUT),
        (HALF - PAGE, ERROR_RTT | 1 << 8),
        (2 << 20, ERROR_RTT | 2 << 8),
    ],
)
def test_where_a_page_may_stand(host: Host, ipa: int, status: int) -> None:
    data = host.granule()
    assert host.status(Rmi.DATA_CREATE_UNKNOWN, host.rd, data, ipa) == status
    assert host.rmm.granules.get(data) == (State.DELEGATED if status else State.DATA)


def test_a_page_is_delegated_and_stands_at_one_place(host: Host) -> None:
    data, fresh = host.granule(), host.granule(delegate=False)
    assert host.status(Rmi.DATA_CREATE_UNKNOWN, host.rd, fresh, 0) == ERROR_INPUT
    assert host.status(Rmi.DATA_CREATE_UNKNOWN, host.rd + PAGE, data, 0) == ERROR_INPUT
    host.ok(Rmi.DATA_CREATE_UNKNOWN, host.rd, data, 0)
    assert host.status(Rmi.DATA_CREATE_UNKNOWN, host.rd, data, PAGE) == ERROR_INPUT
    assert host.status(Rmi.DATA_CREATE_UNKNOWN, host.rd, host.granule(), 0) == NO_PAGE


@pytest.mark.parametrize(("flags", "status"), [(0, 0), (1, 0), (2, ERROR_INPUT), (3, ERROR_INPUT)])
def test_the_only_flag_is_measure(host: Host, flags: int, status: int) -> None:
    data, src = host.granule(), source(host, b"image")
    assert host.status(Rmi.DATA_CREATE, host.rd, data, 0, src, flags) == status


def test_content_comes_from_the_hosts_memory_while_the_realm_is_new(host: Host) -> None:
    data, src = host.granule(), host.granule()
    assert host.status(Rmi.DATA_CREATE, host.rd, data, 0, src, 0) == ERROR_INPUT
    host.ok(Rmi.GRANULE_UNDELEGATE, src)
    host.ok(Rmi.REALM_ACTIVATE, host.rd)
    assert host.status(Rmi.DATA_CREATE, host.rd, data, 0, src, 0) == ERROR_REALM
    assert host.status(Rmi.DATA_CREATE_UNKNOWN, host.rd, data, 0) == 0


def test_ram_that_is_taken_is_destroyed_and_its_granule_free(host: Host) -> None:
    pa = host.data(0)
    host.data(3 * PAGE)
    assert host.ok(Rmi.DATA_DESTROY, host.rd, 0) == (0, pa, 3 * PAGE)
    assert entry(host, 0) == (RttState.UNASSIGNED, 0, Ripas.DESTROYED)
    assert host.rmm.granules.get(pa) == State.DELEGATED


def test_what_the_realm_never_expected_is_not_destroyed_when_it_goes(host: Host) -> None:
    pa = host.data(8 * PAGE)
    assert host.ok(Rmi.DATA_DESTROY, host.rd, 8 * PAGE) == (0, pa, 512 * PAGE)
    assert entry(host, 8 * PAGE) == (RttState.UNASSIGNED, 0, Ripas.EMPTY)


def test_destroyed_memory_that_is_backed_again_stays_destroyed(host: Host) -> None:
    pa = host.data(0)
    host.ok(Rmi.DATA_DESTROY, host.rd, 0)
    host.data(0, pa)
    assert entry(host, 0) == (RttState.ASSIGNED, pa, Ripas.DESTROYED)
    host.ok(Rmi.DATA_DESTROY, host.rd, 0)
    assert entry(host, 0) == (RttState.UNASSIGNED, 0, Ripas.DESTROYED)


@pytest.mark.parametrize(
    ("ipa", "answer"),
    [
        (0, (NO_PAGE, 0, 5 * PAGE)),
        (6 * PAGE, (NO_PAGE, 0, 512 * PAGE)),
        (2 << 20, (ERROR_RTT | 2 << 8, 0, 1 << 30)),
        (4, (ERROR_INPUT, 0, 0)),
        (HALF, (ERROR_INPUT, 0, 0)),
    ],
)
def test_where_no_page_is_the_next_live_entry_is_told(
    host: Host, ipa: int, answer: tuple[int, ...]
) -> None:
    host.data(5 * PAGE)
    assert host.rmm.rmi(Rmi.DATA_DESTROY, (host.rd, ipa)) == answer
    assert host.status(Rmi.DATA_DESTROY, host.rd + PAGE, 5 * PAGE) == ERROR_INPUT


def test_a_page_shared_on_the_way_keeps_its_granule_until_it_is_destroyed(host: Host) -> None:
    pa = host.data(0)
    host.ok(Rmi.REALM_ACTIVATE, host.rd)
    host.enter()
    assert isinstance(host.rsi(Rsi.IPA_STATE_SET, 0, PAGE, Ripas.EMPTY, 0), Exit)
    host.ok(Rmi.RTT_SET_RIPAS, host.rd, host.recs[0], 0, PAGE)
    assert entry(host, 0) == (RttState.ASSIGNED, pa, Ripas.EMPTY)
    assert host.ok(Rmi.DATA_DESTROY, host.rd, 0)[1] == pa
    assert entry(host, 0) == (RttState.UNASSIGNED, 0, Ripas.EMPTY)


def test_events_tell_of_both_and_of_what_was_lost(host: Host) -> None:
    events: list[Event] = []
    host.rmm.emit, host.rmm.listening = events.append, True
    for page, destroyed in ((0, True), (8, False)):
        events.clear()
        pa = host.data(page * PAGE)
        host.ok(Rmi.DATA_DESTROY, host.rd, page * PAGE)
        where = {"address": page * PAGE, "phys": page * PAGE, "size": PAGE}
        expected = [
            Event("rmm", "rtt_map", pa=pa, attrs="protected", **where),
            Event("rmm", "rtt_unmap", pa=pa, attrs="protected", **where),
        ]
        lost = Event("rmm", "ripas", phys=page * PAGE, size=PAGE, status="ok", attrs="DESTROYED")
        assert [event for event in events if event.event != "granule"] == [
            *expected, *([lost] if destroyed else []),
        ]  # fmt: skip
