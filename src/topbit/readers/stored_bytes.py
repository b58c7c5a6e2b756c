"""Which bytes stand in a large file, without holding all of them?"""

from __future__ import annotations

import os
import weakref
from pathlib import Path
from typing import Protocol

BLOCK = 1 << 12
"""Bytes that are searched at a time."""


class Bytes(Protocol):
    """What can be asked for parts of itself: bytes, or a file of them."""

    def __len__(self) -> int: ...
    def __getitem__(self, part: slice, /) -> bytes: ...
    def find(self, sub: bytes, start: int, /) -> int:
        """Where does `sub` stand next? -1 if nowhere."""
        ...


class StoredBytes:
    """The bytes of a file, read when they are asked for, from any thread.

    Args:
        path: the file; what is appended to it later does not count.

    Attributes:
        descriptor: of the file.

    Raises:
        OSError: it cannot be opened.
    """

    def __init__(self, path: Path) -> None:
        self.descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        weakref.finalize(self, os.close, self.descriptor)
        self._size = os.fstat(self.descriptor).st_size

    def __len__(self) -> int:
        return self._size

    def __getitem__(self, part: slice, /) -> bytes:
        start, end, step = part.indices(self._size)
        assert step == 1
        found = []
        while start < end:
            # One call gives at most 2 GiB, and nothing where the file was cut since.
            block = os.pread(self.descriptor, end - start, start)
            if not block:
                break
            found.append(block)
            start += len(block)
        return found[0] if len(found) == 1 else b"".join(found)

    def find(self, sub: bytes, start: int, /) -> int:
        """Where does `sub`, one byte, stand next? -1 if nowhere."""
        while start < self._size:
            block = self[start : start + BLOCK]
            at = block.find(sub)
            if at >= 0:
                return start + at
            start += BLOCK
        return -1

    def read_into(self, start: int, room: memoryview) -> int:
        """Fill the room with what stands from `start` on; how many bytes are there?"""
        done = 0
        while done < len(room):
            count = os.preadv(self.descriptor, [room[done:]], start + done)
            if not count:
                break
            done += count
        return done


def read_into(data: Bytes, start: int, room: memoryview) -> int:
    """Fill the room with what stands in `data` from `start` on; how many bytes are there?"""
    if isinstance(data, StoredBytes):
        return data.read_into(start, room)
    found = memoryview(data[:])[start : start + len(room)]
    room[: len(found)] = found
    return len(found)
