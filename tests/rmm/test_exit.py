"""What becomes of the Realm's own accesses: which are translated, which go to the host?"""

import pytest

from rmm_host import BASE, PAGE, Host
from topbit.arch.rmi import ExitReason, Ripas, Rmi
from topbit.arch.rsi import Rsi
from topbit.rmm import Exit, Sea, State, Translated
from topbit.rmm.exit import Kind

HALF = 1 << 32
L2 = 2 << 20
NS_RW, NS_R, NS_W = 0xD8, 0x58, 0x98
DATA_ABORT, INSTRUCTION_ABORT, ISV, WNR, SF = 0x24 << 26, 0x20 << 26, 1 << 24, 1 << 6, 1 << 15


@pytest.fixture
def host() -> Host:
    host = Host()
    host.create()
    host.rec()
    host.ram([0])
    host.tables(HALF)
    host.enter()
    return host


def access(host: Host, ipa: int, kind: Kind = "r", size: int = 8, **more: int) -> object:
    return host.rmm.access(host.recs[0], ipa, kind, size, **more)


def page(host: Host) -> int:
    got = access(host, 0)
    assert isinstance(got, Translated)
    return got.pa


@pytest.mark.parametrize("kind", ["r", "w", "x"])
def test_private_memory_may_be_read_written_and_run(host: Host, kind: Kind) -> None:
    assert access(host, 0xFF8, kind) == Translated(page(host) + 0xFF8, ns=False)


@pytest.mark.parametrize(
    ("attributes", "kind", "reached"),
    [
        (NS_RW, "r", True),
        (NS_RW, "w", True),
        (NS_RW, "x", False),
        (NS_R, "r", True),
        (NS_R, "w", False),
        (NS_W, "r", False),
        (NS_W, "w", True),
    ],
)
def test_shared_memory_may_be_what_the_host_chose_and_is_never_run(
    host: Host, attributes: int, kind: Kind, reached: bool
) -> None:
    pa = host.granule(delegate=False)
    host.ok(Rmi.RTT_MAP_UNPROTECTED, host.rd, HALF, 3, pa | attributes)
    got = access(host, HALF + 0x10, kind)
    if reached:
        assert got == Translated(pa + 0x10, ns=True)
    elif kind == "x":
        assert got == Sea(0x0F)  # permission, level 3
    else:
        assert isinstance(got, Exit)
        assert got.esr & 0x3F == 0x0F


def test_a_block_is_reached_at_its_offset(host: Host) -> None:
    alias = HALF | L2
    host.ok(Rmi.RTT_MAP_UNPROTECTED, host.rd, alias, 2, 0x8060_0000 | NS_RW)
    assert access(host, alias + 0x12_3458) == Translated(0x8072_3458, ns=True)


def test_a_private_page_that_leads_elsewhere_aborts(host: Host) -> None:
    pa = page(host)
    for state in (State.NS, State.DELEGATED, State.RTT):
        host.rmm.granules.set(pa, state)
        assert access(host, 0) == Sea(0x10)
    host.rmm.granules.set(pa, State.DATA)
    assert access(host, 0) == Translated(pa, ns=False)


@pytest.mark.parametrize("ipa", [1 << 33, 1 << 63])
@pytest.mark.parametrize("kind", ["r", "w", "x"])
def test_beyond_the_ipa_space_nobody_is_asked(host: Host, ipa: int, kind: Kind) -> None:
    assert access(host, ipa, kind) == Sea(0x04)


@pytest.mark.parametrize(("ipa", "fsc"), [(PAGE, 0x07), (L2, 0x06), (1 << 30, 0x05)])
def test_what_the_realm_gave_up_or_never_had_aborts(host: Host, ipa: int, fsc: int) -> None:
    assert access(host, ipa) == Sea(fsc)


@pytest.mark.parametrize(
    ("kind", "ec"), [("r", DATA_ABORT), ("w", DATA_ABORT), ("x", INSTRUCTION_ABORT)]
)
def test_a_protected_page_without_memory_is_the_hosts_to_give(
    host: Host, kind: Kind, ec: int
) -> None:
    host.rmm.interrupt(host.recs[0])
    host.ok(Rmi.DATA_DESTROY, host.rd, 0)
    host.enter()
    got = access(host, 0x123, kind, value=0x77, esr=DATA_ABORT | ISV | 7)
    assert got == Exit(ExitReason.SYNC, ec | 7, 0, 0)
    assert host.rmm.rec(host.recs[0]).abort_esr == 0


@pytest.mark.parametrize(
    ("kind", "size", "iss"),
    [
        ("r", 1, ISV),
        ("r", 2, ISV | 1 << 22),
        ("r", 4, ISV | 2 << 22),
        ("r", 8, ISV | 3 << 22 | SF),
        ("w", 4, ISV | 2 << 22 | WNR),
        ("w", 8, ISV | 3 << 22 | SF | WNR),
        ("r", 16, 0),
        ("w", 16, WNR),
        ("r", 3, 0),
    ],
)
def test_the_host_sees_of_an_unprotected_abort_what_it_needs_to_emulate(
    host: Host, kind: Kind, size: int, iss: int
) -> None:
    got = access(host, HALF + 0x1234, kind, size, value=0x1122_3344_5566_7788)
    assert isinstance(got, Exit)
    assert (got.reason, got.esr) == (ExitReason.SYNC, DATA_ABORT | iss | 7)
    assert (got.far, got.hpfar) == (0x234, HALF + 0x1000 >> 8)
    value = 0x1122_3344_5566_7788 & (1 << 8 * size) - 1
    assert got.gprs == ((value,) if kind == "w" and iss & ISV else ())
    assert not host.rmm.rec(host.recs[0]).running


def test_of_a_real_syndrome_the_host_does_not_learn_the_register(host: Host) -> None:
    srt, sse = 5 << 16, 1 << 21
    esr = DATA_ABORT | ISV | 1 << 22 | sse | srt | SF | 0x3F
    got = access(host, HALF, "r", esr=esr)
    assert isinstance(got, Exit)
    assert got.esr == DATA_ABORT | ISV | 1 << 22 | SF | 7
    kept = host.rmm.rec(host.recs[0]).abort_esr
    assert kept == DATA_ABORT | ISV | 1 << 22 | sse | srt | SF | 7


def test_a_fetch_from_the_unprotected_half_is_never_the_hosts(host: Host) -> None:
    assert access(host, HALF, "x") == Sea(0x07)


def test_memory_shared_on_the_way_aborts_until_it_is_mapped(host: Host) -> None:
    assert isinstance(host.rsi(Rsi.IPA_STATE_SET, 0, PAGE, Ripas.EMPTY, 0), Exit)
    host.ok(Rmi.RTT_SET_RIPAS, host.rd, host.recs[0], 0, PAGE)
    host.enter()
    assert access(host, 0) == Sea(0x07)
    assert BASE <= page_of_entry(host) < BASE + (16 << 20)


def page_of_entry(host: Host) -> int:
    return host.ok(Rmi.RTT_READ_ENTRY, host.rd, 0, 3)[3]
