"""Every row of docs/rmm-deviations.md, asserted."""

import hashlib
import re

import pytest

from paths import ROOT
from rmm_devices import BAR, SID, VDEV_ID, Device, assign, device_host
from rmm_host import BASE, LIST, PAGE, PARAMS, RUN, Host
from topbit.arch.gpt import PAS
from topbit.arch.rmi import Ripas, Rmi, Rmi2
from topbit.arch.rmi_da import PdevParams
from topbit.arch.rmi_params import HASH_SHA_384, RealmParams
from topbit.arch.rmi_range import AddrRange, MapFlags
from topbit.arch.rsi import Rsi, VdevInfo
from topbit.memory import PhysicalMemory
from topbit.rmm import Exit, Rmm, Sea, Translated
from topbit.rmm.rsi.vdev import vdev_info
from topbit.rmm.s2tt import HIPAS_MASK, RIPAS_MASK, XN
from topbit.rmm.state import PSMMU

TABLE = ROOT / "docs" / "rmm-deviations.md"
ERROR_INPUT, ERROR_REALM, ERROR_RTT, NOT_SUPPORTED, ERROR_DEVICE = 1, 2, 4, 5, 6
HALF = 1 << 32
SINGLE = MapFlags(OADDR_TYPE=MapFlags.SINGLE).words[0]


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
    assert len(rows) == 27


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
    for wanted in (1 << 32, 2, 3):
        assert host.returns(Rsi.IPA_STATE_SET, 0, PAGE, wanted, 0) == (1,)
    host.rmm.interrupt(host.recs[0])
    host.ok(Rmi.DATA_DESTROY, host.rd, 0)
    for flags, done in ((0, False), (2, False), (3, True)):
        host.enter()
        assert isinstance(host.rsi(Rsi.IPA_STATE_SET, 0, PAGE, 1, flags), Exit)
        out = host.status(Rmi.RTT_SET_RIPAS, host.rd, host.recs[0], 0, PAGE)
        assert (out == 0) == done
        host.enter()
        host.rmm.interrupt(host.recs[0])


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
    host.memory.fill(PARAMS, PAGE)
    host.status(Rmi2.PSMMU_ACTIVATE, PSMMU, PARAMS)
    free = host.granule(4, align=2 * PAGE)
    for pa, count in ((free, 1), (free + PAGE, 2)):
        host.memory.write_u64(LIST, AddrRange(COUNT=count, ADDR=pa).words[0])
        assert host.status(Rmi2.OP_MEM_DONATE, 0, LIST, 1) == ERROR_INPUT


def test_d14() -> None:
    host = device_host()
    device = assign(host)
    session = device.physical.session
    assert session.certificate == device.model.certificate
    assert session.secret != b""
    device.do(Rmi2.VDEV_GET_MEASUREMENTS, RUN)
    assert device.state.measurements == device.model.record()


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


def test_d16() -> None:
    host = Host(abi="2.0")
    assert host.ok(Rmi.FEATURES, 3)[1] == 0
    root, rd = host.granule(), host.granule()
    for at, value in ((RealmParams.NUM_AUX_PLANES, 1), (RealmParams.ATS_PLANE, 1)):
        params = host.params(33, 1, 1, root)
        host.memory.write_u64(params + at, value)
        assert host.status(Rmi.REALM_CREATE, rd, params) == ERROR_INPUT


def test_d17() -> None:
    device = assign(device_host())
    at = VdevInfo.PUBKEY_DIGEST
    digest = hashlib.sha256(device.model.key).digest()
    assert vdev_info(device.state)[at : at + 32] == digest


def _mapped_device() -> tuple[Host, Device]:
    """A device with one page of registers at IPA 0, which the Realm has validated."""
    host = device_host()
    device = assign(host)
    one = AddrRange(COUNT=1, ADDR=BAR).words[0]
    host.ok(Rmi2.RTT_DEV_MAP, host.rd, device.vdev, 0, PAGE, SINGLE, one)
    device.lock()
    host.enter()
    device.ask(Rsi.VDEV_VALIDATE_MAPPING, VDEV_ID, 0, PAGE, BAR, 0, *device.nonces())
    return host, device


def test_d18() -> None:
    host, _ = _mapped_device()
    rec = host.recs[0]
    host.ok(Rmi2.RTT_DEV_VALIDATE, host.rd, rec, 0, PAGE)
    host.enter()
    assert host.realm.rtt.walk(0, 3).entry & XN
    host.rmm.interrupt(rec)
    host.ok(Rmi2.RTT_DEV_UNMAP, host.rd, 0, PAGE, 0, 0)
    one = AddrRange(COUNT=1, ADDR=host.granule()).words[0]
    host.ok(Rmi2.RTT_DATA_MAP, host.rd, 0, PAGE, SINGLE, one)
    host.enter()
    host.rsi(Rsi.IPA_STATE_SET, 0, PAGE, 1, 1)
    host.ok(Rmi.RTT_SET_RIPAS, host.rd, rec, 0, PAGE)
    assert not host.realm.rtt.walk(0, 3).entry & XN


def test_d19() -> None:
    host, device = _mapped_device()
    rec = host.recs[0]
    host.ok(Rmi2.RTT_DEV_VALIDATE, host.rd, rec, 0, PAGE)
    host.ok(Rmi2.RTT_DEV_UNMAP, host.rd, 0, PAGE, 0, 0)
    one = AddrRange(COUNT=1, ADDR=BAR).words[0]
    host.ok(Rmi2.RTT_DEV_MAP, host.rd, device.vdev, 0, PAGE, SINGLE, one)
    assert host.ok(Rmi.RTT_READ_ENTRY, host.rd, 0, 3)[2:] == (3, BAR, Ripas.DESTROYED)


def test_d20() -> None:
    host, device = _mapped_device()
    host.ok(Rmi2.RTT_DEV_UNMAP, host.rd, 0, PAGE, 0, 0)
    device.unlock()
    one = AddrRange(COUNT=1, ADDR=BAR).words[0]
    host.ok(Rmi2.RTT_DEV_MAP, host.rd, device.vdev, 0, PAGE, SINGLE, one)
    assert host.status(Rmi2.RTT_DEV_VALIDATE, host.rd, host.recs[0], 0, PAGE) == ERROR_DEVICE


def test_d21() -> None:
    host, device = _mapped_device()
    host.ok(Rmi2.VDEV_START, *device.names)
    host.ok(Rmi2.VDEV_ABORT, *device.names)
    assert host.status(Rmi2.VDEV_DESTROY, *device.names) == ERROR_DEVICE
    host.ok(Rmi2.RTT_DEV_UNMAP, host.rd, 0, PAGE, 0, 0)
    host.ok(Rmi2.VDEV_DESTROY, *device.names)


def test_d22() -> None:
    host = Host(abi="2.0")
    host.create(33, 2, 8)
    for call, ipa in ((Rmi2.RTT_DATA_MAP, 0), (Rmi2.RTT_UNPROT_MAP, HALF)):
        one = AddrRange(SIZE=2, COUNT=1, ADDR=1 << 30).words[0]
        assert host.status(call, host.rd, ipa, ipa + (1 << 30), SINGLE, one) == ERROR_INPUT


def test_d23() -> None:
    host = Host(abi="2.0")
    host.create()
    host.tables(HALF)
    one = AddrRange(COUNT=1, ADDR=BASE, STATE=AddrRange.UNDELEGATED).words[0]
    for kind in (SINGLE, MapFlags(OADDR_TYPE=2, LIST_COUNT=1).words[0]):
        host.ok(Rmi2.RTT_UNPROT_MAP, host.rd, HALF, HALF + PAGE, SINGLE, one)
        place = LIST if kind != SINGLE else 0
        out = host.ok(Rmi2.RTT_UNPROT_UNMAP, host.rd, HALF, HALF + PAGE, kind, place)
        assert (host.memory.read_u64(LIST) if place else out[2]) == one


def test_d24() -> None:
    host = Host(abi="2.0")
    host.create()
    host.tables(0)
    table = host.realm.rtt.walk(0, 2).entry & ~0xFFF
    one = AddrRange(COUNT=1, ADDR=table).words[0]
    assert host.status(Rmi2.RTT_DATA_MAP, host.rd, 0, PAGE, SINGLE, one) == ERROR_INPUT


def test_d25() -> None:
    host = device_host()
    device = assign(host)
    names = (device.pdev, device.port, device.stream)
    assert host.status(Rmi2.PDEV_STREAM_KEY_PURGE, *names) == NOT_SUPPORTED
    params = device.page({PdevParams.FLAGS: 5, PdevParams.RID_TOP: 1})
    assert host.status(Rmi2.PDEV_CREATE, host.granule(), params) == NOT_SUPPORTED


def test_d26() -> None:
    host = device_host()
    device = assign(host)
    device.lock()
    device.start()
    host.enter()
    device.enable()
    assert host.rmm.trusted_stream(SID) is host.realm
    host.rmm.interrupt(host.recs[0])
    host.ok(Rmi2.REALM_TERMINATE, host.rd)
    assert host.rmm.trusted_stream(SID) is None


def test_d27() -> None:
    host = Host(abi="2.0")
    params = host.params(33, 1, 1, host.granule())
    for at, value in ((RealmParams.FLAGS0, 1 << 40), (RealmParams.HASH_ALGO, HASH_SHA_384)):
        host.memory.write_u64(params + at, value)
    host.rd = host.granule()
    host.ok(Rmi.REALM_CREATE, host.rd, params)
    assert not host.ok(Rmi.FEATURES, 1)[1] & 1 << 4
    host.tables(HALF)
    for state in (AddrRange.DELEGATED, AddrRange.UNDELEGATED):
        one = AddrRange(COUNT=1, ADDR=BASE, STATE=state).words[0] | 1 << 55
        flags = SINGLE | 1 << 60
        host.ok(Rmi2.RTT_UNPROT_MAP, host.rd, HALF, HALF + PAGE, flags, one)
