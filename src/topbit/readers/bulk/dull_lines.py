"""Which lines of a chunk tell nothing whatever, so that nobody has to read them one by one?

They hold none of the words that readers look for, and are not the beginning of a line that a mail
program or a terminal broke within such a word.
"""

from __future__ import annotations

import re

import numpy as np

from topbit.readers.bulk.chunk import Chunk
from topbit.readers.bulk.words import Mask, Places
from topbit.readers.ftrace.line import HINTS, LOSSES
from topbit.readers.joined import NARROWEST, WIDEST
from topbit.readers.needles import NEEDLES

TELLING = sorted({*NEEDLES, *HINTS, *LOSSES})
"""A line without any of these tells nothing by itself."""
# The Rust side keeps what it makes of a pattern, not what it makes of a list of words.
_ANY = "|".join(map(re.escape, TELLING))
OPENING, CLOSING, BLANK, DOT, NINE, ZERO = b"[] .90"
SECONDS, FRACTION = 5, 6
"""Digits of a printk time as the kernel prints it (printk.c:print_time)."""


def dull_lines(chunk: Chunk, regular: Mask, begins: Mask) -> Mask:
    """Which lines of the chunk tell nothing?

    Args:
        chunk: the lines.
        regular: those that are read already.
        begins: those that begin as a line does, of `regular`.
    """
    dull = ~regular & ~chunk.odd
    asked = np.flatnonzero(dull)
    if not len(asked):
        return dull
    dull[asked[_telling(chunk, asked)]] = False
    asked = np.flatnonzero(dull)
    length = chunk.ends[asked] - chunk.starts[asked]
    # The last line of a chunk may be continued in the next.
    behind = np.minimum(asked + 1, len(chunk) - 1)
    broken = (length >= NARROWEST) & (length <= WIDEST)
    broken &= ~begins[behind] & ~_has_stamp(chunk, behind) | (asked == len(chunk) - 1)
    dull[asked[broken]] = False
    return dull


def _telling(chunk: Chunk, asked: Places) -> Mask:
    """Which of these lines hold a word that tells something?"""
    import polars

    length = np.diff(chunk.starts, append=chunk.ends[-1] + 1)
    wanted = np.zeros(len(chunk), np.bool_)
    wanted[asked] = True
    text = chunk.words.text[chunk.starts[0] : chunk.ends[-1] + 1][np.repeat(wanted, length)]
    lines = polars.Series([text.tobytes().decode("ascii")]).str.split("\n").explode()
    return lines.head(len(asked)).str.contains(_ANY).to_numpy()


def _has_stamp(chunk: Chunk, lines: Places) -> Mask:
    """Which of these lines begin with a printk time?"""
    text, at = chunk.words.text, chunk.starts[lines]
    good = (text[at] == OPENING) & (text[at + SECONDS + 1] == DOT)
    good &= text[at + SECONDS + FRACTION + 2] == CLOSING
    for place in (SECONDS, *range(SECONDS + 2, SECONDS + 2 + FRACTION)):
        digit = text[at + place]
        good &= (digit >= ZERO) & (digit <= NINE)
    for place in range(1, SECONDS):
        character = text[at + place]
        good &= ((character >= ZERO) & (character <= NINE)) | (character == BLANK)
    stamped: Mask = good & (chunk.ends[lines] - at > SECONDS + FRACTION + 2)
    return stamped
