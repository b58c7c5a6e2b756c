"""Where do the lines of a piece of text lie, and which of them hold odd bytes?"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from topbit.readers.bulk.words import MARGIN, Mask, Places, Words

NEWLINE, RETURN = 10, 13
_FIRST, _SPAN = np.uint8(32), np.uint8(94)
"""The first of the printable characters of ASCII, and how far the last one is from it."""


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


def chunk_of(data: bytes) -> Chunk:
    """Which lines has this text? What stands behind the last newline is a line too."""
    margin = b" " * MARGIN
    text = np.frombuffer(b"".join((margin, data, b"\n", margin)), np.uint8)
    # Bytes before the space wrap around to large numbers.
    strange = np.flatnonzero((text - _FIRST) > _SPAN)
    is_end = text[strange] == NEWLINE
    ends = strange[is_end]
    starts = np.concatenate(([MARGIN], ends[:-1] + 1))
    odd = np.zeros(len(ends), np.bool_)
    others = strange[~is_end]
    if len(others):
        returns = (text[others] == RETURN) & (text[others + 1] == NEWLINE)
        lines = np.searchsorted(ends, others)
        ends = ends.copy()
        ends[lines[returns]] -= 1
        odd[lines[~returns]] = True
    return Chunk(Words(text), starts, ends, odd)
