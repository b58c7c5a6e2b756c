"""How are the messages laid out that lock, start and stop a device's interface, and set its keys?

TDISP and IDE_KM messages travel within SPDM (`spdm.pci_sig`).
Source: PCI-SIG, PCI Express Base 6.x, TEE Device Interface Security Protocol (11.3), IDE key
management (6.33.3).
"""

from __future__ import annotations

import struct
from enum import IntEnum

VERSION_1_0 = 0x10
NONCE_SIZE = 32  # START_INTERFACE_NONCE


class Tdisp(IntEnum):
    """Which TDISP message is it? (MessageType)"""

    VERSION = 0x01
    CAPABILITIES = 0x02
    LOCK_INTERFACE_RESPONSE = 0x03
    DEVICE_INTERFACE_REPORT = 0x04
    DEVICE_INTERFACE_STATE = 0x05
    START_INTERFACE_RESPONSE = 0x06
    STOP_INTERFACE_RESPONSE = 0x07
    ERROR = 0x7F
    GET_VERSION = 0x81
    GET_CAPABILITIES = 0x82
    LOCK_INTERFACE_REQUEST = 0x83
    GET_DEVICE_INTERFACE_REPORT = 0x84
    GET_DEVICE_INTERFACE_STATE = 0x85
    START_INTERFACE_REQUEST = 0x86
    STOP_INTERFACE_REQUEST = 0x87


class TdiState(IntEnum):
    """In which state is a TEE device interface (TDI)?"""

    CONFIG_UNLOCKED = 0
    CONFIG_LOCKED = 1
    RUN = 2
    ERROR = 3


INVALID_REQUEST, INVALID_INTERFACE_STATE = 0x1, 0x4  # ERROR_CODE, a u32
INVALID_NONCE = 0x102

HEADER = struct.Struct("<BB2xI8x")  # TDISPVersion, MessageType, FUNCTION_ID of the interface
LOCK = struct.Struct("<HBxQQ")  # FLAGS, default stream, MMIO reporting offset, P2P mask
REPORT_REQUEST = struct.Struct("<HH")  # OFFSET, LENGTH
REPORT = struct.Struct("<HH")  # PORTION_LENGTH, REMAINDER_LENGTH
INTERFACE_REPORT = struct.Struct("<HxxHHII")  # INTERFACE_INFO, MSI-X, LNR, TPH, MMIO range count
MMIO_RANGE = struct.Struct("<QII")  # first 4 KiB page, number of pages, attributes
ERROR = struct.Struct("<II")  # ERROR_CODE, ERROR_DATA

LOCK_NO_FIRMWARE_UPDATE = 1 << 0


def message(kind: Tdisp, interface: int, body: bytes = b"") -> bytes:
    """Which message is about the interface with this requester ID?"""
    return HEADER.pack(VERSION_1_0, kind, interface) + body


def parse(data: bytes) -> tuple[int, int, bytes] | None:
    """Which type, interface and body has a message? None: it is none of TDISP 1.0."""
    if len(data) < HEADER.size or data[0] != VERSION_1_0:
        return None
    _, kind, interface = HEADER.unpack_from(data)
    return kind, interface, data[HEADER.size :]


class IdeKm(IntEnum):
    """Which IDE key management message is it? (Object ID)"""

    QUERY = 0x00
    QUERY_RESP = 0x01
    KEY_PROG = 0x02
    KP_ACK = 0x03
    K_SET_GO = 0x04
    K_SET_STOP = 0x05
    K_GOSTOP_ACK = 0x06


ANSWER_TO = {
    IdeKm.QUERY: IdeKm.QUERY_RESP,
    IdeKm.KEY_PROG: IdeKm.KP_ACK,
    IdeKm.K_SET_GO: IdeKm.K_GOSTOP_ACK,
    IdeKm.K_SET_STOP: IdeKm.K_GOSTOP_ACK,
}
# Object ID, -, stream, status of an answer, key set | direction << 1 | sub-stream << 4, port
IDE_KM = struct.Struct("<B2xBBBB")
KEY_SIZE = 32 + 8  # key and initialization vector
SUB_STREAMS, DIRECTIONS = 3, 2


def ide_km(kind: IdeKm, stream: int = 0, which: int = 0, key: bytes = b"") -> bytes:
    """Which IDE_KM message is about one key of a stream? `which`: set, direction, sub-stream."""
    return IDE_KM.pack(kind, stream, 0, which, 0) + key
