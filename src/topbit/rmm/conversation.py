"""What does the RMM say to a device, and which answers can it not have? SPDM, TDISP and IDE_KM.

Each function is one conversation: it yields requests and is sent the responses. A response that
is no answer to its request, whose MAC or signature is wrong, or that says that the device is not
as it should be, is a `DeviceFault`.
Sources: DSP0274 1.2; PCI-SIG TDISP and IDE_KM. Which messages make an operation of DEN0137 is the
RMM's choice.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Generator

from topbit.arch import spdm, tdisp
from topbit.arch.rmi_da import CommObject, CommProtocol
from topbit.arch.spdm import Spdm
from topbit.arch.tdisp import IdeKm, Tdisp, TdiState
from topbit.rmm.device import WAIT, Conversation, DeviceFault, Message, Pdev, Session, Vdev

Answer = Generator["Message | None", bytes, bytes]
MAX_CHAIN = 1 << 16


def _require(condition: bool, what: str) -> None:
    if not condition:
        raise DeviceFault(what)


def _ask(request: bytes, wanted: Spdm, keep: int | None = None) -> Answer:
    """What answers a request outside a session?"""
    response = yield Message(request, keep=keep)
    _require(spdm.code_of(response) == wanted, f"the device's answer is no {wanted.name}")
    return response


def _ask_in(session: Session, request: bytes, wanted: Spdm, keep: int | None = None) -> Answer:
    """What answers a request within a session?"""
    sealed = spdm.seal(session.identifier, session.secret, request)
    record = yield Message(sealed, CommProtocol.SECURE_SPDM, keep)
    response = spdm.unseal(session.identifier, session.secret, record)
    _require(response is not None, "the device's answer does not belong to the session")
    _require(spdm.code_of(response or b"") == wanted, f"the device's answer is no {wanted.name}")
    return response or b""


def _in_portions(ask: Callable[[int], Answer], lengths: struct.Struct, what: str) -> Answer:
    """What is the whole of a long answer, which is asked for portion by portion?

    Args:
        ask: asks for what stands from so many bytes on.
        lengths: what stands in front of each portion: its length, and how much is left.
        what: what it is, for people.
    """
    whole, remainder = b"", 1
    while remainder:
        answer = yield from ask(len(whole))
        _require(len(answer) >= lengths.size, f"a {what} without its lengths")
        length, remainder = lengths.unpack_from(answer)
        portion = answer[lengths.size :]
        _require(len(portion) == length > 0, f"a {what} of another length than it says")
        whole += portion
        _require(len(whole) + remainder <= MAX_CHAIN, f"the {what} does not end")
    return whole


def identify(pdev: Pdev) -> Conversation:
    """Learn which versions and algorithms a device has, and its certificate chain."""
    session = pdev.session
    transcript = b""
    agree = (
        (spdm.header(Spdm.GET_VERSION, version=spdm.VERSION_1_0), Spdm.VERSION),
        (
            spdm.header(Spdm.GET_CAPABILITIES) + spdm.CAPABILITIES.pack(0, 0, 0, 0, 4096, 4096),
            Spdm.CAPABILITIES,
        ),
        (
            spdm.header(Spdm.NEGOTIATE_ALGORITHMS)
            + spdm.NEGOTIATE.pack(32, 1, 0, spdm.ASYM_ECDSA_P384, spdm.HASH_SHA_384, 0, 0, 0),
            Spdm.ALGORITHMS,
        ),
    )
    for request, wanted in agree:
        response = yield from _ask(request, wanted, CommObject.VCA)
        transcript += request + response
    session.transcript = transcript
    yield from _ask(spdm.header(Spdm.GET_DIGESTS), Spdm.DIGESTS)

    def portion(at: int) -> Answer:
        where = spdm.PORTIONS.pack(at, spdm.PORTION)
        request = spdm.header(Spdm.GET_CERTIFICATE, pdev.slot & 0xF) + where
        response = yield from _ask(request, Spdm.CERTIFICATE, CommObject.CERTIFICATE)
        return response[spdm.HEADER.size :]

    session.certificate = yield from _in_portions(portion, spdm.PORTIONS, "certificate chain")


def establish(pdev: Pdev, nonce: Callable[[], int]) -> Conversation:
    """Open a session with a device that has the key that the host named."""
    session = pdev.session
    random = nonce().to_bytes(8, "little") * 4
    number = 1 + nonce() % 0xFFFE
    exchange = spdm.KEY_EXCHANGE.pack(number, 0, random, bytes(spdm.EXCHANGE_SIZE), 0)
    request = spdm.header(Spdm.KEY_EXCHANGE, 0, pdev.slot & 0xF) + exchange
    response = yield from _ask(request, Spdm.KEY_EXCHANGE_RSP)
    body = response[spdm.HEADER.size :]
    _require(len(body) == spdm.KEY_EXCHANGE_RSP.size, "a KEY_EXCHANGE_RSP of another length")
    theirs, _, _, their_random, _, _, signature, _ = spdm.KEY_EXCHANGE_RSP.unpack(body)
    said = session.transcript + session.certificate + request + their_random
    _require(signature == spdm.sign(session.key, said), "the device does not have the key")
    session.secret = spdm.session_key(session.key, said)
    session.identifier = theirs << 16 | number
    finish = spdm.header(Spdm.FINISH) + bytes(spdm.HASH_SIZE)
    yield from _ask_in(session, finish, Spdm.FINISH_RSP)


def end_session(pdev: Pdev) -> Conversation:
    """Close the session, if there is one."""
    if pdev.session.identifier:
        yield from _ask_in(pdev.session, spdm.header(Spdm.END_SESSION), Spdm.END_SESSION_ACK)
        pdev.session.identifier = 0


# A stream between endpoint and root port.


def _key_message(session: Session, kind: IdeKm, stream: int, which: int, key: bytes) -> Answer:
    payload = tdisp.ide_km(kind, stream, which, key)
    request = spdm.pci_sig(Spdm.VENDOR_DEFINED_REQUEST, spdm.PROTOCOL_IDE_KM, payload)
    response = yield from _ask_in(session, request, Spdm.VENDOR_DEFINED_RESPONSE)
    carried = spdm.pci_sig_payload(response)
    _require(carried is not None and carried[0] == spdm.PROTOCOL_IDE_KM, "no IDE_KM answer")
    answer = carried[1] if carried else b""
    _require(len(answer) >= tdisp.IDE_KM.size, "an IDE_KM answer of another length")
    object_id, their_stream, status, about, _ = tdisp.IDE_KM.unpack_from(answer)
    right = (tdisp.ANSWER_TO[kind], stream, 0)
    _require((object_id, their_stream, status) == right, f"{kind.name} was not acknowledged")
    _require(kind is IdeKm.QUERY or about == which, f"{kind.name} was acknowledged for another key")
    return answer


def _each_key(session: Session, kind: IdeKm, stream: int, key: bytes = b"") -> Conversation:
    for sub_stream in range(tdisp.SUB_STREAMS):
        for direction in range(tdisp.DIRECTIONS):
            which = sub_stream << 4 | direction << 1
            yield from _key_message(session, kind, stream, which, key)


def set_keys(pdev: Pdev, stream: int, nonce: Callable[[], int], *, query: bool) -> Conversation:
    """Program the endpoint's keys of a stream and let it use them; then wait for the port."""
    if query:
        yield from _key_message(pdev.session, IdeKm.QUERY, stream, 0, b"")
    key = nonce().to_bytes(8, "little") * (tdisp.KEY_SIZE // 8)
    yield from _each_key(pdev.session, IdeKm.KEY_PROG, stream, key)
    yield from _each_key(pdev.session, IdeKm.K_SET_GO, stream)
    yield WAIT


def stop_keys(pdev: Pdev, stream: int) -> Conversation:
    """Let the endpoint use its keys of a stream no longer; then wait for the port."""
    yield from _each_key(pdev.session, IdeKm.K_SET_STOP, stream)
    yield WAIT


def wait_for_the_other_end() -> Conversation:
    """Do the root port's part of an operation on a stream; it needs no message."""
    yield WAIT


def nothing() -> Conversation:
    """Need no message."""
    yield from ()


# The interface that is assigned.


def _interface(
    vdev: Vdev, kind: Tdisp, wanted: Tdisp, body: bytes = b"", keep: int | None = None
) -> Answer:
    payload = tdisp.message(kind, vdev.tdi_id, body)
    request = spdm.pci_sig(Spdm.VENDOR_DEFINED_REQUEST, spdm.PROTOCOL_TDISP, payload)
    response = yield from _ask_in(vdev.pdev.session, request, Spdm.VENDOR_DEFINED_RESPONSE, keep)
    carried = spdm.pci_sig_payload(response)
    _require(carried is not None and carried[0] == spdm.PROTOCOL_TDISP, "no TDISP answer")
    found = tdisp.parse(carried[1] if carried else b"")
    _require(found is not None, "no TDISP 1.0 answer")
    their_kind, interface, answer = found or (0, 0, b"")
    _require(their_kind == wanted, f"the device's answer to {kind.name} is no {wanted.name}")
    _require(interface == vdev.tdi_id, "the device's answer is about another interface")
    return answer


def _expect_state(vdev: Vdev, state: TdiState) -> Conversation:
    answer = yield from _interface(
        vdev, Tdisp.GET_DEVICE_INTERFACE_STATE, Tdisp.DEVICE_INTERFACE_STATE
    )
    _require(answer == bytes((state,)), f"the interface is not in {state.name}")


def lock(vdev: Vdev, offset: int) -> Conversation:
    """Freeze the interface's configuration. `offset`: what its report adds to addresses."""
    yield from _interface(vdev, Tdisp.GET_VERSION, Tdisp.VERSION)
    yield from _interface(vdev, Tdisp.GET_CAPABILITIES, Tdisp.CAPABILITIES, bytes(4))
    yield from _expect_state(vdev, TdiState.CONFIG_UNLOCKED)
    wanted = tdisp.LOCK.pack(tdisp.LOCK_NO_FIRMWARE_UPDATE, 0, offset, 0)
    nonce = yield from _interface(
        vdev, Tdisp.LOCK_INTERFACE_REQUEST, Tdisp.LOCK_INTERFACE_RESPONSE, wanted
    )
    _require(len(nonce) == tdisp.NONCE_SIZE, "a nonce of another length")
    vdev.start_nonce = nonce
    yield from _expect_state(vdev, TdiState.CONFIG_LOCKED)


def start(vdev: Vdev) -> Conversation:
    """Let the locked interface run, with the nonce that it gave at the lock."""
    yield from _expect_state(vdev, TdiState.CONFIG_LOCKED)
    yield from _interface(
        vdev, Tdisp.START_INTERFACE_REQUEST, Tdisp.START_INTERFACE_RESPONSE, vdev.start_nonce
    )
    yield from _expect_state(vdev, TdiState.RUN)


def unlock(vdev: Vdev) -> Conversation:
    """Stop the interface and let it be configured again."""
    yield from _interface(vdev, Tdisp.STOP_INTERFACE_REQUEST, Tdisp.STOP_INTERFACE_RESPONSE)
    yield from _expect_state(vdev, TdiState.CONFIG_UNLOCKED)


def interface_report(vdev: Vdev) -> Conversation:
    """Fetch what the interface tells of itself: where its registers are."""

    def portion(at: int) -> Answer:
        where = tdisp.REPORT_REQUEST.pack(at, spdm.PORTION)
        wanted, kept = Tdisp.DEVICE_INTERFACE_REPORT, CommObject.INTERFACE_REPORT
        request = Tdisp.GET_DEVICE_INTERFACE_REPORT
        return (yield from _interface(vdev, request, wanted, where, kept))

    vdev.report = yield from _in_portions(portion, tdisp.REPORT, "report")


def measurements(vdev: Vdev, nonce: Callable[[], int]) -> Conversation:
    """Fetch the device's measurements, fresh: signed, and with a nonce of the RMM's."""
    session = vdev.pdev.session
    fresh = nonce().to_bytes(8, "little") * 4
    request = spdm.header(Spdm.GET_MEASUREMENTS, 1, 0xFF) + fresh + bytes((vdev.pdev.slot & 0xF,))
    response = yield from _ask_in(session, request, Spdm.MEASUREMENTS, CommObject.MEASUREMENTS)
    body = response[spdm.HEADER.size :]
    _require(len(body) >= spdm.MEASUREMENTS.size, "MEASUREMENTS without their length")
    _, length = spdm.MEASUREMENTS.unpack_from(body)
    size = int.from_bytes(length, "little")
    tail = body[spdm.MEASUREMENTS.size + size :]
    signed, signature = response[: -spdm.SIGNATURE_SIZE], response[-spdm.SIGNATURE_SIZE :]
    _require(len(tail) == spdm.NONCE_SIZE + 2 + spdm.SIGNATURE_SIZE, "MEASUREMENTS of another size")
    _require(tail[: spdm.NONCE_SIZE] == fresh, "the measurements have another nonce")
    _require(signature == spdm.sign(session.key, request + signed), "a wrong signature")
    vdev.measurements = body[spdm.MEASUREMENTS.size : spdm.MEASUREMENTS.size + size]
