"""What the Realm asks about its devices: what they are, where their registers are, their DMA."""

import struct

import pytest

from rmm_devices import BAR, SID, VDEV_ID, Device, assign, device_host
from rmm_host import PAGE, RUN, Host
from topbit.arch.rmi import ExitReason, Rmi, Rmi2
from topbit.arch.rmi_params import RecEnter, RecExit
from topbit.arch.rmi_range import AddrRange, MapFlags
from topbit.arch.rsi import Rsi, VdevInfo
from topbit.rmm import Exit, Resume, Sea, Translated

IPA = 0x8000
SINGLE = MapFlags(OADDR_TYPE=MapFlags.SINGLE).words[0]
ERROR_INPUT, ERROR_STATE, ERROR_DEVICE = 1, 2, 5


@pytest.fixture
def host() -> Host:
    return device_host()


@pytest.fixture
def device(host: Host) -> Device:
    device = assign(host)
    host.enter()
    return device


def map_bar(device: Device, pages: int = 2, ipa: int = IPA) -> None:
    one = AddrRange(COUNT=pages, ADDR=BAR).words[0]
    device.host.ok(
        Rmi2.RTT_DEV_MAP, device.host.rd, device.vdev, ipa, ipa + pages * PAGE, SINGLE, one
    )


def validate(device: Device, pa: int = BAR, pages: int = 2) -> Resume | Exit:
    nonces = device.nonces()
    return device.ask(Rsi.VDEV_VALIDATE_MAPPING, VDEV_ID, IPA, IPA + pages * PAGE, pa, 0, *nonces)


def dev_validate(device: Device, pages: int = 2) -> int:
    rec = device.host.recs[0]
    return device.host.status(Rmi2.RTT_DEV_VALIDATE, device.host.rd, rec, IPA, IPA + pages * PAGE)


def test_a_stream_is_valid_from_dma_enable_to_unlock(device: Device) -> None:
    host = device.host
    assert device.enable() == ERROR_DEVICE
    device.lock()
    assert device.enable() == ERROR_DEVICE, "locked, not started"
    device.start()
    assert host.rmm.trusted_stream(SID) is None
    lock, measured, reported = device.nonces()
    for wrong in ((lock ^ 1, measured, reported), (lock, 1, reported), (lock, measured, 1)):
        assert device.enable(wrong) == ERROR_DEVICE
    assert device.enable() == 0
    assert device.enable() == 0, "again"
    assert host.rmm.trusted_stream(SID) is host.realm
    assert host.rmm.trusted_stream(SID + 8) is None
    assert device.disable() == 0
    assert host.rmm.trusted_stream(SID) is None
    device.enable()
    known = device.nonces()
    assert device.unlock() == 0
    assert host.rmm.trusted_stream(SID) is None
    assert device.nonces() == (0, 0, 0)
    device.lock()
    device.start()
    assert device.enable(known) == ERROR_DEVICE, "the host took the device back in between"


def test_the_host_is_asked_which_device_is_meant(device: Device) -> None:
    host = device.host
    got = host.rsi(Rsi.VDEV_DMA_DISABLE, VDEV_ID)
    assert got == Exit(ExitReason.VDEV_REQUEST, vdev_id=VDEV_ID)
    reason, told = (host.memory.read_u64(RUN + at) for at in (RecExit.REASON, RecExit.VDEV_ID_1))
    assert (reason, told) == (8, VDEV_ID)
    rec = host.recs[0]
    assert host.status(Rmi2.VDEV_COMPLETE, rec, device.pdev) == ERROR_INPUT
    assert host.enter().regs == {0: ERROR_INPUT}
    assert host.status(Rmi2.VDEV_COMPLETE, rec, device.vdev) == ERROR_INPUT, "nothing waits"
    host.rsi(Rsi.VDEV_DMA_DISABLE, VDEV_ID + 1)
    assert host.status(Rmi2.VDEV_COMPLETE, rec, device.vdev) == ERROR_INPUT, "another device"
    assert host.enter().regs == {0: ERROR_INPUT}


def test_2_0_bet3_asks_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    host = device_host("2.0-bet3")
    device = assign(host)
    host.enter()
    assert device.disable() == 0
    assert host.returns(Rsi.VDEV_DMA_DISABLE, VDEV_ID + 1) == (ERROR_INPUT,)
    device.lock()
    got = validate(device)
    assert isinstance(got, Exit)
    assert host.memory.read_u64(RUN + RecExit.REASON) == 8
    assert host.status(Rmi2.VDEV_COMPLETE, host.recs[0], device.vdev) == (1 << 64) - 1


def test_a_realm_without_the_flag_has_no_device_calls() -> None:
    host = Host(abi="2.0")
    host.create()
    host.rec()
    host.ok(Rmi.REALM_ACTIVATE, host.rd)
    host.enter()
    calls = (Rsi.VDEV_GET_INFO, Rsi.VDEV_DMA_ENABLE, Rsi.VDEV_DMA_DISABLE)
    for call in (*calls, Rsi.VDEV_VALIDATE_MAPPING):
        assert host.returns(call, 0, 0, PAGE, 0) == (ERROR_STATE,)
    assert host.returns(Rsi.FEATURES, 0) == (0, 0)


def test_features_tell_of_devices(device: Device) -> None:
    assert [device.host.returns(Rsi.FEATURES, n) for n in range(3)] == [(0, 1), (0, 0), (0, 0)]


def test_what_the_realm_is_told(host: Host) -> None:
    device = assign(host)
    host.ok(Rmi.RTT_READ_ENTRY, host.rd, 0, 3)
    pa = host.granule()
    one = AddrRange(COUNT=1, ADDR=pa).words[0]
    host.ok(Rmi2.RTT_DATA_MAP, host.rd, 0, PAGE, SINGLE, one)
    host.enter()
    host.rsi(Rsi.IPA_STATE_SET, 0, PAGE, 1, 0)
    host.ok(Rmi.RTT_SET_RIPAS, host.rd, host.recs[0], 0, PAGE)
    host.enter()
    device.lock()
    assert device.do(Rmi2.VDEV_GET_MEASUREMENTS, RUN) == 0
    assert device.do(Rmi2.VDEV_GET_INTERFACE_REPORT) == 0
    host.memory.fill(pa, PAGE, 0xEE)
    assert device.answers(Rsi.VDEV_GET_INFO, VDEV_ID, 0x200) == (0,)
    page = host.memory.read(pa, PAGE)
    info = page[0x200:0x400]
    assert page[:0x200] + page[0x400:] == b"\xee" * (PAGE - 0x200)
    lock, measured, reported = device.nonces()
    assert (measured, reported) == (1, 1)
    assert lock not in (0, 1)
    words = struct.unpack_from("<3Q", info, VdevInfo.LOCK_NONCE)
    assert words == (lock, measured, reported)
    assert (info[VdevInfo.STATE], info[VdevInfo.FORMAT_TYPE]) == (1, 1)
    digest = VdevInfo.DIGEST_SIZE // 2  # SHA-256, the PDEV's
    import hashlib

    for at, said in (
        (VdevInfo.MEAS_DIGEST, device.model.record()),
        (VdevInfo.REPORT_DIGEST, device.model.interface_report()),
        (VdevInfo.CERT_DIGEST, device.model.certificate),
        (VdevInfo.PUBKEY_DIGEST, device.model.key),
    ):
        assert info[at : at + digest] == hashlib.sha256(said).digest()
    for wrong in (0x100, 1 << 32):
        assert host.returns(Rsi.VDEV_GET_INFO, VDEV_ID, wrong) == (ERROR_INPUT,)
    assert device.answers(Rsi.VDEV_GET_INFO, VDEV_ID, PAGE) == (ERROR_INPUT,), "no RAM there"


def test_device_memory_is_reached_once_the_realm_has_validated_it(device: Device) -> None:
    host, rec = device.host, device.host.recs[0]
    map_bar(device)
    device.lock()
    assert host.rmm.access(rec, IPA, "r") == Sea(7)
    got = validate(device)
    assert got == Exit(
        ExitReason.DEV_MEM_MAP,
        vdev_id=VDEV_ID,
        range_base=IPA,
        range_top=IPA + 2 * PAGE,
        dev_mem_pa=BAR,
    )
    told = struct.unpack("<5Q", host.memory.read(RUN + RecExit.VDEV_ID_1, 40))
    assert told == (VDEV_ID, 0, IPA, IPA + 2 * PAGE, BAR)
    assert host.memory.read_u64(RUN + RecExit.REASON) == 9
    assert dev_validate(device) == 0
    assert host.enter().regs == {0: 0, 1: IPA + 2 * PAGE, 2: 0}
    assert host.rmm.access(rec, IPA + PAGE + 8, "w") == Translated(BAR + PAGE + 8, ns=False)
    assert host.returns(Rsi.IPA_STATE_GET, IPA, IPA + 2 * PAGE) == (0, IPA + 2 * PAGE, 3)
    assert validate(device)
    assert dev_validate(device) == 4 | 3 << 8, "what is validated is not validated again"
    host.enter()
    out = host.rmm.rmi(Rmi2.VDEV_UNLOCK, device.names)
    assert out == (16, BAR), "its registers are mapped"
    out = host.ok(Rmi2.RTT_DEV_UNMAP, host.rd, IPA, IPA + 2 * PAGE, SINGLE, 0)
    assert out[2] == AddrRange(COUNT=2, ADDR=BAR).words[0]
    assert device.unlock() == 0


@pytest.mark.parametrize(("flags", "response"), [(RecEnter.DEV_MEM_RESPONSE, 1), (0x10, 0)])
def test_the_host_cannot_have_another_page_validated(
    device: Device, flags: int, response: int
) -> None:
    map_bar(device)
    device.lock()
    validate(device, BAR + PAGE)
    assert dev_validate(device) == 4 | 3 << 8
    refused = device.host.enter(flags=flags)
    assert refused.regs == {0: 0, 1: IPA, 2: response}
    assert device.host.rmm.access(device.host.recs[0], IPA, "r") == Sea(7)


def test_a_mapping_is_validated_for_the_lock_that_the_realm_knew(device: Device) -> None:
    device.lock()
    validate(device)
    device.unlock()
    map_bar(device)
    assert dev_validate(device) == 6, "unlocked"
    device.lock()
    assert dev_validate(device) == 6, "another lock"


def test_what_is_asked_of_an_unlocked_device_is_refused(device: Device) -> None:
    got = validate(device)
    assert isinstance(got, Resume)
    assert got.regs == {0: ERROR_INPUT}
    device.lock()
    regs = (VDEV_ID, IPA, IPA + PAGE, BAR, 0)
    assert device.answers(Rsi.VDEV_VALIDATE_MAPPING, *regs, 1, 0, 0) == (ERROR_DEVICE,)
    for wrong in ((IPA + 1, IPA + PAGE), (IPA, IPA), (IPA, 1 << 33), (1 << 32, (1 << 32) + PAGE)):
        call = (Rsi.VDEV_VALIDATE_MAPPING, VDEV_ID, *wrong, BAR, 0, *device.nonces())
        assert device.host.returns(*call) == (ERROR_INPUT,)


def test_device_memory_never_becomes_ram(device: Device) -> None:
    host = device.host
    map_bar(device)
    host.rsi(Rsi.IPA_STATE_SET, IPA, IPA + PAGE, 1, 1)
    out = host.status(Rmi.RTT_SET_RIPAS, host.rd, host.recs[0], IPA, IPA + PAGE)
    assert out == 4 | 3 << 8
    unmap = (host.rd, IPA, IPA + PAGE, 0, 0)
    assert host.status(Rmi2.RTT_DATA_UNMAP, *unmap) == 4 | 3 << 8
