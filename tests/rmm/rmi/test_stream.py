"""The streams between an endpoint and its root port: who may have one, and who waits for whom?"""

import pytest

from rmm_devices import COMM, Device, assign, device_host
from rmm_host import PARAMS, RUN, Host
from topbit.arch.rmi import Rmi2
from topbit.arch.rmi_da import CommExitFlags, DevCommData, PdevState, StreamParams

ERROR_INPUT, NOT_SUPPORTED, ERROR_DEVICE = 1, 5, 6


@pytest.fixture
def host() -> Host:
    return device_host()


def told(host: Host, pdev: int) -> int:
    return host.ok(Rmi2.PDEV_GET_STATE, pdev)[1]


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ({StreamParams.STREAM_TYPE: 5}, ERROR_INPUT),
        ({StreamParams.STREAM_TYPE: 2}, NOT_SUPPORTED),
        ({StreamParams.PDEV_1: RUN}, ERROR_INPUT),
        ({StreamParams.IDE_SID: 256}, ERROR_INPUT),
        ({StreamParams.NUM_ADDR_RANGE: 17}, ERROR_INPUT),
        ({}, 0),
    ],
)
def test_what_can_be_a_stream(host: Host, fields: dict[int, int], status: int) -> None:
    device = Device(host)
    device.create_pdevs()
    device.identify()
    usual = {
        StreamParams.STREAM_TYPE: 1,
        StreamParams.PDEV_1: device.pdev,
        StreamParams.PDEV_2: device.port,
    }
    early = device.page(usual)
    assert host.status(Rmi2.PDEV_STREAM_CONNECT, early) == ERROR_DEVICE, "not READY"
    device.set_key()
    assert host.status(Rmi2.PDEV_STREAM_CONNECT, device.page(usual | fields)) == status
    swapped = usual | {StreamParams.PDEV_1: device.port, StreamParams.PDEV_2: device.pdev}
    assert host.status(Rmi2.PDEV_STREAM_CONNECT, device.page(swapped)) == ERROR_DEVICE


def test_the_ends_of_a_stream_wait_for_each_other(host: Host) -> None:
    device = Device(host)
    device.create_pdevs()
    device.identify()
    device.set_key()
    device.page(
        {StreamParams.STREAM_TYPE: 1, StreamParams.PDEV_1: device.pdev,
         StreamParams.PDEV_2: device.port}
    )  # fmt: skip
    host.ok(Rmi2.PDEV_STREAM_CONNECT, PARAMS)

    def waits(pdev: int) -> bool:
        assert device.talk(Rmi2.PDEV_COMMUNICATE, pdev) == 0
        flags = CommExitFlags.of(host.memory.read_u64(COMM + DevCommData.EXIT_FLAGS))
        return bool(flags.STREAM_WAIT)

    turns = [device.port, device.port, device.pdev, device.port, device.pdev]
    assert [waits(pdev) for pdev in turns] == [True, True, True, False, False]
    assert device.model.streams
    assert all(device.model.streams.values())


def test_neither_end_of_a_stream_is_stopped(host: Host) -> None:
    device = assign(host)
    host.ok(Rmi2.VDEV_DESTROY, *device.names)
    for end in (device.pdev, device.port):
        assert host.status(Rmi2.PDEV_STOP, end) == ERROR_DEVICE
    host.ok(Rmi2.PDEV_STREAM_DISCONNECT, device.pdev, device.port, device.stream)
    device.both_ends()
    for end in (device.pdev, device.port):
        host.ok(Rmi2.PDEV_STOP, end)


def test_a_stream_in_use_is_not_disconnected(host: Host) -> None:
    device = assign(host)
    names = (device.pdev, device.port, device.stream)
    assert host.status(Rmi2.PDEV_STREAM_DISCONNECT, *names) == ERROR_DEVICE
    assert host.status(Rmi2.PDEV_STREAM_KEY_REFRESH, device.port, *names[1:]) == ERROR_INPUT
    host.ok(Rmi2.VDEV_DESTROY, *device.names)
    host.ok(Rmi2.PDEV_STREAM_DISCONNECT, *names)


def test_what_fails_ends_both_ends(host: Host) -> None:
    device = Device(host)
    device.create_pdevs()
    device.identify()
    device.set_key()
    device.connect()
    host.ok(Rmi2.PDEV_STREAM_KEY_REFRESH, device.pdev, device.port, device.stream)
    host.ok(Rmi2.PDEV_ABORT, device.pdev)
    assert told(host, device.pdev) == PdevState.ERROR
    assert told(host, device.port) == PdevState.READY
    assert host.status(Rmi2.PDEV_ABORT, device.port) == ERROR_DEVICE, "it is idle again"
    assert host.rmm.streams == {}
    host.ok(Rmi2.PDEV_STOP, device.pdev)
    device.talk(Rmi2.PDEV_COMMUNICATE, device.pdev)
    assert told(host, device.pdev) == PdevState.STOPPED
