"""What tells a whole text in bulk, and which of its lines must be read one by one?

The text is looked at in chunks, by as many threads as there are cores: NumPy and polars leave the
interpreter to others while they work.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from topbit.readers.bulk.chunk import Chunk, chunk_of
from topbit.readers.bulk.dull_lines import dull_lines
from topbit.readers.bulk.known import Known
from topbit.readers.bulk.stored import Lines
from topbit.readers.bulk.trace_lines import trace_lines
from topbit.readers.bulk.words import MARGIN, Places
from topbit.readers.columns import Columns, Piece
from topbit.readers.encoding import characters
from topbit.readers.joined import TRACE_LINES
from topbit.readers.stored_bytes import Bytes

CHUNK = 4 << 20
"""Bytes of a chunk: what is made of it while it is looked at stays in a core's cache."""
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
        self._data, self._known = data, Known(columns)
        self.columns = columns
        self.lines = Lines(data)
        self.replaced = 0

    def parts(self, progress: Callable[[int], None]) -> Iterator[Part]:
        """What tells each chunk of the text? The lines behind it that it may go on in are known.

        `progress` is told how many more lines were looked at, now and then.
        """
        waiting: list[Part] = []
        for part in self._surveyed():
            progress(part.end - part.start)
            waiting.append(part)
            while waiting and waiting[0].end + LOOK_AHEAD <= part.end:
                yield waiting.pop(0)
        yield from waiting

    def _surveyed(self) -> Iterator[Part]:
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            waiting: list[tuple[int, Future[_Surveyed]]] = []
            ahead = 2 * (os.cpu_count() or 1)
            for start, end in _chunks(self._data):
                waiting.append((start, pool.submit(self._survey, start, end)))
                if len(waiting) > ahead:
                    yield self._part(*waiting.pop(0))
            while waiting:
                yield self._part(*waiting.pop(0))

    def _part(self, offset: int, future: Future[_Surveyed]) -> Part:
        found = future.result()
        start = self.lines.end
        self.lines.grow(found.starts + offset, found.end + 1)
        self.replaced += found.replaced
        if found.piece.count:
            found.piece.columns["line"] += np.uint32(start)
        return Part(start, self.lines.end, found.piece, found.rest + start)

    def _survey(self, start: int, end: int) -> _Surveyed:
        data = self._data[start:end]
        replaced = 0 if data.isascii() else characters(data).replaced
        margin = b" " * MARGIN
        text = np.frombuffer(b"".join((margin, data, b"\n", margin)), np.uint8)
        chunk: Chunk = chunk_of(text)
        told = trace_lines(chunk, self._known)
        dull = dull_lines(chunk, told.regular, told.begins)
        rest = np.flatnonzero(~(told.regular | dull))
        return _Surveyed(chunk.starts - MARGIN, told.piece, rest, replaced, end)


@dataclass(frozen=True, slots=True)
class _Surveyed:
    """What tells one chunk, and where does it end? Lines and `starts` count from its first."""

    starts: Places
    piece: Piece
    rest: Places
    replaced: int
    end: int


def _chunks(data: Bytes) -> Iterator[tuple[int, int]]:
    """From where to where is each chunk, without the newline that ends it?"""
    start = 0
    while True:
        end = -1
        if start + CHUNK < len(data):
            end = data.find(b"\n", start + CHUNK)
        if end < 0:
            yield start, len(data)
            return
        yield start, end
        start = end + 1
