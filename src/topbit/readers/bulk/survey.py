"""What tells a whole text in bulk, and which of its lines must be read one by one?

The text is looked at in chunks, by as many threads as there are cores: NumPy and polars leave the
interpreter to others while they work.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np

from topbit.readers.bulk.chunk import Chunk, chunk_of
from topbit.readers.bulk.dull_lines import dull_lines
from topbit.readers.bulk.known import Known
from topbit.readers.bulk.stored import Lines, steps_of
from topbit.readers.bulk.trace_lines import trace_lines
from topbit.readers.bulk.words import MARGIN, Places
from topbit.readers.columns import Columns, Piece
from topbit.readers.encoding import characters
from topbit.readers.stored_bytes import Bytes

CHUNK = 2 << 20
"""Bytes of a chunk: what is made of it while it is looked at stays in a core's cache."""


@dataclass(slots=True)
class Survey:
    """What tells a text in bulk?

    Attributes:
        lines: all of them.
        columns: where the events go, whose vocabularies the pieces are of.
        pieces: the events of each chunk; "line" counts the file's lines from 0.
        ends: the line of the file that each chunk ends before.
        rest: the lines that must be read one by one, chunk by chunk.
        replaced: bytes that are no text.
    """

    lines: Lines
    columns: Columns
    pieces: list[Piece] = field(default_factory=list)
    ends: list[int] = field(default_factory=list)
    rest: list[Places] = field(default_factory=list)
    replaced: int = 0

    def part(self, start: int, end: int) -> Survey:
        """What tell these lines of the file?"""
        part = Survey(self.lines.part(start, end), self.columns)
        before = 0
        for piece, behind, rest in zip(self.pieces, self.ends, self.rest, strict=True):
            if before < end and behind > start:
                part.ends.append(min(behind, end))
                part.rest.append(rest[np.searchsorted(rest, start) : np.searchsorted(rest, end)])
                part.pieces.append(_between(piece, start, end))
            before = behind
        return part


def _between(piece: Piece, start: int, end: int) -> Piece:
    if not piece.count:
        return piece
    first, last = np.searchsorted(piece.columns["line"], (start, end)).tolist()
    if last - first == piece.count:
        return piece
    return piece.taken(np.arange(first, last))


@dataclass(frozen=True, slots=True)
class _Surveyed:
    """What tells one chunk? Lines count from its first."""

    lines: int
    starts: Places
    piece: Piece
    rest: Places
    replaced: int


def survey(data: Bytes, columns: Columns, progress: Callable[[int], None]) -> Survey:
    """What tells the text in bulk?

    Args:
        data: its bytes: UTF-8, whatever is wrong with it.
        columns: where the events will go.
        progress: is told how many more lines were looked at, now and then.
    """
    known = Known(columns)
    found = Survey(Lines(data, np.zeros(1, np.int64), 0, 0), columns)
    steps: list[Places] = []
    count = 0
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for start, part in _in_order(pool, data, known):
            steps.append(steps_of(part.starts, count) + start)
            if part.piece.count:
                part.piece.columns["line"] += np.uint32(count)
            found.pieces.append(part.piece)
            found.rest.append(part.rest + count)
            found.replaced += part.replaced
            count += part.lines
            found.ends.append(count)
            progress(part.lines)
    found.lines = Lines(data, np.concatenate(steps), 0, count)
    return found


def _in_order(
    pool: ThreadPoolExecutor, data: Bytes, known: Known
) -> Iterator[tuple[int, _Surveyed]]:
    """What tells each chunk, where does it begin, one after the other?"""
    waiting: list[tuple[int, Future[_Surveyed]]] = []
    ahead = 2 * (os.cpu_count() or 1)
    for start, end in _chunks(data):
        waiting.append((start, pool.submit(_survey_chunk, data, start, end, known)))
        if len(waiting) > ahead:
            place, future = waiting.pop(0)
            yield place, future.result()
    for place, future in waiting:
        yield place, future.result()


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


def _survey_chunk(data: Bytes, start: int, end: int, known: Known) -> _Surveyed:
    part = data[start:end]
    replaced = 0 if part.isascii() else characters(part).replaced
    chunk: Chunk = chunk_of(part)
    told = trace_lines(chunk, known)
    dull = dull_lines(chunk, told.regular, told.begins)
    rest = np.flatnonzero(~(told.regular | dull))
    return _Surveyed(len(chunk), chunk.starts - MARGIN, told.piece, rest, replaced)
