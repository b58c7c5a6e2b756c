"""What stands in compressed data, however it was made, cut or damaged?

gzip, xz, Zstandard and bzip2. Members, streams and frames that stand one behind the other are
read as one, as their own tools do. What is cut off or damaged is read as far as it goes, and said.
Whoever made the data is not trusted: it may unpack to no more than is asked for.
"""

from __future__ import annotations

import bz2
import lzma
import zlib
from dataclasses import dataclass
from typing import Protocol

from topbit.errors import InputError

MAGIC = b"\x28\xb5\x2f\xfd"
"""Zstandard's."""
BZIP2 = (b"1AY&SY", b"\x17rE8P\x90")
"""What stands behind "BZh9": a block, or the end of an empty stream."""
SKIPPABLE = tuple(bytes([n, 0x2A, 0x4D, 0x18]) for n in range(0x50, 0x60))
"""Begin frames of Zstandard that hold no data."""
RATIO, SLACK, LARGEST = 256, 64 << 20, 8 << 30
"""How many times its size, how many bytes more, and how many bytes at all, data may unpack to."""
_STEP = 1 << 10
"""Bytes of Zstandard taken at a time: a block of four bytes can hold 128 KiB."""


class BombError(InputError):
    """Which data unpacks to far more than it could honestly hold?"""


@dataclass(frozen=True, slots=True)
class Unpacked:
    """What was in compressed data?

    Attributes:
        data: what could be unpacked.
        damage: what is wrong with the rest; empty if there is none.
        behind: how many bytes stand behind it that are not packed (padding with zeros left out).
    """

    data: bytes
    damage: str = ""
    behind: int = 0


class _Decompressor(Protocol):
    @property
    def eof(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    def decompress(self, data: bytes, max_length: int) -> bytes: ...
    def rest(self) -> bytes: ...


class _Buffered:
    """One stream of xz or bzip2; they keep what they have not used."""

    _inner: lzma.LZMADecompressor | bz2.BZ2Decompressor | zlib._Decompress

    def __init__(self, inner: lzma.LZMADecompressor | bz2.BZ2Decompressor) -> None:
        self._inner = inner

    @property
    def eof(self) -> bool:
        return self._inner.eof

    @property
    def unused_data(self) -> bytes:
        return self._inner.unused_data

    def decompress(self, data: bytes, max_length: int) -> bytes:
        return self._inner.decompress(data, max_length)

    def rest(self) -> bytes:
        return b""


class _Zlib(_Buffered):
    """One member of gzip, which gives back what it has not used."""

    _inner: zlib._Decompress

    def __init__(self) -> None:
        self._inner = zlib.decompressobj(wbits=31)

    def rest(self) -> bytes:
        return self._inner.unconsumed_tail


class _Zstd:
    """One frame of Zstandard. It gives all that its input holds: that is given in small steps."""

    def __init__(self) -> None:
        import zstandard

        self._inner = zstandard.ZstdDecompressor(max_window_size=1 << 28).decompressobj()
        self._left = b""

    @property
    def eof(self) -> bool:
        return bool(self._inner.eof)

    @property
    def unused_data(self) -> bytes:
        return bytes(self._inner.unused_data) + self._left

    def decompress(self, data: bytes, max_length: int) -> bytes:
        import zstandard

        found, size, at = [], 0, 0
        while at < len(data) and not self._inner.eof and size <= max_length:
            try:
                found.append(self._inner.decompress(data[at : at + _STEP]))
            except zstandard.ZstdError as error:
                raise ValueError(str(error)) from error
            size += len(found[-1])
            at += _STEP
        self._left = data[at:]
        return b"".join(found)

    def rest(self) -> bytes:
        return self._left


def is_packed(data: bytes) -> bool:
    """Does the data begin as compressed data of a kind that is read?"""
    return _decompressor(data) is not None


def limit_of(size: int) -> int:
    """To how many bytes may `size` bytes unpack?"""
    return min(size * RATIO + SLACK, LARGEST)


def unpack(data: bytes, limit: int | None = None) -> Unpacked:
    """What does compressed data hold? Other data is returned as it is.

    Args:
        data: all of it.
        limit: bytes that it may hold; by default `limit_of` its size.

    Raises:
        BombError: it holds more.
    """
    if not is_packed(data):
        return Unpacked(data)
    limit = limit_of(len(data)) if limit is None else limit
    found: list[bytes] = []
    size, damage, behind, left = 0, "", 0, data
    while left and not damage:
        unpacker = _decompressor(left)
        if unpacker is None:
            behind = len(left) if any(left) else 0
            break
        given = left
        while not damage:
            try:
                part = unpacker.decompress(given, limit + 1 - size)
            except (zlib.error, lzma.LZMAError, OSError, EOFError, ValueError) as error:
                damage = f"is damaged after {size} unpacked bytes: {error}"
                break
            except MemoryError:
                damage = f"is damaged after {size} unpacked bytes: it asks for too much memory"
                break
            size += len(part)
            found.append(part)
            if size > limit:
                raise BombError(f"unpacks to more than {limit} bytes")
            if unpacker.eof:
                break
            given = unpacker.rest()
            if not part and not given:
                damage = f"is cut off after {size} unpacked bytes"
        left = unpacker.unused_data if unpacker.eof else b""
    return Unpacked(b"".join(found), damage, behind)


def unzstd(data: bytes, limit: int) -> bytes:
    """What does the first frame of Zstandard data hold; of more than `limit` bytes `limit` + 1?

    Raises:
        ValueError: it is damaged or truncated.
    """
    unpacker = _Zstd()
    found = unpacker.decompress(data, limit)
    if not unpacker.eof and len(found) <= limit:
        raise ValueError("is cut off")
    return found[: limit + 1]


def _decompressor(data: bytes) -> _Decompressor | None:
    if data.startswith(b"\x1f\x8b"):
        return _Zlib()
    if data.startswith(b"\xfd7zXZ\0"):
        return _Buffered(lzma.LZMADecompressor(lzma.FORMAT_XZ))
    if data.startswith(b"BZh") and data[3:4].isdigit() and data[4:10] in BZIP2:
        return _Buffered(bz2.BZ2Decompressor())
    if data.startswith((MAGIC, *SKIPPABLE)):
        return _Zstd()
    return None
