"""Which plain files does a tar stream hold that the guest has handed out?

The stream is the guest's, who may be hostile, so nothing in it is trusted: it is read from front to
back, each header once, and what does not add up ends it. Links, devices, sparse files and extended
headers are passed over. Form: POSIX ustar, and GNU's long names (type L), as busybox writes them.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass

BLOCK = 512
NAME, MODE, SIZE, SUM, TYPE = slice(0, 100), slice(100, 108), slice(124, 136), slice(148, 156), 156
PREFIX = slice(345, 500)
PLAIN, LONG_NAME = b"0\0", ord("L")


@dataclass(frozen=True, slots=True)
class File:
    """Which file is it?

    Attributes:
        name: as in the stream, without the zeros behind it.
        data: its content.
        executable: may its owner execute it?
    """

    name: str
    data: bytes
    executable: bool


def files(stream: bytes) -> Iterator[File]:
    """Which files are in the stream, of one tar file or of several behind each other?

    Raises:
        ValueError: what follows is no header, or the file is cut off. Those before it are right.
    """
    at, long_name = 0, b""
    while at < len(stream):
        header = stream[at : at + BLOCK]
        at += BLOCK
        if not header.strip(b"\0"):  # the end of a tar file
            continue
        size = _checked_size(header)
        if at + size > len(stream):
            raise ValueError("a file is cut off")
        data = stream[at : at + size]
        at += -(-size // BLOCK) * BLOCK
        if header[TYPE] == LONG_NAME:
            long_name = data
            continue
        name = os.fsdecode(_text(long_name) or _name(header))
        long_name = b""
        if header[TYPE] in PLAIN and not name.endswith("/"):  # old ones have folders so
            yield File(name, data, bool((_octal(header[MODE]) or 0) & 0o100))


def _checked_size(header: bytes) -> int:
    size, told = _octal(header[SIZE]), _octal(header[SUM])
    if len(header) < BLOCK or size is None:
        raise ValueError("there is no header where one should be")
    if told != sum(header) - sum(header[SUM]) + ord(" ") * 8:
        raise ValueError("a header's sum is wrong")
    return size


def _name(header: bytes) -> bytes:
    prefix = _text(header[PREFIX]) if header[257:262] == b"ustar" else b""
    return prefix + b"/" * bool(prefix) + _text(header[NAME])


def _text(field: bytes) -> bytes:
    return field.partition(b"\0")[0]


def _octal(field: bytes) -> int | None:
    found = re.fullmatch(rb" *([0-7]{1,11})[ \0]*", field)
    return int(found[1], 8) if found else None
