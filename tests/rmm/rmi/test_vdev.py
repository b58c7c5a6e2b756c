"""The life of an assigned interface, and what stops a device that is not to be trusted."""

from typing import Any

import pytest

from rmm_devices import BAR, BAR_SIZE, COMM, SID, VDEV_ID, Device, assign, device_host
from rmm_host import PAGE, PARAMS, RUN, Host
from topbit.arch.rmi import Rmi, Rmi2
from topbit.arch.rmi_da import PdevState, VdevState
from topbit.arch.rmi_range import AddrRange, MapFlags
from topbit.devices.tdi import TdiBehaviour
from topbit.rmm import State

ERROR_INPUT, ERROR_REALM, ERROR_DEVICE = 1, 2, 6
SINGLE = MapFlags(OADDR_TYPE=MapFlags.SINGLE).words[0]


@pytest.fixture
def host() -> Host:
    return device_host()


def test_life_of_an_interface(host: Host) -> None:
    device = assign(host)
    rd, pdev, vdev = device.names
    states = []

    def told() -> int:
        return host.ok(Rmi2.VDEV_GET_STATE, vdev)[1]

    states.append(told())
    host.ok(Rmi2.VDEV_LOCK, *device.names)
    assert told() == VdevState.UNLOCKED, "before all is said"
    for call in (Rmi2.VDEV_LOCK, Rmi2.VDEV_START, Rmi2.VDEV_UNLOCK, Rmi2.VDEV_DESTROY):
        assert host.status(call, *device.names) == ERROR_DEVICE
    assert device.communicate() == 0
    states.append(told())
    assert device.communicate() == ERROR_DEVICE, "nothing is left to say"
    assert host.status(Rmi2.VDEV_LOCK, *device.names) == ERROR_DEVICE
    assert device.start() == 0
    states.append(told())
    assert host.status(Rmi2.VDEV_DESTROY, *device.names) == ERROR_DEVICE
    host.ok(Rmi2.REALM_TERMINATE, rd)
    assert host.status(Rmi.REALM_DESTROY, rd) == ERROR_REALM
    assert host.status(Rmi2.PDEV_STOP, pdev) == ERROR_DEVICE
    assert device.unlock() == 0
    states.append(told())
    assert states == [VdevState.UNLOCKED, VdevState.LOCKED, VdevState.STARTED, VdevState.UNLOCKED]
    host.ok(Rmi2.VDEV_DESTROY, *device.names)
    assert host.rmm.granules.get(vdev) == State.DELEGATED
    assert host.status(Rmi2.VDEV_GET_STATE, vdev) == ERROR_INPUT


def test_a_new_interface_may_go_unasked(host: Host) -> None:
    device = assign(host)
    other = Device(host, ranges=[(BAR + BAR_SIZE, BAR + 2 * BAR_SIZE)])
    other.pdev, other.vdev = device.pdev, host.granule()
    params = other.vdev_params(SID + 1, VDEV_ID + 1)
    host.ok(Rmi2.VDEV_CREATE, *other.names, params)
    assert host.ok(Rmi2.VDEV_GET_STATE, other.vdev)[1] == VdevState.NEW
    host.ok(Rmi2.VDEV_DESTROY, *other.names)


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({"sid": SID + 2}, ERROR_INPUT),
        ({"sid": SID - 1}, ERROR_INPUT),
        ({"flags": 1}, ERROR_INPUT),
        ({"vdev_id": VDEV_ID, "sid": SID + 1}, ERROR_INPUT),
        ({"ranges": [(BAR, BAR)]}, ERROR_INPUT),
        ({"ranges": [(1 << 32, 1 << 33), (1 << 32, 1 << 33)]}, ERROR_INPUT),
        ({"ranges": [(n << 32, (n << 32) + PAGE) for n in range(1, 10)]}, ERROR_INPUT),
        ({"ranges": [(BAR + BAR_SIZE - PAGE, 1 << 32)], "sid": SID + 1}, ERROR_DEVICE),
        ({"ranges": []}, ERROR_DEVICE),
        ({"ranges": [], "sid": SID + 1}, 0),
    ],
)
def test_what_a_second_interface_must_be(host: Host, change: dict[str, Any], status: int) -> None:
    device = assign(host)
    other = Device(host, ranges=change.get("ranges", ((1 << 32, 1 << 33),)))
    other.pdev, other.vdev = device.pdev, host.granule()
    wanted = {"sid": SID, "vdev_id": VDEV_ID + 1} | change
    wanted.pop("ranges", None)
    params = other.vdev_params(**wanted)
    assert host.status(Rmi2.VDEV_CREATE, *other.names, params) == status


def test_what_the_arguments_must_be(host: Host) -> None:
    device = assign(host)
    rd, pdev, vdev = device.names
    rec = host.recs[0]
    spare, params = host.granule(), device.vdev_params(SID + 1, 8)
    for wrong in ((rec, pdev, spare, params), (rd, rec, spare, params), (rd, pdev, vdev, params),
                  (rd, pdev, RUN, params), (rd, pdev, spare, rec)):  # fmt: skip
        assert host.status(Rmi2.VDEV_CREATE, *wrong) == ERROR_INPUT
    assert host.status(Rmi2.VDEV_CREATE, rd, device.port, spare, params) == ERROR_DEVICE
    assert host.status(Rmi2.VDEV_LOCK, rd, device.port, vdev) == ERROR_DEVICE
    assert host.status(Rmi2.VDEV_LOCK, rec, pdev, vdev) == ERROR_INPUT
    assert host.status(Rmi2.VDEV_LOCK, rd, pdev, rec) == ERROR_INPUT
    for page in (COMM + 8, rd, 1 << 44):
        assert host.status(Rmi2.VDEV_COMMUNICATE, *device.names, page) == ERROR_INPUT


def test_a_realm_needs_the_flag_and_a_stream_table(host: Host) -> None:
    device = Device(host)
    device.create_pdevs()
    device.identify()
    device.set_key()
    device.vdev = host.granule()
    refused = (Rmi2.VDEV_CREATE, *device.names)
    assert host.status(*refused, device.vdev_params()) == ERROR_DEVICE, "no IDE stream"
    device.connect()
    assert host.status(*refused, device.vdev_params()) == ERROR_DEVICE, "no stream table"
    device.activate_psmmu()
    with_da = host.rd
    host.create()
    assert host.status(Rmi2.VDEV_CREATE, *device.names, device.vdev_params()) == ERROR_REALM
    host.rd = with_da
    host.ok(Rmi2.REALM_TERMINATE, with_da)
    assert host.status(Rmi2.VDEV_CREATE, *device.names, device.vdev_params()) == ERROR_REALM


@pytest.mark.parametrize(
    ("behaviour", "step"),
    [
        (TdiBehaviour.WRONG_NONCE, "measure"),
        (TdiBehaviour.UNLOCKS_ITSELF, "start"),
    ],
)
def test_a_device_that_misbehaves_is_in_error(
    host: Host, behaviour: TdiBehaviour, step: str
) -> None:
    device = assign(host, behaviour)
    assert device.lock() == 0
    failed = device.do(Rmi2.VDEV_GET_MEASUREMENTS, RUN) if step == "measure" else device.start()
    assert failed == ERROR_DEVICE
    assert host.ok(Rmi2.VDEV_GET_STATE, device.vdev)[1] == VdevState.ERROR
    host.enter()
    assert device.enable() == 5
    assert device.state.talk is None
    host.ok(Rmi2.VDEV_DESTROY, *device.names)


def test_a_device_with_another_key_is_never_ready(host: Host) -> None:
    device = Device(host, TdiBehaviour.WRONG_KEY)
    device.create_pdevs()
    device.identify()
    assert device.set_key() == ERROR_DEVICE
    assert host.ok(Rmi2.PDEV_GET_STATE, device.pdev)[1] == PdevState.ERROR


def test_measurements_change_and_the_realm_can_tell(host: Host) -> None:
    device = assign(host, TdiBehaviour.CHANGES_MEASUREMENT)
    device.do(Rmi2.VDEV_GET_MEASUREMENTS, RUN)
    before = device.state.measurements
    assert device.do(Rmi2.VDEV_GET_INTERFACE_REPORT) == ERROR_DEVICE, "not locked"
    device.lock()
    device.do(Rmi2.VDEV_GET_MEASUREMENTS, RUN)
    assert device.state.measurements != before
    assert device.nonces()[1] == 2


def test_a_broken_message_stops_the_stream(host: Host) -> None:
    device = assign(host)
    device.lock()
    device.start()
    host.enter()
    device.enable()
    assert host.rmm.trusted_stream(SID) is host.realm
    host.ok(Rmi2.VDEV_GET_MEASUREMENTS, *device.names, RUN)
    exchange = device.model.exchange
    device.model.exchange = lambda request: exchange(request)[:-1] + b"\0"  # type: ignore[method-assign]
    assert device.communicate() == ERROR_DEVICE
    assert host.rmm.trusted_stream(SID) is None
    assert device.state.state == VdevState.ERROR


def test_an_abort_leaves_nothing_enabled(host: Host) -> None:
    device = assign(host)
    assert host.status(Rmi2.VDEV_ABORT, *device.names) == ERROR_DEVICE
    device.lock()
    device.start()
    host.enter()
    device.enable()
    host.ok(Rmi2.VDEV_GET_INTERFACE_REPORT, *device.names)
    host.ok(Rmi2.VDEV_ABORT, *device.names)
    assert host.rmm.trusted_stream(SID) is None
    assert device.unlock() == 0
    assert device.lock() == 0


@pytest.mark.parametrize("end", ["terminate", "system off", "port"])
def test_nothing_is_enabled_when_the_realm_or_the_link_ends(host: Host, end: str) -> None:
    device = assign(host)
    device.lock()
    device.start()
    host.enter()
    device.enable()
    if end == "terminate":
        host.rmm.interrupt(host.recs[0])
        host.ok(Rmi2.REALM_TERMINATE, host.rd)
    elif end == "system off":
        host.rsi(0x8400_0008)
    else:
        host.ok(Rmi2.PDEV_STREAM_KEY_REFRESH, device.pdev, device.port, device.stream)
        host.ok(Rmi2.PDEV_ABORT, device.port)
        assert device.state.state == VdevState.ERROR
    assert host.rmm.trusted_stream(SID) is None


def test_a_running_realm_is_not_terminated(host: Host) -> None:
    host.enter()
    assert host.status(Rmi2.REALM_TERMINATE, host.rd) == ERROR_REALM


def test_registers_are_mapped_only_of_the_device(host: Host) -> None:
    device = assign(host)
    ipa = 0x8000
    one = AddrRange(COUNT=1, ADDR=BAR).words[0]
    call = (Rmi2.RTT_DEV_MAP, host.rd)
    outside = AddrRange(COUNT=1, ADDR=BAR + BAR_SIZE).words[0]
    assert host.status(*call, device.vdev, ipa, ipa + PAGE, SINGLE, outside) == ERROR_INPUT
    assert host.status(*call, device.pdev, ipa, ipa + PAGE, SINGLE, one) == ERROR_INPUT
    host.ok(*call, device.vdev, ipa, ipa + PAGE, SINGLE, one)
    assert host.status(*call, device.vdev, ipa, ipa + PAGE, SINGLE, one) == 4 | 3 << 8
    last = AddrRange(COUNT=2, ADDR=BAR + BAR_SIZE - PAGE).words[0]
    out = host.ok(*call, device.vdev, ipa + PAGE, ipa + 3 * PAGE, SINGLE, last)
    assert out[1] == ipa + 2 * PAGE, "the second page lies behind the device's range"


def test_parameters_of_nowhere(host: Host) -> None:
    assert host.status(Rmi2.PDEV_CREATE, PARAMS, PARAMS) == ERROR_INPUT
