"""Where do the lines of a piece of text lie, and which of them hold odd bytes?"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from topbit.readers.bulk.words import FIRST, MARGIN, SPAN, Mask, Places, Words

NEWLINE, RETURN = 10, 13


@dataclass(frozen=True, slots=True)
class Chunk:
    """Which lines has a piece of text?

    Attributes:
        words: its bytes; offsets into it count the margin before them.
        starts, ends: of each line, without what ends the line.
        odd: the line holds a byte that is no printable character of ASCII.
    """

    words: Words
    starts: Places
    ends: Places
    odd: Mask

    def __len__(self) -> int:
        return len(self.starts)


def chunk_of(data: bytes, make: type[Words] = Words) -> Chunk:
    """Which lines has this text? What stands behind the last newline is a line too.

    `make`: who looks at its words.
    """
    margin = b" " * MARGIN
    text = np.frombuffer(b"".join((margin, data, b"\n", margin)), np.uint8)
    words = make(text)
    ends = words.where(NEWLINE)
    starts = np.concatenate(([MARGIN], ends[:-1] + 1))
    odd = np.zeros(len(ends), np.bool_)
    if words.count_odd() > len(ends):
        # Bytes before the space wrap around to large numbers.
        others = np.flatnonzero(((text - FIRST) > SPAN) & (text != NEWLINE))
        returns = (text[others] == RETURN) & (text[others + 1] == NEWLINE)
        lines = np.searchsorted(ends, others)
        ends = ends.copy()
        ends[lines[returns]] -= 1
        odd[lines[~returns]] = True
    return Chunk(words, starts, ends, odd)
