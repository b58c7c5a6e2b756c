"""How are the messages laid out in which a device proves what it is? (SPDM)

Only what the RMM asks of a device and what it answers. A message is a header of four bytes and
little-endian fields. Within a session it travels in a record: the session's ID, the length of what
follows, the message, and a MAC.
Source: DMTF DSP0274 1.2 (messages), DSP0277 1.1 (records), DSP0275 (PCI-SIG as a standards body).
"""

from __future__ import annotations

import hashlib
import hmac
import struct
from enum import IntEnum

VERSION_1_0, VERSION_1_2 = 0x10, 0x12  # GET_VERSION is always of 1.0
HASH_SIZE = 48  # SHA-384
NONCE_SIZE = 32
EXCHANGE_SIZE = SIGNATURE_SIZE = 96  # of P-384
MAC_SIZE = 16
PORTION = 1024  # bytes of a certificate chain in one message


class Spdm(IntEnum):
    """Which request or response is it? (RequestResponseCode)"""

    DIGESTS = 0x01
    CERTIFICATE = 0x02
    VERSION = 0x04
    MEASUREMENTS = 0x60
    CAPABILITIES = 0x61
    ALGORITHMS = 0x63
    KEY_EXCHANGE_RSP = 0x64
    FINISH_RSP = 0x65
    END_SESSION_ACK = 0x6C
    VENDOR_DEFINED_RESPONSE = 0x7E
    ERROR = 0x7F
    GET_DIGESTS = 0x81
    GET_CERTIFICATE = 0x82
    GET_VERSION = 0x84
    GET_MEASUREMENTS = 0xE0
    GET_CAPABILITIES = 0xE1
    NEGOTIATE_ALGORITHMS = 0xE3
    KEY_EXCHANGE = 0xE4
    FINISH = 0xE5
    END_SESSION = 0xEC
    VENDOR_DEFINED_REQUEST = 0xFE


INVALID_REQUEST, UNEXPECTED_REQUEST, SESSION_REQUIRED = 0x01, 0x04, 0x0B  # of ERROR, Param1
PROTOCOL_IDE_KM, PROTOCOL_TDISP = 0, 1  # of PCI-SIG's vendor-defined messages

HEADER = struct.Struct("<4B")  # SPDMVersion, RequestResponseCode, Param1, Param2
CAPABILITIES = struct.Struct("<BBHIII")  # -, CTExponent, -, Flags, DataTransferSize, MaxSize
NEGOTIATE = struct.Struct("<HBBII12xBBH")  # Length, ..., BaseAsymAlgo, BaseHashAlgo, ...
ALGORITHMS = struct.Struct("<HBBIII12xBBH")  # the same, with MeasurementHashAlgo
PORTIONS = struct.Struct("<HH")  # offset and length, or portion and remainder
KEY_EXCHANGE = struct.Struct(f"<HBx{NONCE_SIZE}s{EXCHANGE_SIZE}sH")
KEY_EXCHANGE_RSP = struct.Struct(f"<HBB{NONCE_SIZE}s{EXCHANGE_SIZE}sH{SIGNATURE_SIZE}s{HASH_SIZE}s")
MEASUREMENTS = struct.Struct("<B3s")  # NumberOfBlocks, MeasurementRecordLength
MEASUREMENT_BLOCK = struct.Struct("<BBHBH")  # Index, Specification, Size; DMTF: Type, ValueSize
_PCI_SIG = struct.Struct("<HBHHB")  # StandardID, VendorIDLen, VendorID, Length, ProtocolID
_PCI_SIG_ID = (0x0003, 2, 0x0001)
_RECORD = struct.Struct("<IH")

ASYM_ECDSA_P384, HASH_SHA_384 = 1 << 7, 1 << 1
RAW_BITS = 1 << 7  # of a measurement's type: not a digest
FIRMWARE = 1


def header(code: Spdm, param1: int = 0, param2: int = 0, version: int = VERSION_1_2) -> bytes:
    """Which four bytes begin a message?"""
    return HEADER.pack(version, code, param1, param2)


def code_of(message: bytes) -> int:
    """Which code has a message? -1: it is too short to be one."""
    return message[1] if len(message) >= HEADER.size else -1


def pci_sig(code: Spdm, protocol: int, payload: bytes) -> bytes:
    """Which vendor-defined message carries one of PCI-SIG's?"""
    return header(code) + _PCI_SIG.pack(*_PCI_SIG_ID, 1 + len(payload), protocol) + payload


def pci_sig_payload(message: bytes) -> tuple[int, bytes] | None:
    """Which protocol, and which message of it, does a vendor-defined message carry? None: none."""
    body = message[HEADER.size :]
    if len(body) < _PCI_SIG.size:
        return None
    standard, length, vendor, size, protocol = _PCI_SIG.unpack_from(body)
    payload = body[_PCI_SIG.size :]
    if (standard, length, vendor) != _PCI_SIG_ID or size != 1 + len(payload):
        return None
    return protocol, payload


def session_key(key: bytes, transcript: bytes) -> bytes:
    """Which secret do both ends share after a key exchange?

    A stand-in for the Diffie-Hellman exchange: whoever reads all messages can compute it too. It
    ties the session to the key and to all that was said, so that a changed message is noticed.
    """
    return hmac.digest(key, transcript, "sha384")


def sign(key: bytes, transcript: bytes) -> bytes:
    """Which signature proves that a device has `key`? A stand-in, as long as a real one."""
    first = hmac.digest(key, b"signature" + transcript, "sha384")
    return first + hashlib.sha384(first).digest()


def seal(session: int, key: bytes, message: bytes) -> bytes:
    """Which record carries a message of a session? It is not encrypted."""
    mac = hmac.digest(key, session.to_bytes(4, "little") + message, "sha256")[:MAC_SIZE]
    return _RECORD.pack(session, len(message) + MAC_SIZE) + message + mac


def unseal(session: int, key: bytes, record: bytes) -> bytes | None:
    """Which message does a record of the session carry? None: none, or it was changed."""
    if len(record) < _RECORD.size + MAC_SIZE:
        return None
    there, size = _RECORD.unpack_from(record)
    message, mac = record[_RECORD.size : -MAC_SIZE], record[-MAC_SIZE:]
    right = hmac.digest(key, session.to_bytes(4, "little") + message, "sha256")[:MAC_SIZE]
    if there != session or size != len(message) + MAC_SIZE or not hmac.compare_digest(mac, right):
        return None
    return message
