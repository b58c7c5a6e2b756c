"""Physical devices and their streams: who is identified, and in which order."""

import pytest

from rmm_devices import COMM, SID, Device, assign, device_host
from rmm_host import PARAMS, RUN, Host
from topbit.arch.rmi import Rmi2
from topbit.arch.rmi_da import CommExitFlags, DevCommData, PdevParams, PdevState
from topbit.rmm import State

ERROR_INPUT, NOT_SUPPORTED, ERROR_DEVICE = 1, 5, 6


@pytest.fixture
def host() -> Host:
    return device_host()


def told(host: Host, pdev: int) -> int:
    return host.ok(Rmi2.PDEV_GET_STATE, pdev)[1]


def test_life_of_an_endpoint(host: Host) -> None:
    device = Device(host)
    device.create_pdevs()
    states = [told(host, device.pdev)]
    assert host.status(Rmi2.PDEV_SET_PUBKEY, device.pdev, PARAMS) == ERROR_INPUT, "no length"
    device.identify()
    states.append(told(host, device.pdev))
    assert host.status(Rmi2.PDEV_COMMUNICATE, device.pdev, COMM) == ERROR_DEVICE
    device.set_key()
    states.append(told(host, device.pdev))
    device.connect()
    aux = device.physical.aux
    assert [host.rmm.granules.get(pa) for pa in aux] == [State.PDEV_AUX] * 3
    for call in (Rmi2.PDEV_STOP, Rmi2.PDEV_DESTROY):
        assert host.status(call, device.pdev) == ERROR_DEVICE
    names = (device.pdev, device.port, device.stream)
    host.ok(Rmi2.PDEV_STREAM_KEY_REFRESH, *names)
    assert host.status(Rmi2.PDEV_STREAM_COMPLETE, *names) == ERROR_DEVICE, "too early"
    device.both_ends()
    assert host.status(Rmi2.PDEV_STREAM_KEY_PURGE, *names) == NOT_SUPPORTED
    host.ok(Rmi2.PDEV_STREAM_DISCONNECT, *names)
    device.both_ends()
    assert host.status(Rmi2.PDEV_STREAM_COMPLETE, *names) == ERROR_INPUT, "it is gone"
    host.ok(Rmi2.PDEV_STOP, device.pdev)
    device.talk(Rmi2.PDEV_COMMUNICATE, device.pdev)
    states.append(told(host, device.pdev))
    assert states == [PdevState.NEW, PdevState.NEEDS_KEY, PdevState.READY, PdevState.STOPPED]
    assert host.operate(Rmi2.PDEV_DESTROY, device.pdev)[0] == 0
    assert [host.rmm.granules.get(pa) for pa in (device.pdev, *aux)] == [State.DELEGATED] * 4


def test_a_root_port_needs_no_memory(host: Host) -> None:
    device = Device(host)
    device.create_pdevs()
    assert told(host, device.port) == PdevState.READY
    host.ok(Rmi2.PDEV_STOP, device.port)
    device.talk(Rmi2.PDEV_COMMUNICATE, device.port)
    assert host.rmm.rmi(Rmi2.PDEV_DESTROY, [device.port])[0] == 0
    assert host.rmm.granules.get(device.port) == State.DELEGATED


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ({PdevParams.FLAGS: 7}, ERROR_INPUT),
        ({PdevParams.FLAGS: 5}, NOT_SUPPORTED),
        ({PdevParams.FLAGS: 2}, NOT_SUPPORTED),
        ({PdevParams.RID_TOP: 0}, ERROR_INPUT),
        ({PdevParams.RID_TOP: 0x1_0001}, ERROR_INPUT),
        ({PdevParams.HASH_ALGO: 3}, ERROR_INPUT),
        ({PdevParams.ID_INDEX: 8}, ERROR_INPUT),
        ({}, 13 | 1 << 8),
    ],
)
def test_what_can_be_a_device(host: Host, fields: dict[int, int], status: int) -> None:
    device, pdev = Device(host), host.granule()
    usual = {PdevParams.FLAGS: 3, PdevParams.RID_BASE: 0, PdevParams.RID_TOP: 1}
    params = device.page(usual | fields)
    assert host.status(Rmi2.PDEV_CREATE, pdev, params) == status
    assert (host.rmm.granules.get(pdev) == State.PARTIAL) == (status > 255)


class TestMessages:
    """The page of a COMMUNICATE call."""

    def enter(self, device: Device, **fields: int) -> int:
        page = {DevCommData.REQ_ADDR: RUN, DevCommData.RESP_ADDR: RUN}
        named = {getattr(DevCommData, name): value for name, value in fields.items()}
        device.page(page | named, COMM)
        return device.host.status(Rmi2.PDEV_COMMUNICATE, device.pdev, COMM)

    @pytest.fixture
    def device(self, host: Host) -> Device:
        device = Device(host)
        device.create_pdevs()
        return device

    @pytest.mark.parametrize(
        "wrong",
        [
            {"REQ_ADDR": 1 << 44},
            {"REQ_ADDR": RUN + 8},
            {"RESP_ADDR": (1 << 64) - 1},
            {"RESP_LEN": 4097},
            {"ENTER_STATUS": 3},
        ],
    )
    def test_arguments(self, device: Device, wrong: dict[str, int]) -> None:
        assert self.enter(device, **wrong) == ERROR_INPUT
        assert self.enter(device) == 0, "nothing was lost"
        assert self.enter(device) == ERROR_INPUT, "a request is out"

    def test_a_host_without_response_ends_it(self, device: Device) -> None:
        assert self.enter(device) == 0
        assert self.enter(device, ENTER_STATUS=2) == ERROR_DEVICE
        assert told(device.host, device.pdev) == PdevState.ERROR

    @pytest.mark.parametrize("length", [0, 1, 4, 4096])
    def test_any_response_is_an_answer_or_an_error(self, device: Device, length: int) -> None:
        assert self.enter(device) == 0
        device.host.memory.fill(RUN, 4096, 0x5A)
        assert self.enter(device, ENTER_STATUS=1, RESP_LEN=length) == ERROR_DEVICE

    def test_it_says_what_is_to_be_kept(self, device: Device) -> None:
        self.enter(device)
        read = device.host.memory.read_u64
        flags = CommExitFlags.of(read(COMM + DevCommData.EXIT_FLAGS))
        assert (flags.REQ_SEND, flags.RSP_WAIT, flags.REQ_CACHE, flags.RSP_CACHE) == (1, 1, 1, 1)
        assert read(COMM + DevCommData.REQ_LEN) == 4
        assert device.host.memory.read(RUN, 4) == bytes((0x10, 0x84, 0, 0)), "GET_VERSION"


def test_requester_ids_are_those_of_the_device(host: Host) -> None:
    device = assign(host)
    assert (device.physical.rid_base, device.physical.rid_top) == (SID, SID + 2)
