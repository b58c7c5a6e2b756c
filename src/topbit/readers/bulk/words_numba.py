"""How does numba look at many places of a text? One place after the other (imported only if used).

Each answer is that of `Words`, which does without.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from topbit.readers.bulk.words import U64, Mask, Places, Words

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
def _ends(text: Any, ends: Any, literal: Any, good: Any) -> None:
    size = len(literal)
    for i in range(len(ends)):
        start = ends[i] - size
        same = True
        for at in range(size):
            if text[start + at] != literal[at]:
                same = False
                break
        good[i] = same


@_fast
def _hashes(
    text: Any, starts: Any, length: Any, longest: int, factors: Any, of_length: Any, found: Any
) -> None:
    for i in range(len(starts)):
        start, size = starts[i], length[i]
        total = np.uint64(size) * of_length
        words = (longest + 7) // 8
        for number in range(words):
            word = np.uint64(0)
            first = start + number * 8
            left = min(max(size - number * 8, 0), 8)
            for at in range(left):
                word |= np.uint64(text[first + at]) << np.uint64(8 * at)
            word *= factors[0, number]
            word ^= word >> np.uint64(32)
            total += word * factors[1, number]
        total ^= total >> np.uint64(32)
        found[i] = total * of_length


class FastWords(Words):
    """What stands in a text at which place? As `Words`, with numba."""

    def ends(self, ends: Places, literal: bytes) -> Mask:
        """At which of these places does the text end with this literal?"""
        good = np.empty(len(ends), np.bool_)
        _ends(self.text, ends, np.frombuffer(literal, np.uint8), good)
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
        _hashes(self.text, starts, length, longest, factors, of_length, found)
        return found
