"""Which lines of a chunk tell nothing whatever, so that nobody has to read them one by one?

They hold none of the words that readers look for, and are not the beginning of a line that a mail
program or a terminal broke within such a word.
"""

from __future__ import annotations

from collections.abc import Callable
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
KEY = 8
SIZES = (KEY, 4, 2)
"""Characters that a word is known by at first, those of its characters that are the rarest."""
BLOCK = 1 << 16
"""Characters that are looked at together: what is made of them stays in a core's cache."""
OPENING, CLOSING, BLANK, DOT, NINE, ZERO = b"[] .90"
SECONDS, FRACTION = 5, 6
"""Digits of a printk time as the kernel prints it (printk.c:print_time)."""


def dull_lines(
    chunk: Chunk, regular: Mask, begins: Mask, telling: Callable[[Chunk, Places], Mask]
) -> Mask:
    """Which lines of the chunk tell nothing?

    Args:
        chunk: the lines.
        regular: those that are read already.
        begins: those that begin as a line does, of `regular`.
        telling: which of these lines hold a word that tells something?
    """
    dull = ~regular & ~chunk.odd
    asked = np.flatnonzero(dull)
    if not len(asked):
        return dull
    dull[asked[telling(chunk, asked)]] = False
    asked = np.flatnonzero(dull)
    length = chunk.ends[asked] - chunk.starts[asked]
    # The last line of a chunk may be continued in the next.
    behind = np.minimum(asked + 1, len(chunk) - 1)
    broken = (length >= NARROWEST) & (length <= WIDEST)
    broken &= ~begins[behind] & ~_has_stamp(chunk, behind) | (asked == len(chunk) - 1)
    dull[asked[broken]] = False
    return dull


def telling_in_passes(chunk: Chunk, asked: Places) -> Mask:
    """Which of these lines hold a word that tells something? With NumPy."""
    # The character behind each line is in no word.
    text = b"".join(chunk.bytes_of(asked))
    behind = np.cumsum(chunk.ends[asked] + 1 - chunk.starts[asked])
    telling = np.zeros(len(asked), np.bool_)
    words = words_by_key()
    for start in range(0, len(text), BLOCK):
        part = np.frombuffer(text[start : start + BLOCK + KEY - 1], np.uint8)
        for at in (_may_tell(part.astype(np.int64)) + start).tolist():
            for size in SIZES:
                for word, offset in words.get(text[at : at + size], ()):
                    if text.startswith(word, max(at - offset, 0)):
                        telling[np.searchsorted(behind, at, "right")] = True
    return telling


def _may_tell(text: Places) -> Places:
    """Where in a text of characters stands what a word is known by?"""
    first, whole, *keys = _known_by()
    pairs = text[:-1] | text[1:] << 8
    at = np.flatnonzero(first[pairs])
    last = len(pairs) - 1
    four = pairs[at] | pairs[np.minimum(at + 2, last)] << 16
    eight = four | (pairs[np.minimum(at + 4, last)] | pairs[np.minimum(at + 6, last)] << 16) << 32
    telling: Places = at[whole[pairs[at]] | _among(four, keys[0]) | _among(eight, keys[1])]
    return telling


def _among(found: Places, keys: Places) -> Mask:
    same: Mask = keys[np.minimum(np.searchsorted(keys, found), len(keys) - 1)] == found
    return same


@cache
def words_by_key() -> dict[bytes, list[tuple[bytes, int]]]:
    """Which words are known by some characters of theirs, and where in them do these stand?"""
    found: dict[bytes, list[tuple[bytes, int]]] = {}
    for word in TELLING:
        size = next(size for size in SIZES if size <= len(word))
        best = max(
            range(len(word) - size + 1),
            key=lambda at: sum(map(_rarity, word[at : at + size])),
        )
        found.setdefault(word[best : best + size].encode(), []).append((word.encode(), best))
    return found


@cache
def _known_by() -> tuple[Mask, Mask, Places, Places]:
    """Which pairs begin what words are known by, which are that, and which numbers are the others?

    The numbers are those of four characters and of eight, in order.
    """
    first, whole = np.zeros(1 << 16, np.bool_), np.zeros(1 << 16, np.bool_)
    numbers: dict[int, list[int]] = {size: [] for size in SIZES}
    for key in words_by_key():
        first[int.from_bytes(key[:2], "little")] = True
        numbers[len(key)].append(int.from_bytes(key, "little"))
    whole[numbers[2]] = True
    four, eight = (np.array(sorted(numbers[size]), np.int64) for size in (4, 8))
    return first, whole, four, eight


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
