"""What does a device that can be trusted answer to SPDM, TDISP and IDE_KM? A minimal responder.

One physical function with one interface (TDI) per requester ID. It keeps the states of the
specifications and nothing else; keys and signatures are the stand-ins of `arch/spdm.py`. What it
can do wrong is its `TdiBehaviour`.
Source: DMTF DSP0274 1.2; PCI-SIG TDISP and IDE_KM.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum

from topbit.arch import spdm, tdisp
from topbit.arch.spdm import Spdm
from topbit.arch.tdisp import IdeKm, Tdisp, TdiState

PAGE = 4096
MMIO_IS_TEE = 0  # attributes of a range: neither MSI-X table nor non-TEE memory


class TdiBehaviour(StrEnum):
    """How does a device that asks to be trusted behave?"""

    GOOD = "good"
    WRONG_NONCE = "wrong-nonce"  # measurements with another nonce than asked for: a replay
    WRONG_KEY = "wrong-key"  # it has not the key of its certificate
    CHANGES_MEASUREMENT = "changes-measurement"  # other firmware once it is locked
    UNLOCKS_ITSELF = "unlocks-itself"  # its interface leaves the locked state by itself


class Interface:
    """In which state is one interface, and with which nonce may it be started?"""

    def __init__(self) -> None:
        self.state = TdiState.CONFIG_UNLOCKED
        self.nonce = b""


class TrustedDevice:
    """A physical device, as its mailbox shows it.

    Args:
        name: makes its key, its certificate and its measurement.
        interfaces: requester IDs.
        registers: where its registers are: (physical address, bytes).
        behaviour: what it does wrong.

    Attributes:
        key: its public key, which its certificate chain ends with.
        certificate: the chain.
        streams: keys of IDE streams that are in use, by (stream, sub-stream and direction).
    """

    def __init__(
        self,
        name: str,
        interfaces: Sequence[int],
        registers: Sequence[tuple[int, int]] = (),
        behaviour: TdiBehaviour = TdiBehaviour.GOOD,
    ) -> None:
        self.name = name
        self.interfaces = {rid: Interface() for rid in interfaces}
        self.registers = tuple(registers)
        self.behaviour = behaviour
        self.key = hashlib.sha384(f"public key of {name}".encode()).digest() * 2
        self.certificate = f"topbit certificate of {name}\n".encode() * 40 + self.key
        self.streams: dict[tuple[int, int], bool] = {}
        self._counter = 0
        self._transcript = b""
        self._session, self._secret = 0, b""
        self._requests: Mapping[int, Callable[[bytes], bytes]] = {
            Spdm.GET_VERSION: self._version,
            Spdm.GET_CAPABILITIES: self._capabilities,
            Spdm.NEGOTIATE_ALGORITHMS: self._algorithms,
            Spdm.GET_DIGESTS: self._digests,
            Spdm.GET_CERTIFICATE: self._certificate_portion,
            Spdm.KEY_EXCHANGE: self._key_exchange,
        }
        self._session_requests: Mapping[int, Callable[[bytes], bytes]] = {
            Spdm.FINISH: lambda request: spdm.header(Spdm.FINISH_RSP),
            Spdm.END_SESSION: lambda request: spdm.header(Spdm.END_SESSION_ACK),
            Spdm.GET_MEASUREMENTS: self._measurements,
            Spdm.VENDOR_DEFINED_REQUEST: self._vendor_defined,
        }

    def firmware(self) -> bytes:
        """Which measurement has its firmware now?"""
        locked = any(one.state != TdiState.CONFIG_UNLOCKED for one in self.interfaces.values())
        changed = self.behaviour is TdiBehaviour.CHANGES_MEASUREMENT and locked
        return hashlib.sha384(f"firmware{changed} of {self.name}".encode()).digest()

    def record(self) -> bytes:
        """Which measurement record does it give? One block: its firmware."""
        value = self.firmware()
        head = spdm.MEASUREMENT_BLOCK.pack(1, 1, 3 + len(value), spdm.FIRMWARE, len(value))
        return head + value

    def exchange(self, request: bytes) -> bytes:
        """Which response is to this request, whatever bytes it is?"""
        if spdm.code_of(request) not in self._requests or request[0] not in _VERSIONS:
            return self._in_session(request)
        return self._requests[request[1]](request)

    def _in_session(self, record: bytes) -> bytes:
        request = spdm.unseal(self._session, self._secret, record) if self._session else None
        if request is None:
            return spdm.header(Spdm.ERROR, spdm.SESSION_REQUIRED)
        handler = self._session_requests.get(spdm.code_of(request), _unexpected)
        response = spdm.seal(self._session, self._secret, handler(request))
        if spdm.code_of(request) == Spdm.END_SESSION:
            self._session = 0
        return response

    # Who is it?

    def _version(self, request: bytes) -> bytes:
        self._transcript = b""
        response = spdm.header(Spdm.VERSION, version=spdm.VERSION_1_0)
        return self._said(request, response + struct.pack("<BBH", 0, 1, spdm.VERSION_1_2 << 8))

    def _capabilities(self, request: bytes) -> bytes:
        body = spdm.CAPABILITIES.pack(0, 0, 0, 0, PAGE, PAGE)
        return self._said(request, spdm.header(Spdm.CAPABILITIES) + body)

    def _algorithms(self, request: bytes) -> bytes:
        body = spdm.ALGORITHMS.pack(
            36, 1, 0, spdm.HASH_SHA_384, spdm.ASYM_ECDSA_P384, spdm.HASH_SHA_384, 0, 0, 0
        )
        return self._said(request, spdm.header(Spdm.ALGORITHMS) + body)

    def _said(self, request: bytes, response: bytes) -> bytes:
        self._transcript += request + response
        return response

    def _digests(self, request: bytes) -> bytes:
        return spdm.header(Spdm.DIGESTS, 0, 1) + hashlib.sha384(self.certificate).digest()

    def _certificate_portion(self, request: bytes) -> bytes:
        if len(request) != spdm.HEADER.size + spdm.PORTIONS.size:
            return _invalid(request)
        offset, length = spdm.PORTIONS.unpack_from(request, spdm.HEADER.size)
        portion = self.certificate[offset : offset + min(length, spdm.PORTION)]
        rest = max(len(self.certificate) - offset - len(portion), 0)
        lengths = spdm.PORTIONS.pack(len(portion), rest)
        return spdm.header(Spdm.CERTIFICATE, request[2]) + lengths + portion

    def _key_exchange(self, request: bytes) -> bytes:
        if len(request) != spdm.HEADER.size + spdm.KEY_EXCHANGE.size:
            return _invalid(request)
        theirs = spdm.KEY_EXCHANGE.unpack_from(request, spdm.HEADER.size)[0]
        random, own = self._random(), 1 + self._counter % 0xFFFE
        said = self._transcript + self.certificate + request + random
        key = self.key
        if self.behaviour is TdiBehaviour.WRONG_KEY:
            key = bytes(len(key))
        self._session, self._secret = own << 16 | theirs, spdm.session_key(self.key, said)
        return spdm.header(Spdm.KEY_EXCHANGE_RSP) + spdm.KEY_EXCHANGE_RSP.pack(
            own,
            0,
            request[3],
            random,
            bytes(spdm.EXCHANGE_SIZE),
            0,
            spdm.sign(key, said),
            bytes(spdm.HASH_SIZE),
        )

    def _random(self) -> bytes:
        self._counter += 1
        return hashlib.sha256(f"{self.name} {self._counter}".encode()).digest()

    def _measurements(self, request: bytes) -> bytes:
        nonce = request[spdm.HEADER.size : spdm.HEADER.size + spdm.NONCE_SIZE]
        if len(nonce) != spdm.NONCE_SIZE:
            return _invalid(request)
        if self.behaviour is TdiBehaviour.WRONG_NONCE:
            nonce = bytes(spdm.NONCE_SIZE)
        record = self.record()
        head = spdm.MEASUREMENTS.pack(1, len(record).to_bytes(3, "little"))
        body = spdm.header(Spdm.MEASUREMENTS, 1) + head + record + nonce + bytes(2)
        return body + spdm.sign(self.key, request + body)

    # What shall its interface do?

    def _vendor_defined(self, request: bytes) -> bytes:
        carried = spdm.pci_sig_payload(request)
        answer: bytes | None = None
        protocol = 0
        if carried is not None:
            protocol, payload = carried
            known = {spdm.PROTOCOL_TDISP: self._tdisp, spdm.PROTOCOL_IDE_KM: self._ide_km}
            answer = known.get(protocol, _no_answer)(payload)
        if answer is None:
            return _invalid(request)
        return spdm.pci_sig(Spdm.VENDOR_DEFINED_RESPONSE, protocol, answer)

    def _ide_km(self, payload: bytes) -> bytes | None:
        if len(payload) < tdisp.IDE_KM.size:
            return None
        kind, stream, _, which, port = tdisp.IDE_KM.unpack_from(payload)
        if kind not in tdisp.ANSWER_TO:
            return None
        if kind != IdeKm.QUERY:
            self.streams[stream, which] = kind == IdeKm.K_SET_GO
        return tdisp.IDE_KM.pack(tdisp.ANSWER_TO[IdeKm(kind)], stream, 0, which, port)

    def _tdisp(self, payload: bytes) -> bytes | None:
        found = tdisp.parse(payload)
        if found is None:
            return None
        kind, rid, body = found
        interface = self.interfaces.get(rid)
        if interface is None:
            return _tdisp_error(rid, tdisp.INVALID_REQUEST)
        if self.behaviour is TdiBehaviour.UNLOCKS_ITSELF and interface.state == TdiState.RUN:
            interface.state = TdiState.ERROR
        return self._of_interface(interface, kind, rid, body)

    def _of_interface(self, interface: Interface, kind: int, rid: int, body: bytes) -> bytes:
        if kind == Tdisp.GET_VERSION:
            return tdisp.message(Tdisp.VERSION, rid, bytes((1, tdisp.VERSION_1_0)))
        if kind == Tdisp.GET_CAPABILITIES:
            return tdisp.message(Tdisp.CAPABILITIES, rid, bytes(28))
        if kind == Tdisp.GET_DEVICE_INTERFACE_STATE:
            return tdisp.message(Tdisp.DEVICE_INTERFACE_STATE, rid, bytes((interface.state,)))
        if kind == Tdisp.GET_DEVICE_INTERFACE_REPORT:
            return self._report(interface, rid, body)
        if kind == Tdisp.LOCK_INTERFACE_REQUEST:
            if interface.state != TdiState.CONFIG_UNLOCKED or len(body) != tdisp.LOCK.size:
                return _tdisp_error(rid, tdisp.INVALID_INTERFACE_STATE)
            interface.state, interface.nonce = TdiState.CONFIG_LOCKED, self._random()
            return tdisp.message(Tdisp.LOCK_INTERFACE_RESPONSE, rid, interface.nonce)
        if kind == Tdisp.START_INTERFACE_REQUEST:
            if interface.state != TdiState.CONFIG_LOCKED:
                return _tdisp_error(rid, tdisp.INVALID_INTERFACE_STATE)
            if body != interface.nonce:
                return _tdisp_error(rid, tdisp.INVALID_NONCE)
            interface.state = TdiState.RUN
            return tdisp.message(Tdisp.START_INTERFACE_RESPONSE, rid)
        if kind == Tdisp.STOP_INTERFACE_REQUEST:
            interface.state, interface.nonce = TdiState.CONFIG_UNLOCKED, b""
            return tdisp.message(Tdisp.STOP_INTERFACE_RESPONSE, rid)
        return _tdisp_error(rid, tdisp.INVALID_REQUEST)

    def _report(self, interface: Interface, rid: int, body: bytes) -> bytes:
        known = interface.state in (TdiState.CONFIG_LOCKED, TdiState.RUN)
        if not known or len(body) != tdisp.REPORT_REQUEST.size:
            return _tdisp_error(rid, tdisp.INVALID_INTERFACE_STATE)
        offset, length = tdisp.REPORT_REQUEST.unpack(body)
        report = self.interface_report()
        portion = report[offset : offset + length]
        rest = max(len(report) - offset - len(portion), 0)
        head = tdisp.REPORT.pack(len(portion), rest)
        return tdisp.message(Tdisp.DEVICE_INTERFACE_REPORT, rid, head + portion)

    def interface_report(self) -> bytes:
        """What does it tell of its registers? (TDI_REPORT)"""
        report = tdisp.INTERFACE_REPORT.pack(0, 0, 0, 0, len(self.registers))
        for number, (pa, size) in enumerate(self.registers):
            report += tdisp.MMIO_RANGE.pack(pa >> 12, size >> 12, number << 16 | MMIO_IS_TEE)
        return report + struct.pack("<I", 0)


_VERSIONS = (spdm.VERSION_1_0, spdm.VERSION_1_2)


def _unexpected(request: bytes) -> bytes:
    return spdm.header(Spdm.ERROR, spdm.UNEXPECTED_REQUEST)


def _invalid(request: bytes) -> bytes:
    return spdm.header(Spdm.ERROR, spdm.INVALID_REQUEST)


def _no_answer(payload: bytes) -> bytes | None:
    return None


def _tdisp_error(rid: int, code: int) -> bytes:
    return tdisp.message(Tdisp.ERROR, rid, tdisp.ERROR.pack(code, 0))
