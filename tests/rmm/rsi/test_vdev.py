"""Device assignment: RIPAS DEV, and whose table a trusted stream walks."""

import pytest

from rmm_host import PAGE, PARAMS, SID, VDEV_ID, Host, assign
from topbit.arch.rmi import AddrRange, ExitReason, MapFlags, Rmi, Rmi2
from topbit.arch.rsi import Rsi
from topbit.rmm import Exit, Resume, Sea, Translated

BAR, IPA = 0x1000_0000, 0x8000
SINGLE = MapFlags(OADDR_TYPE=MapFlags.SINGLE).words[0]
ERROR_INPUT, ERROR_DEVICE = 1, 6


@pytest.fixture
def host() -> Host:
    host = Host(abi="2.0")
    host.rmm.granules.add_device_memory(BAR, 0x1_0000)
    host.create()
    host.rec()
    host.tables(0)
    host.ok(Rmi.REALM_ACTIVATE, host.rd)
    return host


def map_bar(host: Host) -> None:
    host.ok(Rmi2.GRANULE_RANGE_DELEGATE, BAR, BAR + 4 * PAGE)
    one = AddrRange(COUNT=2, ADDR=BAR).words[0]
    host.ok(Rmi2.RTT_DEV_MAP, host.rd, IPA, IPA + 2 * PAGE, SINGLE, one)


def validate(host: Host, pa: int, nonce: int = 1) -> Resume | Exit:
    return host.rsi(Rsi.VDEV_VALIDATE_MAPPING, VDEV_ID, IPA, IPA + 2 * PAGE, pa, 0, nonce)


def test_a_stream_is_valid_from_dma_enable_to_unlock(host: Host) -> None:
    device = assign(host)
    enable = (Rsi.VDEV_DMA_ENABLE, VDEV_ID, 0, 0, 1)
    host.enter()
    assert host.returns(*enable) == (5,)
    host.ok(Rmi2.VDEV_LOCK, *device)
    assert host.returns(*enable) == (5,), "locked, not started"
    host.ok(Rmi2.VDEV_START, *device)
    assert host.rmm.trusted_stream(SID) is None
    assert host.returns(Rsi.VDEV_DMA_ENABLE, VDEV_ID, 0, 0, 2) == (5,), "another lock"
    assert host.returns(*enable) == (0,)
    realm = host.rmm.trusted_stream(SID)
    assert realm is host.realm
    assert (realm.rtt_base, realm.start_level, realm.space.bits) == (host.realm.rtt.base, 1, 33)
    assert host.rmm.trusted_stream(SID + 8) is None
    assert host.returns(Rsi.VDEV_DMA_DISABLE, VDEV_ID) == (0,)
    assert host.rmm.trusted_stream(SID) is None
    host.returns(*enable)
    host.ok(Rmi2.VDEV_UNLOCK, *device)
    assert host.rmm.trusted_stream(SID) is None
    host.ok(Rmi2.VDEV_LOCK, *device)
    host.ok(Rmi2.VDEV_START, *device)
    assert host.returns(*enable) == (5,), "the host took the device back in between"


def test_device_memory_is_reached_once_the_realm_has_validated_it(host: Host) -> None:
    device = assign(host)
    map_bar(host)
    host.ok(Rmi2.VDEV_LOCK, *device)
    host.enter()
    rec = host.recs[0]
    assert host.rmm.access(rec, IPA, "r") == Sea(7)
    got = validate(host, BAR)
    assert isinstance(got, Exit)
    assert (got.reason, got.gprs) == (ExitReason.VDEV_MAP, (VDEV_ID, BAR))
    host.ok(Rmi2.RTT_DEV_VALIDATE, host.rd, rec, IPA, IPA + 2 * PAGE)
    assert host.enter().regs == {0: 0, 1: IPA + 2 * PAGE, 2: 0}
    assert host.rmm.access(rec, IPA + PAGE + 8, "w") == Translated(BAR + PAGE + 8, ns=False)
    assert host.returns(Rsi.IPA_STATE_GET, IPA, IPA + 2 * PAGE) == (0, IPA + 2 * PAGE, 3)
    host.rmm.interrupt(rec)
    out = host.ok(Rmi2.RTT_DEV_UNMAP, host.rd, IPA, IPA + 2 * PAGE, SINGLE, 0)
    assert out[2] == AddrRange(COUNT=2, ADDR=BAR).words[0]
    host.ok(Rmi2.GRANULE_RANGE_UNDELEGATE, BAR, BAR + 4 * PAGE)


def test_the_host_cannot_have_another_page_validated(host: Host) -> None:
    device = assign(host)
    map_bar(host)
    host.ok(Rmi2.VDEV_LOCK, *device)
    host.enter()
    validate(host, BAR + PAGE)
    out = host.status(Rmi2.RTT_DEV_VALIDATE, host.rd, host.recs[0], IPA, IPA + 2 * PAGE)
    assert out == 4 | 3 << 8
    refused = host.enter(flags=0x10)
    assert refused.regs == {0: 0, 1: IPA, 2: 1}
    assert host.rmm.access(host.recs[0], IPA, "r") == Sea(7)


def test_device_memory_never_becomes_ram(host: Host) -> None:
    assign(host)
    map_bar(host)
    host.enter()
    host.rsi(Rsi.IPA_STATE_SET, IPA, IPA + PAGE, 1, 1)
    out = host.status(Rmi.RTT_SET_RIPAS, host.rd, host.recs[0], IPA, IPA + PAGE)
    assert out == 4 | 3 << 8
    unmap = (host.rd, IPA, IPA + PAGE, 0, 0)
    assert host.status(Rmi2.RTT_DATA_UNMAP, *unmap) == 4 | 3 << 8


def test_life_of_a_device(host: Host) -> None:
    device = assign(host)
    rd, pdev, vdev = device
    other = host.granule()
    assert host.status(Rmi2.VDEV_CREATE, rd, pdev, other, PARAMS) == ERROR_INPUT, "same stream"
    assert host.status(Rmi2.PDEV_DESTROY, pdev) == ERROR_DEVICE
    assert host.status(Rmi.REALM_DESTROY, rd) == 2
    host.ok(Rmi2.VDEV_LOCK, *device)
    assert host.status(Rmi2.VDEV_DESTROY, *device) == ERROR_DEVICE
    assert host.ok(Rmi2.VDEV_GET_STATE, vdev)[1] == 1
    host.ok(Rmi2.VDEV_UNLOCK, *device)
    host.ok(Rmi2.VDEV_DESTROY, *device)
    host.ok(Rmi2.PDEV_DESTROY, pdev)
    assert host.status(Rmi2.VDEV_LOCK, *device) == ERROR_INPUT
