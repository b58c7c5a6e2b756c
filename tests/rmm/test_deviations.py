"""Every row of docs/rmm-deviations.md, asserted."""

import re

import pytest

from paths import ROOT
from rmm_host import BASE, PAGE, RUN, Host
from topbit.arch.gpt import PAS
from topbit.arch.rmi import AddrRange, MapFlags, Ripas, Rmi, Rmi2
from topbit.arch.rsi import Rsi
from topbit.memory import PhysicalMemory
from topbit.rmm import Exit, Rmm, Sea, Translated
from topbit.rmm.s2tt import HIPAS_MASK, RIPAS_MASK

TABLE = ROOT / "docs" / "rmm-deviations.md"
ERROR_INPUT, ERROR_REALM, ERROR_RTT = 1, 2, 4
HALF = 1 << 32


@pytest.fixture
def host() -> Host:
    host = Host()
    host.create()
    host.rec()
    host.tables(0)
    host.tables(HALF)
    return host


def active(host: Host, *pages: int) -> Host:
    host.ram(pages)
    host.enter()
    return host


def ripas(host: Host, ipa: int) -> Ripas:
    return Ripas(host.ok(Rmi.RTT_READ_ENTRY, host.rd, ipa, 3)[4])


def test_every_row_has_its_test() -> None:
    rows = re.findall(r"^\| (D\d+) \|", TABLE.read_text(), re.MULTILINE)
    tests = [
        name.removeprefix("test_").upper() for name in globals() if re.match(r"test_d\d", name)
    ]
    assert sorted(rows) == sorted(tests)
    assert len(rows) == 15


def test_d1(host: Host) -> None:
    host.ok(Rmi.REALM_ACTIVATE, host.rd)
    data = host.granule()
    assert host.status(Rmi.DATA_CREATE, host.rd, data, 1, RUN, 0) == ERROR_REALM
    assert host.status(Rmi.RTT_INIT_RIPAS, host.rd, 1, PAGE) == ERROR_INPUT
    assert host.status(Rmi.DATA_CREATE, host.rd, data, 0, RUN, 2) == ERROR_INPUT


def test_d2(host: Host) -> None:
    host.ok(Rmi.RTT_INIT_RIPAS, host.rd, 0, PAGE)
    pa = host.data(PAGE)
    words = [host.realm.rtt.walk(ipa, 3).entry for ipa in (0, PAGE, 2 * PAGE)]
    assert words == [Ripas.RAM << 1, pa | 1 << 3, 0]
    assert all(not word & ~(HIPAS_MASK | RIPAS_MASK | 0xFFFF_FFFF_F000) for word in words)


def test_d3(host: Host) -> None:
    host.tables(0x20_0000)
    table = 0x20_0000
    assert host.ok(Rmi.RTT_INIT_RIPAS, host.rd, 0, 2 * table)[1] == table
    active(host)
    assert host.returns(Rsi.IPA_STATE_GET, 0, 2 * table) == (0, table, 1)
    assert isinstance(host.rsi(Rsi.IPA_STATE_SET, 0, 2 * table, 0, 0), Exit)
    assert host.ok(Rmi.RTT_SET_RIPAS, host.rd, host.recs[0], 0, 2 * table)[1] == table


def test_d4(host: Host) -> None:
    active(host, 0)
    for pa in (host.rd, host.realm.rtt_base, 1 << 44):
        host.ok(Rmi.RTT_MAP_UNPROTECTED, host.rd, HALF, 3, pa | 0xD4)
        place = host.rmm.access(host.recs[0], HALF, "r")
        assert place == Translated(pa, ns=True)
        fault = host.rmm.granules.check("realm", pa, 8, PAS.NS)
        assert (fault is None) == (pa == 1 << 44)
        host.ok(Rmi.RTT_UNMAP_UNPROTECTED, host.rd, HALF, 3)


def test_d5(host: Host) -> None:
    host.ok(Rmi.DATA_CREATE, host.rd, host.granule(), 0, RUN, 0)
    host.data(PAGE)
    assert (ripas(host, 0), ripas(host, PAGE)) == (Ripas.RAM, Ripas.EMPTY)
    for ipa, after in ((0, Ripas.DESTROYED), (PAGE, Ripas.EMPTY)):
        host.ok(Rmi.DATA_DESTROY, host.rd, ipa)
        assert ripas(host, ipa) == after
    host.data(0)
    assert ripas(host, 0) == Ripas.DESTROYED


def test_d6(host: Host) -> None:
    active(host, 0)
    for wanted, response in ((0, 0), (1, 1)):
        host.rsi(Rsi.IPA_STATE_SET, 0, PAGE, wanted, 0)
        assert host.enter(flags=0x10).regs == {0: 0, 1: 0, 2: response}


def test_d7(host: Host) -> None:
    active(host, 0)
    for wanted, flags in ((1 << 32, 0), (2, 0), (3, 0), (0, 2), (0, 3)):
        assert host.returns(Rsi.IPA_STATE_SET, 0, PAGE, wanted, flags) == (1,)


def test_d8() -> None:
    host = Host()
    host.create(33, 2, 8)
    assert host.status(Rmi.RTT_MAP_UNPROTECTED, host.rd, HALF, 1, 0xD4) == ERROR_INPUT
    assert host.status(Rmi.RTT_UNMAP_UNPROTECTED, host.rd, HALF, 1) == ERROR_INPUT
    host.ok(Rmi.RTT_MAP_UNPROTECTED, host.rd, HALF, 2, 0xD4)


def test_d9(host: Host) -> None:
    pa = host.granule(delegate=False)
    host.memory.write(pa, b"host data")
    host.delegate(pa)
    host.data(0, pa)
    assert not any(host.memory.read(pa, PAGE))
    host.memory.write(pa, b"realm data")
    host.ok(Rmi.DATA_DESTROY, host.rd, 0)
    host.ok(Rmi.GRANULE_UNDELEGATE, pa)
    assert not any(host.memory.read(pa, PAGE))


def test_d10(host: Host) -> None:
    host.ok(Rmi.RTT_MAP_UNPROTECTED, host.rd, HALF, 3, BASE | 0xD4)
    host.ok(Rmi.RTT_DESTROY, host.rd, HALF, 3)
    host.data(0)
    assert host.status(Rmi.RTT_DESTROY, host.rd, 0, 3) == ERROR_RTT | 3 << 8


def test_d11() -> None:
    memory = PhysicalMemory(BASE, 1 << 20)
    assert Rmm(memory).rmi(Rmi.FEATURES, [0])[1] & 0x1FF == 0x100 | 52
    assert Rmm(memory, lpa2=False).rmi(Rmi.FEATURES, [0])[1] & 0x1FF == 48


def test_d12() -> None:
    host = Host(abi="2.0")
    host.create()
    host.tables(0)
    host.tables(0x20_0000)
    one = AddrRange(COUNT=600, ADDR=host.granule(600)).words[0]
    flags = MapFlags(OADDR_TYPE=MapFlags.SINGLE).words[0]
    top = 600 * PAGE
    assert host.ok(Rmi2.RTT_DATA_MAP, host.rd, 0, top, flags, one)[1] == top
    assert host.ok(Rmi2.RTT_DATA_UNMAP, host.rd, 0, top, 0, 0)[1] == top


def test_d13() -> None:
    host = Host(abi="2.0")
    host.create()
    host.rec()
    assert len(host.rmm.rec(host.recs[0]).aux) == 16


def test_d14() -> None:
    rmm = Rmm(PhysicalMemory(BASE, 1 << 20), abi="2.0")
    rmm.rmi(Rmi2.RMM_ACTIVATE)
    vdev_communicate = 0xC400_0186
    assert rmm.rmi(vdev_communicate)[0] == (1 << 64) - 1


def test_d15(host: Host) -> None:
    active(host, 0)
    rtt = host.realm.rtt
    pa = host.granule(delegate=False)
    rtt.write(rtt.walk(0, 3).word, rtt.assigned(pa, Ripas.RAM))
    assert host.rmm.access(host.recs[0], 0, "r") == Sea(0x10)
    assert host.status(Rmi.DATA_DESTROY, host.rd, 0) == ERROR_RTT | 3 << 8
    rtt.write(rtt.walk(0, 2).word, pa | 3)
    assert host.ok(Rmi.RTT_READ_ENTRY, host.rd, 0, 3)[1::3] == (2, Ripas.DESTROYED)
    host.ok(Rmi.RTT_CREATE, host.rd, host.granule(), 0, 3)
