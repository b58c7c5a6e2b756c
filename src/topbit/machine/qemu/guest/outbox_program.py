"""Which program in the guest writes to the outbox, how is it told where, and how is it read?

What the outbox is, is told in ``host/outbox.py``. The guest's shell runs the program (``outbox.S``)
with one of the addresses that it finds in `STREAMS`, a file of its own initramfs.
"""

from __future__ import annotations

import struct
from pathlib import Path

from topbit.arch.ipa import IpaSpace
from topbit.machine.qemu.host.outbox import Stream, address_of

PROGRAM = Path(__file__).with_name("outbox.bin")
IN_GUEST, STREAMS = "topbit/outbox", "topbit/streams"
_HEADER = struct.Struct("<II")  # a piece's file and length


def files(space: IpaSpace) -> dict[str, bytes]:
    """Which files of the initramfs let the guest's shell use the outbox?

    The streams are variables of the shell: ``out_trace=0x1000b000000``.
    """
    addresses = (
        f"out_{stream.name.lower()}=0x{space.unprotected(address_of(stream)):x}\n"
        for stream in Stream
    )
    return {IN_GUEST: PROGRAM.read_bytes(), STREAMS: "".join(addresses).encode()}


def followed(stream: bytes) -> dict[int, bytes]:
    """What did ``outbox follow`` hand out of each of its files, by number? As far as it came."""
    found: dict[int, bytearray] = {}
    at = 0
    while at + _HEADER.size <= len(stream):
        number, size = _HEADER.unpack_from(stream, at)
        piece = stream[at + _HEADER.size : at + _HEADER.size + size]
        if len(piece) < size:
            break
        found.setdefault(number, bytearray()).extend(piece)
        at += _HEADER.size + size + -size % 8
    return {number: bytes(pieces) for number, pieces in found.items()}
