"""Is the data right, seen from outside the guest?

The disk's content is made here and read back from the image after the run; what the guest sends
is received here. What the guest itself says about its data is compared with that, never believed.
"""

from __future__ import annotations

import contextlib
import hashlib
import select
import socket
import threading
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from io import BufferedReader
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import numpy as np

if TYPE_CHECKING:
    from topbit.machine.qemu.guest.report import StepReport

MIB = 1 << 20


@dataclass(frozen=True, slots=True)
class Disk:
    """Which content has a test disk? Random bytes that follow from the seed.

    Attributes:
        seed: gives every disk of a run its own content, so that mixed-up data shows.
        size: bytes, a multiple of 1 MiB. The first half is read, the second half is written.
    """

    seed: int
    size: int = 64 * MIB

    def content(self, first: int, size: int) -> bytes:
        """Which bytes are at `first`..`first + size` before the run? Both multiples of 1 MiB."""
        return b"".join(self.blocks(first, size))

    def write(self, path: Path) -> None:
        """Make the image file: the first half with content, the second one empty (sparse)."""
        with path.open("wb") as image:
            image.truncate(self.size)
            deque(self.writing(image), 0)

    def writing(self, image: BinaryIO) -> Iterator[None]:
        """Write the content of the first half at the beginning of `image`, a MiB in each step."""
        for block in self.blocks(0, self.size // 2):
            image.write(block)
            yield

    def check_copy(self, path: Path, first: int, second: int, size: int) -> str:
        """Did the guest write at `second` what was at `first`, and nothing else?

        Returns:
            What is wrong, with the first wrong byte's offset; empty if nothing is.
        """
        with path.open("rb") as image:
            if difference := _first_difference(image, self.blocks(0, self.size // 2)):
                return f"read-only half changed at byte 0x{difference - 1:x}"
            image.seek(second)
            if difference := _first_difference(image, self.blocks(first, size)):
                return f"wrong data written at byte 0x{second + difference - 1:x}"
        return ""

    def check_hashes(self, step: StepReport, parts: dict[str, tuple[int, int]]) -> str:
        """Did the guest read what is on the disk? Compares the ``md5 KEY HASH`` lines of its log.

        Args:
            parts: by key, (offset, bytes) of what was read.

        Returns:
            What is wrong; empty if nothing is.
        """
        said = {
            words[1]: words[2]
            for words in map(str.split, (step.log or "").splitlines())
            if len(words) >= 3 and words[0] == "md5"
        }
        for key, (first, size) in parts.items():
            if key not in said:
                return f"read {key}: the guest did not come to its end"
            if said[key] != self.hash(first, size):
                return f"read {key}: the guest got wrong data"
        return ""

    def hash(self, first: int, size: int) -> str:
        """Which MD5 have `size` bytes from `first` on, a multiple of 1 MiB? Made once."""
        return _hash(self, first, size)

    def blocks(self, first: int, size: int) -> Iterator[bytes]:
        """Which bytes are they (see `content`), MiB by MiB?"""
        return (_block(self.seed, number) for number in range(first // MIB, (first + size) // MIB))


class EchoPeer:
    """What did the guest send? The other end of its wire: sends every byte back.

    - Made with the connected stream socket that QEMU's ``guestfwd`` chardev writes to.
    - Serves in a thread of its own until the other end closes or `close()` is called. It always
      takes what comes, since QEMU's main loop waits for that; what is to go back waits in memory.
    - `received` and `digest()` tell afterwards.

    Args:
        connection: the socket.
        most: bytes that are sent back; a guest that sends more gets no more.
    """

    def __init__(self, connection: socket.socket, most: int = 64 * MIB) -> None:
        self.received = 0
        self._most = most
        self._hash = hashlib.sha256()
        self._connection = connection
        self._thread = threading.Thread(target=self._serve, name="echo peer", daemon=True)
        self._thread.start()

    def digest(self) -> str:
        """Which SHA-256 has everything that came?"""
        return self._hash.hexdigest()

    def close(self) -> None:
        """End the connection and the thread."""
        with contextlib.suppress(OSError):
            self._connection.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._connection.close()

    def _serve(self) -> None:
        waiting = bytearray()
        try:
            while True:
                readable, writable, _ = select.select(
                    [self._connection], [self._connection] if waiting else [], []
                )
                if readable:
                    data = self._connection.recv(1 << 16)
                    if not data:
                        return
                    waiting += data[: max(0, self._most - self.received)]
                    self.received += len(data)
                    self._hash.update(data)
                if writable:
                    with contextlib.suppress(BlockingIOError):
                        sent = self._connection.send(waiting[: 1 << 16], socket.MSG_DONTWAIT)
                        del waiting[:sent]
        except OSError:
            return


@lru_cache(maxsize=64)
def _hash(disk: Disk, first: int, size: int) -> str:
    made = hashlib.md5(usedforsecurity=False)
    for start, block in enumerate(disk.blocks(first, -(-size // MIB) * MIB)):
        made.update(memoryview(block)[: size - start * MIB])
    return made.hexdigest()


@lru_cache(maxsize=32)  # a run asks for most of them before it and after it
def _block(seed: int, number: int) -> bytes:
    block = np.random.PCG64((seed, number)).random_raw(MIB // 8).tobytes()
    # No partition table by chance: the kernel would scan it.
    return block if number else block[:510] + b"\0\0" + block[512:]


def _first_difference(actual: BufferedReader, expected: Iterable[bytes]) -> int:
    """Where do a file, from where it stands, and these blocks differ first, counted from 1?

    0 if they do not.
    """
    room, before = bytearray(MIB), 0
    for block in expected:
        size = actual.readinto(room)
        if room != block or size < MIB:
            same = np.frombuffer(room, np.uint8, size) == np.frombuffer(block, np.uint8, size)
            return before + (size if same.all() else int(np.argmin(same))) + 1
        before += MIB
    return 0
