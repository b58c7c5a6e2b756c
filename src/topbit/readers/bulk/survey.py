"""What tells a whole text in bulk, and which of its lines must be read one by one?

The text is looked at in chunks, a long one by other processes as well.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, suppress
from dataclasses import dataclass
from pickle import UnpicklingError
from queue import SimpleQueue

import numpy as np

from topbit.readers.bulk.helper import Helper
from topbit.readers.bulk.stored import Lines
from topbit.readers.bulk.surveyor import Means, Surveyed, Surveyor
from topbit.readers.bulk.words import Places
from topbit.readers.columns import Columns, Piece
from topbit.readers.joined import TRACE_LINES
from topbit.readers.stored_bytes import Bytes, StoredBytes

CHUNK = 2 << 20
"""Bytes of a chunk: what is made of it while it is looked at stays near a core."""
NUMBA_CHUNKS = 2
"""How many times as long are those for numba, of whose lines NumPy has to look at few?"""
NUMBA_FIRST = 16
"""How many times shorter is the first of those? NumPy has to look at all of its lines."""
NUMBA_FROM = 192 << 20
"""Bytes of a text from which on numba, if it is there, saves more time than its import takes."""
HELPERS_FROM = 64 << 20
"""Bytes of a text from which on another process saves more time than its start takes."""
MOST_CORES = 8
"""Cores that are used at most: what is told in bulk is put together on one of them."""
AHEAD = 3
"""Chunks for each process that are looked at or waited for."""
LOOK_AHEAD = TRACE_LINES + 1
"""Lines behind a chunk that its last one may go on in."""


@dataclass(frozen=True, slots=True)
class Part:
    """What tells a chunk? Its lines are those of the file, from 0.

    Attributes:
        start, end: its lines.
        piece: the events that were read in bulk.
        rest: the lines that must be read one by one.
    """

    start: int
    end: int
    piece: Piece
    rest: Places

    def between(self, start: int, end: int) -> Part:
        """What tell those of its lines that lie between these?"""
        first, last = np.searchsorted(self.rest, (start, end)).tolist()
        piece = self.piece
        if piece.count and not start <= self.start <= self.end <= end:
            begin, behind = np.searchsorted(piece.columns["line"], (start, end)).tolist()
            piece = piece.taken(np.arange(begin, behind))
        return Part(max(start, self.start), min(end, self.end), piece, self.rest[first:last])


class Survey:
    """Who looks at a text in bulk?

    Args:
        data: its bytes: UTF-8, whatever is wrong with it.
        columns: where the events will go, whose vocabularies the pieces are of.

    Attributes:
        columns: as given.
        lines: those that were looked at so far.
        replaced: bytes among them that are no text.
    """

    def __init__(self, data: Bytes, columns: Columns) -> None:
        self._data = data
        self.columns = columns
        self.lines = Lines(data)
        self.replaced = 0

    def parts(self, progress: Callable[[int], None]) -> Generator[Part, None, None]:
        """What tells each chunk of the text? The lines behind it that it may go on in are known.

        `progress` is told how many more lines were looked at, now and then.
        """
        waiting: list[Part] = []
        with closing(self._surveyed()) as surveyed:
            for part in surveyed:
                progress(part.end - part.start)
                waiting.append(part)
                while waiting and waiting[0].end + LOOK_AHEAD <= part.end:
                    yield waiting.pop(0)
        yield from waiting

    def _surveyed(self) -> Generator[Part, None, None]:
        free: SimpleQueue[Surveyor | Helper] = SimpleQueue()
        helpers: list[Helper] = []
        if len(self._data) <= CHUNK and len(self._data) < NUMBA_FROM:
            # One chunk, which is everything to most who ask.
            yield self._part(0, Surveyor(self._data, self.columns).survey(0, len(self._data)))
            return
        first = most = CHUNK
        cores = min(_cores(), MOST_CORES)
        compiled = _compiled() if len(self._data) >= NUMBA_FROM else None
        if compiled is None:
            free.put(Surveyor(self._data, self.columns))
            helpers = self._helpers(cores - 1)
        else:
            first, most = CHUNK // NUMBA_FIRST, CHUNK * NUMBA_CHUNKS
            for _ in range(cores):
                free.put(Surveyor(self._data, self.columns, compiled))
        starting = set(helpers)

        def survey(start: int, end: int) -> Surveyed:
            while True:
                one = free.get()
                # A process that is gone is not asked again.
                with suppress(OSError, EOFError, UnpicklingError):
                    found = one.survey(start, end)
                    free.put(one)
                    return found

        pool = ThreadPoolExecutor(cores)
        try:
            waiting: list[tuple[int, Future[Surveyed]]] = []
            for start, end in _chunks(self._data, first, most):
                for helper in list(starting):
                    with suppress(EOFError):
                        if not helper.ready():
                            continue
                        free.put(helper)
                    starting.remove(helper)
                waiting.append((start, pool.submit(survey, start, end)))
                if len(waiting) > AHEAD * cores:
                    offset, future = waiting.pop(0)
                    yield self._part(offset, future.result())
            while waiting:
                offset, future = waiting.pop(0)
                yield self._part(offset, future.result())
        finally:
            pool.shutdown(cancel_futures=True)
            for helper in helpers:
                helper.close()

    def _helpers(self, most: int) -> list[Helper]:
        """Which other processes help with a long text?"""
        helpers: list[Helper] = []
        if isinstance(self._data, StoredBytes) and len(self._data) >= HELPERS_FROM:
            with suppress(OSError):
                for _ in range(most):
                    helpers.append(Helper(self._data, self.columns))
        return helpers

    def _part(self, offset: int, found: Surveyed) -> Part:
        start = self.lines.end
        self.lines.grow(found.lines, (found.steps + offset).tolist(), found.end + 1)
        self.replaced += found.replaced
        if found.piece.count:
            found.piece.columns["line"] += np.uint32(start)
        return Part(start, self.lines.end, found.piece, found.rest + start)


def _cores() -> int:
    """How many cores may this process use?"""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _compiled() -> Means | None:
    """What looks at chunks with numba, if it is there?"""
    try:
        from topbit.readers.bulk.scan import COMPILED
    except ImportError:
        return None
    return COMPILED


def _chunks(data: Bytes, size: int, most: int) -> Iterator[tuple[int, int]]:
    """From where to where is each chunk, without the newline that ends it?

    Args:
        data: the text.
        size, most: bytes of the first chunk, and at most; each is twice as long as the one before.
    """
    start = 0
    while True:
        end = -1
        if start + size < len(data):
            end = data.find(b"\n", start + size)
        if end < 0:
            yield start, len(data)
            return
        yield start, end
        start, size = end + 1, min(2 * size, most)
