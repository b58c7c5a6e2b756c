"""Which granules change hands, and is anything of them left to read?"""

import pytest

from rmm_host import BASE, PAGE, Host
from topbit.arch.rmi import Rmi, Rmi2
from topbit.events import Event
from topbit.rmm import State

ERROR_INPUT = 1
MMIO = 0x1000_0000
DELEGATE, UNDELEGATE = Rmi2.GRANULE_RANGE_DELEGATE, Rmi2.GRANULE_RANGE_UNDELEGATE


def heard(host: Host) -> list[Event]:
    events: list[Event] = []
    host.rmm.emit, host.rmm.listening = events.append, True
    return events


def test_a_granule_goes_to_the_realm_world_and_comes_back_wiped() -> None:
    host = Host()
    events, pa = heard(host), host.granule(2, delegate=False)
    host.memory.fill(pa, 2 * PAGE, 0xA5)
    host.ok(Rmi.GRANULE_DELEGATE, pa)
    assert host.rmm.granules.get(pa) == State.DELEGATED
    assert host.rmm.granules.get(pa + PAGE) == State.NS
    host.ok(Rmi.GRANULE_UNDELEGATE, pa)
    assert host.rmm.granules.get(pa) == State.NS
    assert host.memory.read(pa, 2 * PAGE) == bytes(PAGE) + b"\xa5" * PAGE
    assert events == [
        Event("rmm", "granule", pa=pa, size=PAGE, status=what)
        for what in ("delegate", "undelegate")
    ]


@pytest.mark.parametrize("pa", [BASE + 8, BASE - PAGE, BASE + (16 << 20), 1 << 63])
def test_what_is_no_granule_does_not_change_hands(pa: int) -> None:
    host = Host()
    assert host.status(Rmi.GRANULE_DELEGATE, pa) == ERROR_INPUT
    assert host.status(Rmi.GRANULE_UNDELEGATE, pa) == ERROR_INPUT


def test_only_a_granule_without_a_role_comes_back() -> None:
    host = Host()
    host.create()
    assert host.status(Rmi.GRANULE_UNDELEGATE, host.rd) == ERROR_INPUT
    assert host.status(Rmi.GRANULE_DELEGATE, host.rd) == ERROR_INPUT
    fresh = host.granule(delegate=False)
    assert host.status(Rmi.GRANULE_UNDELEGATE, fresh) == ERROR_INPUT


def states(host: Host, pa: int, count: int) -> list[int]:
    return [host.rmm.granules.get(pa + n * PAGE) for n in range(count)]


def test_a_range_changes_hands_as_far_as_it_can() -> None:
    host = Host(abi="2.0")
    pa = host.granule(6, delegate=False)
    host.memory.fill(pa, 6 * PAGE, 0xA5)
    host.ok(DELEGATE, pa + 3 * PAGE, pa + 4 * PAGE)
    events = heard(host)
    assert host.ok(DELEGATE, pa, pa + 6 * PAGE)[1] == pa + 3 * PAGE
    assert states(host, pa, 6) == [1, 1, 1, 1, 0, 0]
    assert host.rmm.rmi(DELEGATE, (pa + PAGE, pa + 6 * PAGE)) == (ERROR_INPUT, pa + PAGE)
    assert host.ok(UNDELEGATE, pa + PAGE, pa + 6 * PAGE)[1] == pa + 4 * PAGE
    assert states(host, pa, 6) == [1, 0, 0, 0, 0, 0]
    left = [any(host.memory.read(pa + n * PAGE, PAGE)) for n in range(6)]
    assert left == [True, False, False, False, True, True]
    assert events == [
        Event("rmm", "granule", pa=pa, size=3 * PAGE, status="delegate"),
        Event("rmm", "granule", pa=pa + PAGE, size=3 * PAGE, status="undelegate"),
    ]


def test_a_range_ends_with_memory() -> None:
    host = Host(abi="2.0")
    end = BASE + (16 << 20)
    assert host.ok(DELEGATE, end - PAGE, end + PAGE)[1] == end
    assert host.ok(UNDELEGATE, end - PAGE, end + PAGE)[1] == end


@pytest.mark.parametrize(
    ("base", "top"), [(BASE, BASE), (BASE + PAGE, BASE), (BASE + 1, BASE + PAGE), (BASE, BASE + 8)]
)
def test_a_range_is_whole_granules_in_order(base: int, top: int) -> None:
    host = Host(abi="2.0")
    for call in (DELEGATE, UNDELEGATE):
        assert host.rmm.rmi(call, (base, top)) == (ERROR_INPUT, base)
    assert not host.rmm.granules.state.any()


def test_device_memory_changes_hands_without_being_wiped() -> None:
    host = Host(abi="2.0")
    host.rmm.granules.add_device_memory(MMIO, 3 * PAGE)
    assert host.ok(DELEGATE, MMIO + PAGE, MMIO + 8 * PAGE)[1] == MMIO + 3 * PAGE
    assert states(host, MMIO, 3) == [255, State.DEV_DELEGATED, State.DEV_DELEGATED]
    assert host.rmm.rmi(UNDELEGATE, (MMIO, MMIO + PAGE)) == (ERROR_INPUT, MMIO)
    assert host.ok(UNDELEGATE, MMIO + PAGE, MMIO + 3 * PAGE)[1] == MMIO + 3 * PAGE
    assert host.rmm.rmi(DELEGATE, (MMIO - PAGE, MMIO)) == (ERROR_INPUT, MMIO - PAGE)
