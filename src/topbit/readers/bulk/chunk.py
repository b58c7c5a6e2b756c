"""Where do the lines of a piece of text lie, and which characters in them set their parts apart?"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from topbit.readers.bulk.words import MARGIN, Mask, Places, Text, Words, scratch

NEWLINE, RETURN, COLON, BLANK, EQUALS = b"\n\r: ="
FIRST_PRINTABLE = np.int8(32 + 1)
"""Behind this in the order of signed numbers, once 1 is added, come the printable ones of ASCII."""
LONGEST_LINE = 1 << 16
"""Characters of a line that is read in bulk, so that the counts below have room."""
A_COLON, A_LINE_END, ODD = 1 << 20, 0, 1 << 40
_WEIGHTS = np.full(256, ODD, np.int64)
_WEIGHTS[[EQUALS, COLON, NEWLINE]] = 1, A_COLON, A_LINE_END


@dataclass(frozen=True, slots=True)
class Chunk:
    """Which lines has a piece of text?

    Attributes:
        words: its bytes; offsets into it count the margin before them.
        starts, ends: of each line, without what ends the line.
        marks: where each "=" and ": " is, and the end of each line.
        first: which of the marks is the first of each line.
        equals, colons: how many "=" and ": " each line has, 0 if it is too long to be looked at.
        odd: the line holds a byte that is no printable character of ASCII.
    """

    words: Words
    starts: Places
    ends: Places
    marks: Places
    first: Places
    equals: Places
    colons: Places
    odd: Mask

    def __len__(self) -> int:
        return len(self.starts)

    def bytes_of(self, lines: Places) -> list[memoryview]:
        """Which characters have these lines, each with the one behind it?"""
        data = self.words.text.data
        starts, ends = self.starts[lines].tolist(), (self.ends[lines] + 1).tolist()
        return [data[start:end] for start, end in zip(starts, ends, strict=True)]


def chunk_of(text: Text) -> Chunk:
    """Which lines has this text?

    Args:
        text: bytes between two margins. The last of them is a newline.
    """
    marks = _marks(text)
    kinds = text[marks]
    line_ends = np.flatnonzero(kinds == NEWLINE)
    ends = marks[line_ends]
    starts = np.concatenate(([MARGIN], ends[:-1] + 1))
    returns = np.flatnonzero(kinds == RETURN)
    returns = returns[text[marks[returns] + 1] == NEWLINE]
    if len(returns):
        # The line ends before both of them.
        marks[returns + 1] -= 1
        marks, kinds = np.delete(marks, returns), np.delete(kinds, returns)
        line_ends = np.flatnonzero(kinds == NEWLINE)
        ends = marks[line_ends]
    weights = np.cumsum(_WEIGHTS[kinds])[line_ends]
    weights[1:] -= weights[:-1].copy()
    short = ends - starts < LONGEST_LINE
    first = np.concatenate(([0], line_ends[:-1] + 1))
    equals = (weights & (A_COLON - 1)) * short
    colons = ((weights & (ODD - 1)) >> 20) * short
    return Chunk(Words(text), starts, ends, marks, first, equals, colons, weights >= ODD)


def _marks(text: Text) -> Places:
    size = len(text) - 2 * MARGIN
    part, behind = text[MARGIN : MARGIN + size], text[MARGIN + 1 : MARGIN + 1 + size]
    found, other = scratch(0, size), scratch(1, size)
    np.equal(part, COLON, out=found)
    found &= np.equal(behind, BLANK, out=other)
    found |= np.equal(part, EQUALS, out=other)
    moved = np.add(part, np.uint8(1), out=other.view(np.uint8)).view(np.int8)
    found |= np.less(moved, FIRST_PRINTABLE, out=other)
    return np.flatnonzero(found) + MARGIN
