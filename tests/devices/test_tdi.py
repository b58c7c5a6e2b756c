"""What does a device answer that is asked what it is, and what can it do wrong?"""

import hashlib
import struct

import pytest

from topbit.arch import spdm, tdisp
from topbit.arch.spdm import Spdm
from topbit.arch.tdisp import IdeKm, Tdisp, TdiState
from topbit.devices.tdi import TdiBehaviour, TrustedDevice

RID, REGISTERS = 0x10, [(0x1000_0000, 0x2000)]
NONCE = bytes(range(32))
INVALID, SESSION_REQUIRED = (spdm.header(Spdm.ERROR, code) for code in (1, 0x0B))


class Talk:
    """A session with a device, by the layouts alone."""

    def __init__(self, behaviour: TdiBehaviour = TdiBehaviour.GOOD) -> None:
        self.device = TrustedDevice("accel0", [RID], REGISTERS, behaviour)
        self.number, self.secret = 0, b""

    def open(self) -> bool:
        """Whether the device showed that it has the key of its certificate."""
        said = b""
        for request in (
            spdm.header(Spdm.GET_VERSION, version=0x10),
            spdm.header(Spdm.GET_CAPABILITIES),
            spdm.header(Spdm.NEGOTIATE_ALGORITHMS),
        ):
            said += request + self.device.exchange(request)
        exchange = struct.pack("<HBx32s96sH", 7, 0, bytes(32), bytes(96), 0)
        request = spdm.header(Spdm.KEY_EXCHANGE) + exchange
        response = self.device.exchange(request)
        assert spdm.code_of(response) == Spdm.KEY_EXCHANGE_RSP
        theirs, random = struct.unpack_from("<Hxx32s", response, 4)
        signature = response[4 + 36 + 96 + 2 :][:96]
        said += self.device.certificate + request + random
        self.number, self.secret = theirs << 16 | 7, spdm.session_key(self.device.key, said)
        return signature == spdm.sign(self.device.key, said)

    def ask(self, request: bytes) -> bytes:
        record = self.device.exchange(spdm.seal(self.number, self.secret, request))
        response = spdm.unseal(self.number, self.secret, record)
        assert response is not None
        return response

    def tdisp(self, kind: Tdisp, body: bytes = b"", rid: int = RID) -> tuple[int, bytes]:
        payload = tdisp.message(kind, rid, body)
        carried = spdm.pci_sig_payload(
            self.ask(spdm.pci_sig(Spdm.VENDOR_DEFINED_REQUEST, spdm.PROTOCOL_TDISP, payload))
        )
        assert carried is not None
        assert carried[0] == spdm.PROTOCOL_TDISP
        found = tdisp.parse(carried[1])
        assert found is not None
        assert found[1] == rid
        return found[0], found[2]

    def state(self) -> int:
        return self.tdisp(Tdisp.GET_DEVICE_INTERFACE_STATE)[1][0]

    def lock(self) -> bytes:
        kind, nonce = self.tdisp(Tdisp.LOCK_INTERFACE_REQUEST, bytes(20))
        assert kind == Tdisp.LOCK_INTERFACE_RESPONSE
        return nonce


@pytest.fixture
def talk() -> Talk:
    talk = Talk()
    assert talk.open()
    return talk


@pytest.mark.parametrize("behaviour", list(TdiBehaviour))
def test_only_the_right_key_signs(behaviour: TdiBehaviour) -> None:
    assert Talk(behaviour).open() == (behaviour is not TdiBehaviour.WRONG_KEY)


def test_the_certificate_comes_in_portions_and_ends_with_the_key() -> None:
    device, chain = TrustedDevice("accel0", [RID]), b""
    while True:
        where = struct.pack("<HH", len(chain), 1000)
        response = device.exchange(spdm.header(Spdm.GET_CERTIFICATE) + where)
        length, rest = struct.unpack_from("<HH", response, 4)
        assert length == len(response) - 8 <= 1000
        chain += response[8:]
        if not rest:
            break
    assert chain == device.certificate
    assert chain.endswith(device.key)
    digests = device.exchange(spdm.header(Spdm.GET_DIGESTS))
    assert digests[4:] == hashlib.sha384(chain).digest()
    other = TrustedDevice("accel1", [RID])
    assert (other.key, other.certificate) != (device.key, device.certificate)


def test_an_interface_is_locked_started_and_stopped(talk: Talk) -> None:
    assert talk.state() == TdiState.CONFIG_UNLOCKED
    nonce = talk.lock()
    assert talk.state() == TdiState.CONFIG_LOCKED
    assert talk.tdisp(Tdisp.LOCK_INTERFACE_REQUEST, bytes(20))[0] == Tdisp.ERROR
    wrong = talk.tdisp(Tdisp.START_INTERFACE_REQUEST, bytes(32))
    assert wrong == (Tdisp.ERROR, struct.pack("<II", tdisp.INVALID_NONCE, 0))
    assert talk.tdisp(Tdisp.START_INTERFACE_REQUEST, nonce)[0] == Tdisp.START_INTERFACE_RESPONSE
    assert talk.state() == TdiState.RUN
    assert talk.tdisp(Tdisp.START_INTERFACE_REQUEST, nonce)[0] == Tdisp.ERROR
    assert talk.tdisp(Tdisp.STOP_INTERFACE_REQUEST)[0] == Tdisp.STOP_INTERFACE_RESPONSE
    assert talk.state() == TdiState.CONFIG_UNLOCKED
    assert talk.lock() != nonce


def test_its_report_tells_its_registers_once_it_is_locked(talk: Talk) -> None:
    wanted = struct.pack("<HH", 0, 1024)
    assert talk.tdisp(Tdisp.GET_DEVICE_INTERFACE_REPORT, wanted)[0] == Tdisp.ERROR
    talk.lock()
    kind, body = talk.tdisp(Tdisp.GET_DEVICE_INTERFACE_REPORT, wanted)
    assert kind == Tdisp.DEVICE_INTERFACE_REPORT
    assert body[4:] == talk.device.interface_report()
    assert struct.unpack_from("<IQII", body, 16) == (1, 0x1_0000, 2, 0)
    part = talk.tdisp(Tdisp.GET_DEVICE_INTERFACE_REPORT, struct.pack("<HH", 10, 3))[1]
    assert part == struct.pack("<HH", 3, len(body) - 4 - 13) + body[14:17]


@pytest.mark.parametrize("behaviour", [TdiBehaviour.GOOD, TdiBehaviour.WRONG_NONCE])
def test_measurements_are_signed_and_fresh(behaviour: TdiBehaviour) -> None:
    talk = Talk(behaviour)
    talk.open()
    request = spdm.header(Spdm.GET_MEASUREMENTS, 1, 0xFF) + NONCE + b"\0"
    response = talk.ask(request)
    size = int.from_bytes(response[5:8], "little")
    assert response[8 : 8 + size] == talk.device.record()
    assert (response[8 + size : 40 + size] == NONCE) == (behaviour is TdiBehaviour.GOOD)
    assert response[-96:] == spdm.sign(talk.device.key, request + response[:-96])


def test_firmware_that_changes_once_it_is_locked() -> None:
    talk, good = Talk(TdiBehaviour.CHANGES_MEASUREMENT), TrustedDevice("accel0", [RID])
    talk.open()
    assert talk.device.record() == good.record()
    talk.lock()
    assert talk.device.record() != good.record()


def test_an_interface_that_leaves_the_running_state_by_itself() -> None:
    talk = Talk(TdiBehaviour.UNLOCKS_ITSELF)
    talk.open()
    nonce = talk.lock()
    assert talk.tdisp(Tdisp.START_INTERFACE_REQUEST, nonce)[0] == Tdisp.START_INTERFACE_RESPONSE
    assert talk.state() == TdiState.ERROR


def test_keys_of_a_stream_are_set_and_stopped(talk: Talk) -> None:
    for kind, used in ((IdeKm.KEY_PROG, False), (IdeKm.K_SET_GO, True), (IdeKm.K_SET_STOP, False)):
        payload = tdisp.ide_km(kind, 3, 0x12, bytes(40))
        response = talk.ask(
            spdm.pci_sig(Spdm.VENDOR_DEFINED_REQUEST, spdm.PROTOCOL_IDE_KM, payload)
        )
        answer = tdisp.ide_km(tdisp.ANSWER_TO[kind], 3, 0x12)
        assert spdm.pci_sig_payload(response) == (spdm.PROTOCOL_IDE_KM, answer)
        assert talk.device.streams == {(3, 0x12): used}


@pytest.mark.parametrize(
    ("request_", "response"),
    [
        (b"", SESSION_REQUIRED),
        (b"\x12", SESSION_REQUIRED),
        (spdm.header(Spdm.FINISH), SESSION_REQUIRED),
        (spdm.header(Spdm.GET_DIGESTS, version=0x11), SESSION_REQUIRED),
        (spdm.header(Spdm.GET_CERTIFICATE), INVALID),
        (spdm.header(Spdm.KEY_EXCHANGE) + b"short", INVALID),
    ],
)
def test_any_bytes_have_an_answer(request_: bytes, response: bytes) -> None:
    assert TrustedDevice("accel0", [RID]).exchange(request_) == response


def test_within_a_session_as_well(talk: Talk) -> None:
    assert talk.ask(spdm.header(Spdm.GET_MEASUREMENTS)) == INVALID
    assert talk.ask(spdm.header(Spdm.VENDOR_DEFINED_REQUEST)) == INVALID
    assert talk.ask(b"") == spdm.header(Spdm.ERROR, spdm.UNEXPECTED_REQUEST)
    for protocol, payload in ((spdm.PROTOCOL_TDISP, b""), (spdm.PROTOCOL_IDE_KM, b"\1"), (9, b"")):
        assert talk.ask(spdm.pci_sig(Spdm.VENDOR_DEFINED_REQUEST, protocol, payload)) == INVALID
    assert talk.tdisp(Tdisp.GET_VERSION) == (Tdisp.VERSION, b"\1\x10")
    assert talk.tdisp(Tdisp.VERSION)[0] == Tdisp.ERROR
    assert talk.tdisp(Tdisp.GET_VERSION, rid=RID + 1)[0] == Tdisp.ERROR
    talk.ask(spdm.header(Spdm.END_SESSION))
    sealed = spdm.seal(talk.number, talk.secret, spdm.header(Spdm.FINISH))
    assert talk.device.exchange(sealed) == SESSION_REQUIRED
