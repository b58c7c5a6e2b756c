"""Which numbers, texts and packed data stand in the bytes of a trace.dat?

Whoever wrote the file is not trusted: sizes are checked before they are used, and what the file
unpacks to is bounded.

Sources: trace-cmd.dat.v6(5), trace-cmd.dat.v7(5).
"""

from __future__ import annotations

import zlib

from topbit.errors import InputError
from topbit.readers.stored_bytes import Bytes
from topbit.readers.unpack import MAGIC as ZSTD_MAGIC
from topbit.readers.unpack import unzstd

RATIO, SLACK = 64, 64 << 20
"""How many times its size, and how many bytes more, a file may unpack to."""
ALGORITHMS = ("none", "zlib", "zstd")


class DamagedError(InputError):
    """What is wrong with the file, and where in it?"""


class UnreadableError(InputError):
    """Why can a file that is not damaged not be read?"""


class Cursor:
    """What stands next in these bytes? Whatever lies beyond them is damage."""

    def __init__(self, data: Bytes, at: int, part: str) -> None:
        self.data, self.at, self.part = data, at, part

    def take(self, size: int) -> bytes:
        """Which are the next `size` bytes?"""
        start = self.at
        if not 0 <= start <= start + size <= len(self.data):
            raise DamagedError(
                f"{self.part}: 0x{size:x} bytes at offset 0x{start:x} lie beyond the end at "
                f"0x{len(self.data):x}"
            )
        self.at += size
        taken = self.data[start : start + size]
        if len(taken) < size:
            raise DamagedError(f"{self.part}: the file became shorter while it was read")
        return taken

    def number(self, size: int) -> int:
        """Which number of `size` bytes comes next?"""
        return int.from_bytes(self.take(size), "little")

    def string(self) -> str:
        """Which text comes next, up to its NUL?"""
        end = self.data.find(b"\0", self.at) if self.at <= len(self.data) else -1
        if end < 0:
            raise DamagedError(f"{self.part}: text without an end at offset 0x{self.at:x}")
        return text_of(self.take(end - self.at + 1))

    def named(self, name: bytes) -> bytes:
        """Which data comes next behind this name and its own size?"""
        if self.take(len(name)) != name:
            raise DamagedError(f"{self.part}: no {text_of(name)} at offset 0x{self.at:x}")
        return self.take(self.number(8))


def text_of(raw: bytes) -> str:
    """Which text stands in these bytes, up to its NUL?"""
    return raw.split(b"\0")[0].decode("utf-8", "replace")


class Unpacker:
    """What is packed in a file?

    Args:
        algorithm: one of ALGORITHMS.
        file_size: bytes of the file, which bound what it may unpack to.

    Raises:
        UnreadableError: packed in another way.
    """

    def __init__(self, algorithm: str, file_size: int) -> None:
        if algorithm not in ALGORITHMS:
            raise UnreadableError(f"is compressed with {algorithm!r}; read are zlib and zstd")
        self._algorithm = algorithm
        self._left = file_size * RATIO + SLACK

    def spend(self, size: int, part: str) -> None:
        """Count bytes that are read, so that a small file cannot keep us busy for ever."""
        self._left -= size
        if self._left < 0:
            raise DamagedError(f"{part}: the file unpacks to far more than it can hold")

    def unpack(self, packed: bytes, size: int, part: str) -> bytes:
        """What do packed bytes hold, which must be no more than `size`?

        Raises:
            DamagedError: they are damaged, or hold more.
        """
        self.spend(size, part)
        try:
            if self._algorithm == "zlib":
                data = zlib.decompressobj().decompress(packed, size + 1)
            elif self._algorithm == "zstd":
                # trace-cmd may leave the magic number out.
                whole = packed if packed.startswith(ZSTD_MAGIC) else ZSTD_MAGIC + packed
                data = unzstd(whole, size)
            else:
                raise ValueError("packed, in a file that is not")
        except (zlib.error, ValueError, MemoryError) as error:
            raise DamagedError(f"{part}: {error}") from error
        if len(data) > size:
            raise DamagedError(f"{part}: unpacks to more than the 0x{size:x} bytes that it says")
        return data
