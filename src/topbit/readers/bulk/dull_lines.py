"""Which lines of a chunk tell nothing whatever, so that nobody has to read them one by one?

They hold none of the words that readers look for, and are not the beginning of a line that a mail
program or a terminal broke within such a word.
"""

from __future__ import annotations

from functools import cache

import numpy as np

from topbit.readers.bulk.chunk import Chunk
from topbit.readers.bulk.words import Mask, Places
from topbit.readers.ftrace.line import HINTS, LOSSES
from topbit.readers.joined import NARROWEST, WIDEST
from topbit.readers.needles import NEEDLES

TELLING = sorted({*NEEDLES, *HINTS, *LOSSES})
"""A line without any of these tells nothing by itself."""
COMMON = " etaoinsrhldcumfpgwybvkxjqz"
"""What logs are mostly made of, the most usual character first."""
GRAM = 4
"""Characters that a word is known by at first, those of its characters that are the rarest."""
PAIR = 0xFFFF
"""The numbers of two characters."""
BLOCK = 1 << 16
"""Characters that are looked at together: what is made of them stays in a core's cache."""
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
    length = chunk.ends[asked] - chunk.starts[asked] + 1
    behind = np.cumsum(length)
    telling = np.zeros(len(asked), np.bool_)
    words, start = _words(), 0
    while start < len(asked):
        before = int(behind[start] - length[start])
        end = max(int(np.searchsorted(behind, before + BLOCK, "right")), start + 1)
        # Each line with the character behind it, which is in no word.
        begins = chunk.starts[asked[start:end]] - (behind[start:end] - length[start:end])
        places = np.repeat(begins, length[start:end]) + np.arange(before, behind[end - 1])
        text = chunk.words.text[places]
        whole = text.tobytes()
        for at in _may_tell(text.astype(np.int64)).tolist():
            gram = int.from_bytes(whole[at : at + GRAM], "little")
            for word, offset in (*words.get(gram, ()), *words.get(gram & PAIR, ())):
                if whole.startswith(word, at - offset):
                    telling[np.searchsorted(behind, before + at, "right")] = True
        start = end
    return telling


def _may_tell(text: Places) -> Places:
    """Where in a text of characters stands what the words are known by?"""
    first, alone, grams = _known_by()
    pairs = text[:-1] | text[1:] << 8
    at = np.flatnonzero(first[pairs])
    found = pairs[at] | pairs[np.minimum(at + 2, len(pairs) - 1)] << 16
    near = np.minimum(np.searchsorted(grams, found), len(grams) - 1)
    telling: Places = at[(grams[near] == found) | alone[pairs[at]]]
    return telling


@cache
def _words() -> dict[int, list[tuple[bytes, int]]]:
    """Which words are known by some characters of theirs, and where in them do these stand?"""
    found: dict[int, list[tuple[bytes, int]]] = {}
    for word in TELLING:
        windows = range(max(len(word) - GRAM, 0) + 1)
        best = max(windows, key=lambda at: sum(map(_rarity, word[at : at + GRAM])))
        gram = int.from_bytes(word[best : best + GRAM].encode(), "little")
        found.setdefault(gram, []).append((word.encode(), best))
    return found


@cache
def _known_by() -> tuple[Mask, Mask, Places]:
    """Which pairs of characters begin what words are known by, which are a word, and what is it?"""
    grams = np.array(sorted(_words()), np.int64)
    first, alone = np.zeros(PAIR + 1, np.bool_), np.zeros(PAIR + 1, np.bool_)
    first[grams & PAIR] = True
    alone[grams[grams <= PAIR]] = True
    return first, alone, grams


def _rarity(character: str) -> int:
    return COMMON.index(character) if character in COMMON else 2 * len(COMMON)


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
