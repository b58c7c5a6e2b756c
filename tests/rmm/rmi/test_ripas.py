"""RIPAS changes only as the Realm asked, and only as far as the host has come."""

import pytest

from rmm_host import PAGE, Host
from topbit.arch.rmi import Ripas, Rmi
from topbit.arch.rsi import Rsi
from topbit.events import Event
from topbit.rmm import Exit

ERROR_INPUT, ERROR_REC, ERROR_RTT = 1, 3, 4
HALF = 1 << 32


@pytest.fixture
def host() -> Host:
    host = Host()
    host.create()
    host.rec()
    host.ram(range(0, 4 * PAGE, PAGE))
    host.enter()
    return host


def ask(host: Host, base: int, top: int, ripas: int, flags: int = 0) -> None:
    assert isinstance(host.rsi(Rsi.IPA_STATE_SET, base, top, ripas, flags), Exit)


def set_ripas(host: Host, base: int, top: int) -> int:
    return host.status(Rmi.RTT_SET_RIPAS, host.rd, host.recs[0], base, top)


@pytest.mark.parametrize("pages", [1, 2])
def test_destroyed_memory_is_ram_again_only_if_the_realm_says_so(host: Host, pages: int) -> None:
    for ipa in range(0, pages * PAGE, PAGE):
        host.ok(Rmi.DATA_DESTROY, host.rd, ipa)
    ask(host, 0, pages * PAGE, Ripas.RAM)
    assert set_ripas(host, 0, pages * PAGE) == ERROR_RTT | 3 << 8
    assert host.enter().regs[1] == 0
    ask(host, 0, pages * PAGE, Ripas.RAM, flags=1)
    assert set_ripas(host, 0, pages * PAGE) == 0
    assert host.enter().regs[1] == pages * PAGE


@pytest.mark.parametrize("mixed", [False, True], ids=["in a row", "mixed"])
def test_ram_that_is_ram_already_stays_as_it_is(host: Host, mixed: bool) -> None:
    if mixed:  # the second page stands behind the others
        pa = host.granule()
        host.ok(Rmi.DATA_DESTROY, host.rd, PAGE)
        ask(host, PAGE, 2 * PAGE, Ripas.RAM, flags=1)
        assert set_ripas(host, PAGE, 2 * PAGE) == 0
        host.data(PAGE, pa)
        host.enter()
    pages = range(0, 3 * PAGE, PAGE)
    before = [host.ok(Rmi.RTT_READ_ENTRY, host.rd, page, 3) for page in pages]
    ask(host, 0, 3 * PAGE, Ripas.RAM)
    assert set_ripas(host, 0, 3 * PAGE) == 0
    assert host.enter().regs[1] == 3 * PAGE
    assert [host.ok(Rmi.RTT_READ_ENTRY, host.rd, page, 3) for page in pages] == before


def test_progress_is_made_in_order_and_not_beyond_what_was_asked(host: Host) -> None:
    ask(host, PAGE, 3 * PAGE, Ripas.EMPTY)
    assert set_ripas(host, 2 * PAGE, 3 * PAGE) == ERROR_INPUT
    assert set_ripas(host, PAGE, 4 * PAGE) == ERROR_INPUT
    assert set_ripas(host, PAGE, 2 * PAGE) == 0
    assert set_ripas(host, PAGE, 2 * PAGE) == ERROR_INPUT
    assert host.enter().regs == {0: 0, 1: 2 * PAGE, 2: 0}
    assert set_ripas(host, 2 * PAGE, 3 * PAGE) == ERROR_REC
    host.rmm.interrupt(host.recs[0])
    assert set_ripas(host, 2 * PAGE, 3 * PAGE) == ERROR_INPUT


def test_init_ripas_stops_at_what_is_not_unassigned() -> None:
    host = Host()
    host.create()
    host.tables(0)
    host.data(3 * PAGE)
    assert host.ok(Rmi.RTT_INIT_RIPAS, host.rd, 0, 8 * PAGE)[1] == 3 * PAGE
    assert host.status(Rmi.RTT_INIT_RIPAS, host.rd, 3 * PAGE, 8 * PAGE) == ERROR_RTT | 3 << 8
    assert host.ok(Rmi.RTT_INIT_RIPAS, host.rd, 4 * PAGE, 8 * PAGE)[1] == 8 * PAGE


def test_the_realm_cannot_ask_for_the_unprotected_half(host: Host) -> None:
    for base, top in ((HALF, HALF + PAGE), (HALF - PAGE, HALF + PAGE), (PAGE, PAGE), (1, PAGE)):
        assert host.returns(Rsi.IPA_STATE_SET, base, top, 0, 0) == (ERROR_INPUT,)
        assert host.returns(Rsi.IPA_STATE_GET, base, top) == (ERROR_INPUT,)


def test_the_host_cannot_map_its_memory_into_the_protected_half(host: Host) -> None:
    for ipa in (8 * PAGE, HALF - PAGE):
        assert host.status(Rmi.RTT_MAP_UNPROTECTED, host.rd, ipa, 3, 0xD4) == ERROR_INPUT


def test_sharing_a_page_leaves_its_story_in_events() -> None:
    events: list[Event] = []
    host = Host(emit=events.append)
    host.create()
    host.rec()
    host.ram([0])
    host.enter()
    del events[:]
    pa = host.share(0)
    told = [(e.event, e.address, e.phys, e.pa, e.status, e.attrs) for e in events]
    kinds = [event for event, *_ in told]
    assert kinds[:2] == ["rmm_exit", "ripas"]
    host.rmm.access(host.recs[0], 8, "r")
    assert (events[-1].event, events[-1].address, events[-1].direction) == ("sea", 8, "r")
    assert ("ripas", None, 0, None, "ok", "EMPTY") in told
    assert ("rtt_unmap", 0, 0, pa, None, "protected") in told
    assert ("granule", None, None, pa, "undelegate", None) in told
    assert ("rtt_map", HALF, 0, pa, None, "unprotected") in told


def test_taking_a_page_wipes_what_stood_in_it() -> None:
    from topbit.arch.rmi import Rmi2
    from topbit.arch.rmi_range import AddrRange, MapFlags

    host = Host(abi="2.0")
    host.create()
    for ipa in (0, 0x20_0000):
        host.tables(ipa)
    for ipa, count in ((0, 3), (0x10_0000, 512)):
        pa = host.granule(count, delegate=False)
        host.memory.fill(pa, count * PAGE, 0xEE)
        host.delegate(pa, count)
        flags = MapFlags(OADDR_TYPE=MapFlags.SINGLE).words[0]
        one = AddrRange(COUNT=count, ADDR=pa).words[0]
        host.ok(Rmi2.RTT_DATA_MAP, host.rd, ipa, ipa + count * PAGE, flags, one)
        assert not any(host.memory.read(pa, count * PAGE))
