"""Which lines hold a word that tells something? For numba (imported only if used)."""

from __future__ import annotations

from functools import cache
from itertools import groupby
from typing import Any, NamedTuple

import numpy as np

from topbit.readers.bulk.chunk import Chunk
from topbit.readers.bulk.compiled_text import byte, fast, word
from topbit.readers.bulk.dull_lines import words_by_key
from topbit.readers.bulk.words import Mask, Places
from topbit.readers.growing import Array

PAIR = 2
"""Characters that words are looked up by: the first of what they are known by."""
_PAIR = np.uint64((1 << 8 * PAIR) - 1)


class _Words(NamedTuple):
    """The words, those together whose keys begin with the same pair of characters.

    Attributes:
        of_pair: which pairs begin a key.
        first, behind: of each pair, from where to where are its words?
        key_at: where in each word is its key?
        start, end: from where to where in `text` is each?
        text: all of them.
    """

    of_pair: Mask
    first: Array
    behind: Array
    key_at: Places
    start: Places
    end: Places
    text: Array


def telling_compiled(chunk: Chunk, asked: Places) -> Mask:
    """Which of these lines hold a word that tells something? With numba."""
    telling = np.zeros(len(asked), np.bool_)
    _mark_telling(chunk.words.text, chunk.starts[asked], chunk.ends[asked], _words(), telling)
    return telling


@cache
def _words() -> _Words:
    known = sorted((key, one, at) for key, words in words_by_key().items() for one, at in words)
    lengths = np.array([len(one) for _, one, _ in known])
    ends = np.cumsum(lengths)
    of_pair = np.zeros(1 << 8 * PAIR, np.bool_)
    first, behind = np.zeros((2, 1 << 8 * PAIR), np.uint16)
    number = 0
    for key, words in groupby(known, lambda told: told[0][:PAIR]):
        pair = int.from_bytes(key, "little")
        of_pair[pair] = True
        first[pair] = number
        number += sum(1 for _ in words)
        behind[pair] = number
    text = np.frombuffer(b"".join(one for _, one, _ in known), np.uint8)
    key_at = np.array([at for _, _, at in known])
    return _Words(of_pair, first, behind, key_at, ends - lengths, ends, text)


@fast
def _mark_telling(text: Any, starts: Any, ends: Any, words: Any, telling: Any) -> None:
    for line in range(len(starts)):
        start, end = starts[line], ends[line]
        for at in range(start, end - 1):
            if _begins_a_key(text, start, end, at, words):
                telling[line] = True
                break


@fast
def _begins_a_key(text: Any, start: int, end: int, at: int, words: Any) -> bool:
    """Does what a word is known by begin there, and is the rest of the word around it?"""
    pair = word(text, at) & _PAIR
    if not words.of_pair[pair]:
        return False
    for number in range(words.first[pair], words.behind[pair]):
        begin = at - words.key_at[number]
        length = words.end[number] - words.start[number]
        if begin < start or begin + length > end:
            continue
        place = 0
        while (
            place < length and byte(text, begin + place) == words.text[words.start[number] + place]
        ):
            place += 1
        if place == length:
            return True
    return False
