"""How does another process look at chunks of a text? NumPy's small steps would keep two threads of
one process from each other.

    Helper (this process) ── from where to where ──► serve (its own process)
                          ◄── what tells the chunk ──

Columns come back through memory that both have, the rest through a pipe.
"""

from __future__ import annotations

import contextlib
import mmap
import os
import pickle
import select
import subprocess
import sys
from pathlib import Path

import numpy as np

from topbit.readers.bulk.surveyor import Surveyed, Surveyor
from topbit.readers.columns import Columns
from topbit.readers.stored_bytes import StoredBytes

ROOM = 8 << 20
"""Bytes of the memory that both have; columns that do not fit go through the pipe."""
READY = b"+"
_START = (
    "import sys; file, room, *sys.path[:] = sys.argv[1:]; "
    "from topbit.readers.bulk.helper import serve; serve(int(file), int(room))"
)


class Helper:
    """A process that looks at chunks of a file.

    Args:
        data: the file.
        columns: whose vocabularies the pieces shall be of.

    Raises:
        OSError: there can be none here.
    """

    def __init__(self, data: StoredBytes, columns: Columns) -> None:
        self._columns = columns
        # Which numbers here have the words of its vocabularies?
        self._numbers = {name: [0] for name in columns.words}
        if not sys.executable or not hasattr(os, "memfd_create"):
            raise OSError
        room = os.memfd_create("topbit")
        try:
            os.ftruncate(room, ROOM)
            self._room = mmap.mmap(room, ROOM)
            files = (data.descriptor, room)
            self._process = subprocess.Popen(
                # -P: what lies in the current folder is no module.
                [sys.executable, "-P", "-c", _START, *map(str, files), *sys.path],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                pass_fds=files,
            )
        finally:
            os.close(room)
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._to, self._from = self._process.stdin, self._process.stdout

    def ready(self) -> bool:
        """Is it there by now? It must not be asked again then.

        Raises:
            EOFError: it will never be.
        """
        if not select.select([self._from], [], [], 0)[0]:
            return False
        if self._from.read(1) != READY:
            raise EOFError
        return True

    def survey(self, start: int, end: int) -> Surveyed:
        """What tells the chunk from `start` to `end`?

        Raises:
            OSError, EOFError, pickle.UnpicklingError: the process is gone.
        """
        pickle.dump((start, end), self._to)
        self._to.flush()
        # It is topbit's own process that tells.
        sizes, words, told = pickle.load(self._from)
        buffers, at = [], 0
        for size in sizes:
            buffers.append(bytearray(self._room[at : at + size]))
            at += size
        found: Surveyed = pickle.loads(told, buffers=buffers)
        columns = found.piece.columns
        for name, new in words.items():
            self._numbers[name] += map(self._columns.words[name].number, new)
        for name in columns.keys() & self._numbers.keys():
            here = np.array(self._numbers[name])
            columns[name] = here.astype(np.min_scalar_type(here.max()))[columns[name]]
        return found

    def close(self) -> None:
        """End it."""
        self._process.kill()
        self._process.communicate()


def serve(file: int, room: int) -> None:
    """What does the other process do? It looks at chunks until nobody asks any more."""
    memory = mmap.mmap(room, ROOM)
    columns = Columns("")
    surveyor = Surveyor(StoredBytes(Path(f"/proc/self/fd/{file}")), columns)
    told = dict.fromkeys(columns.words, 1)
    out = sys.stdout.buffer
    with contextlib.suppress(EOFError, BrokenPipeError, KeyboardInterrupt):
        out.write(READY)
        out.flush()
        while True:
            found = surveyor.survey(*pickle.load(sys.stdin.buffer))
            buffers: list[pickle.PickleBuffer] = []
            packed = pickle.dumps(found, 5, buffer_callback=buffers.append)
            sizes = [buffer.raw().nbytes for buffer in buffers]
            if sum(sizes) <= ROOM:
                at = 0
                for buffer, size in zip(buffers, sizes, strict=True):
                    memory[at : at + size] = buffer.raw()
                    at += size
            else:
                packed, sizes = pickle.dumps(found), []
            new = {name: one.words[told[name] :] for name, one in columns.words.items()}
            told = {name: told[name] + len(words) for name, words in new.items()}
            pickle.dump((sizes, new, packed), out)
            out.flush()
