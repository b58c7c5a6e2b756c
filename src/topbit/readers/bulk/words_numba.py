"""How does numba look at many places of a text? One place after the other (imported only if used).

Each answer is that of `Words`, which does without.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from topbit.readers.bulk.words import U64, WORD, Mask, Places, Text, Words

_fast = njit(cache=True, nogil=True)


@_fast
def _hexadecimal(text: Any, starts: Any, ends: Any, values: Any, good: Any) -> None:
    for i in range(len(starts)):
        start, end = starts[i], ends[i]
        length = end - start
        fits = 1 <= length <= 16
        value = np.uint64(0)
        if fits:
            for at in range(start, end):
                byte = text[at]
                if 48 <= byte <= 57:
                    digit = byte - 48
                elif 97 <= byte <= 102:
                    digit = byte - 87
                else:
                    fits = False
                    break
                value = (value << np.uint64(4)) | np.uint64(digit)
        values[i] = value
        good[i] = fits


@_fast
def _decimal(text: Any, starts: Any, ends: Any, values: Any, good: Any) -> None:
    for i in range(len(starts)):
        start, end = starts[i], ends[i]
        length = end - start
        fits = 1 <= length <= 8
        value = np.uint64(0)
        if fits:
            for at in range(start, end):
                byte = text[at]
                if not 48 <= byte <= 57:
                    fits = False
                    break
                value = value * np.uint64(10) + np.uint64(byte - 48)
        values[i] = value
        good[i] = fits


@_fast
def _word(aligned: Any, at: int) -> Any:
    """Which word begins at this byte? Words are stored at every eighth."""
    place, shift = at >> 3, np.uint64((at & 7) * 8)
    low = aligned[place] >> shift
    if shift == 0:
        return low
    return low | (aligned[place + 1] << (np.uint64(64) - shift))


@_fast
def _ends(aligned: Any, ends: Any, wanted: Any, before: Any, good: Any) -> None:
    count = len(wanted)
    for i in range(len(ends)):
        start = ends[i] - count * 8
        same = _word(aligned, start) >> before == wanted[0] >> before
        for number in range(1, count):
            same = same and _word(aligned, start + number * 8) == wanted[number]
        good[i] = same


@_fast
def _hashes(
    aligned: Any, starts: Any, length: Any, longest: int, factors: Any, of_length: Any, found: Any
) -> None:
    count = (longest + 7) // 8
    every = np.uint64(0xFFFFFFFFFFFFFFFF)
    for i in range(len(starts)):
        start, size = starts[i], length[i]
        total = np.uint64(size) * of_length
        for number in range(count):
            left = size - number * 8
            if left <= 0:
                # What is not there counts as zeros, which add nothing.
                break
            word = _word(aligned, start + number * 8)
            if left < 8:
                word &= every >> np.uint64(64 - 8 * left)
            word *= factors[0, number]
            word ^= word >> np.uint64(32)
            total += word * factors[1, number]
        total ^= total >> np.uint64(32)
        found[i] = total * of_length


class FastWords(Words):
    """What stands in a text at which place? As `Words`, with numba."""

    def __init__(self, text: Text) -> None:
        super().__init__(text)
        self._aligned = text[: len(text) // WORD * WORD].view("<u8")

    def ends(self, ends: Places, literal: bytes) -> Mask:
        """At which of these places does the text end with this literal?"""
        good = np.empty(len(ends), np.bool_)
        count = -(-len(literal) // WORD)
        wanted = np.frombuffer(literal.rjust(count * WORD, b"\0"), "<u8")
        before = np.uint64(8 * (count * WORD - len(literal)))
        _ends(self._aligned, ends, wanted, before, good)
        return good

    def hexadecimal(self, starts: Places, ends: Places) -> tuple[U64, Mask]:
        """Which numbers do 1 to 16 hexadecimal digits from `starts` to `ends` tell, if they do?"""
        values, good = np.empty(len(starts), np.uint64), np.empty(len(starts), np.bool_)
        _hexadecimal(self.text, starts, ends, values, good)
        return values, good

    def decimal(self, starts: Places, ends: Places) -> tuple[U64, Mask]:
        """Which numbers do 1 to 8 decimal digits from `starts` to `ends` tell, if they do?"""
        values, good = np.empty(len(starts), np.uint64), np.empty(len(starts), np.bool_)
        _decimal(self.text, starts, ends, values, good)
        return values, good

    def hashes(
        self, starts: Places, length: Places, longest: int, factors: U64, of_length: np.uint64
    ) -> U64:
        """Which numbers tell apart what stands from `starts` on, `length` characters of it each?"""
        found = np.empty(len(starts), np.uint64)
        _hashes(self._aligned, starts, length, longest, factors, of_length, found)
        return found
