"""What tells one chunk of a text, and which of its lines must be read one by one?"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from topbit.readers.bulk.chunk import NEWLINE, Chunk, chunk_of
from topbit.readers.bulk.dull_lines import dull_lines, telling_in_passes
from topbit.readers.bulk.known import Known
from topbit.readers.bulk.stored import STEP
from topbit.readers.bulk.trace_lines import TraceLines, trace_lines
from topbit.readers.bulk.words import MARGIN, Mask, Places, Text
from topbit.readers.columns import Columns, Piece
from topbit.readers.encoding import characters
from topbit.readers.stored_bytes import Bytes, read_into


class Means(NamedTuple):
    """By what is a chunk looked at: by NumPy, or by numba?

    Attributes:
        scan: which lines has a text, and what tell its trace lines?
        telling: which of these lines hold a word that tells something?
    """

    scan: Callable[[Text, Known], tuple[Chunk, TraceLines]]
    telling: Callable[[Chunk, Places], Mask]


def in_passes(text: Text, known: Known) -> tuple[Chunk, TraceLines]:
    """Which lines has a text, and what tell its trace lines? With NumPy."""
    chunk = chunk_of(text)
    return chunk, trace_lines(chunk, known)


IN_PASSES = Means(in_passes, telling_in_passes)


@dataclass(frozen=True, slots=True)
class Surveyed:
    """What tells one chunk? Its lines are counted from 0.

    Attributes:
        lines: how many it has.
        steps: where every STEPth of them begins, from the chunk's beginning.
        piece: the events that were read in bulk.
        rest: the lines that must be read one by one.
        replaced: bytes that are no text.
        end: where the chunk ends in the text.
    """

    lines: int
    steps: Places
    piece: Piece
    rest: Places
    replaced: int
    end: int


class Surveyor:
    """Who looks at chunks of a text?

    Args:
        data: the text's bytes.
        columns: where the events will go, whose vocabularies the pieces are of.
        means: by what they are looked at.
    """

    def __init__(self, data: Bytes, columns: Columns, means: Means = IN_PASSES) -> None:
        self._data, self._known, self._means = data, Known(columns), means
        # Kept from chunk to chunk: new memory has to be got from the system.
        self._room = np.empty(0, np.uint8)

    def survey(self, start: int, end: int) -> Surveyed:
        """What tells the chunk from `start` to `end`, where a newline or the text's end is?"""
        size = end - start
        if len(self._room) < size + 2 * MARGIN + 1:
            self._room = np.full(size + size // 8 + 2 * MARGIN + 1, ord(" "), np.uint8)
        size = read_into(self._data, start, self._room.data[MARGIN : MARGIN + size])
        text = self._room[: MARGIN + size + 1 + MARGIN]
        text[MARGIN + size] = NEWLINE
        chunk, told = self._means.scan(text, self._known)
        replaced = 0
        if chunk.odd.any():
            replaced = characters(text[MARGIN : MARGIN + size].tobytes()).replaced
        dull = dull_lines(chunk, told.regular, told.begins, self._means.telling)
        rest = np.flatnonzero(~(told.regular | dull))
        steps = chunk.starts[::STEP] - MARGIN
        return Surveyed(len(chunk), steps, told.piece, rest, replaced, end)
