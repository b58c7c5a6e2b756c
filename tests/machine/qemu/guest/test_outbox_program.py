from __future__ import annotations

import hashlib
import struct

import pytest

from topbit.arch.ipa import IpaSpace
from topbit.machine.qemu.guest.outbox_program import PROGRAM, files, followed


def piece(number: int, data: bytes) -> bytes:
    return struct.pack("<II", number, len(data)) + data + bytes(-len(data) % 8)


ONE, TWO = piece(0, b"first of 0"), piece(3, b"of 3")


@pytest.mark.parametrize(
    ("stream", "found"),
    [
        (b"", {}),
        (ONE, {0: b"first of 0"}),
        (ONE + TWO + piece(0, b", more"), {0: b"first of 0, more", 3: b"of 3"}),
        (ONE + TWO[:-5], {0: b"first of 0"}),
        (ONE + TWO[:5], {0: b"first of 0"}),
        (ONE + struct.pack("<II", 1, 0xFFFF_FFFF) + TWO, {0: b"first of 0"}),
    ],
)
def test_what_was_followed_is_read_as_far_as_it_came(
    stream: bytes, found: dict[int, bytes]
) -> None:
    assert followed(stream) == found


@pytest.mark.parametrize(
    ("bits", "trace", "output"),
    [(41, "0x1000b000000", "0x1000b400000"), (52, "0x800000b000000", "0x800000b400000")],
)
def test_the_shell_is_told_the_addresses_at_the_alias(bits: int, trace: str, output: str) -> None:
    told = files(IpaSpace(bits))["topbit/streams"].decode().splitlines()
    assert (told[0], told[2]) == (f"out_trace={trace}", f"out_output={output}")
    assert len(told) == 4


def test_the_hash_is_of_the_shipped_program() -> None:
    digest, name = PROGRAM.with_suffix(".sha256").read_text().split()
    assert (name, digest) == ("outbox.bin", hashlib.sha256(PROGRAM.read_bytes()).hexdigest())
    assert files(IpaSpace(41))["topbit/outbox"] == PROGRAM.read_bytes()
