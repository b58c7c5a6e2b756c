"""Which numbers and words stand at many places of a text at once? Eight characters a step.

A text is an array of bytes; places are arrays of offsets into it. Eight characters are one 64-bit
number whose lowest byte is the first of them, and are looked at together. Only ASCII is: the
arithmetic below counts on bytes less than 0x80.
"""

from __future__ import annotations

import threading
from typing import Any, TypeAlias

import numpy as np

Text: TypeAlias = np.ndarray[Any, np.dtype[np.uint8]]
U64: TypeAlias = np.ndarray[Any, np.dtype[np.uint64]]
Places: TypeAlias = np.ndarray[Any, np.dtype[np.int64]]
Mask: TypeAlias = np.ndarray[Any, np.dtype[np.bool_]]

WORD = 8
MARGIN = 128
"""Bytes that stand before and behind a text, so that words around its ends can be taken."""
HALF = np.uint64(32)


def _each(byte: int) -> np.uint64:
    """What is a word of eight such bytes?"""
    return np.uint64(byte * 0x0101_0101_0101_0101)


TOP_BITS, ZEROS, LOW_NIBBLES, ONES = _each(0x80), _each(0x30), _each(0x0F), _each(0x01)
_IS_LETTER = np.uint64(6)
"""Bit 6 is set in letters, not in digits."""
# What makes bit 7 of a byte tell that it is at least, or beyond, the ends of a range.
FROM_0, BEYOND_9, FROM_A, BEYOND_F = (_each(0x80 - c) for c in (0x30, 0x3A, 0x61, 0x67))
# Which bits of a word are those of its first or last so many characters, 0 to 8?
FIRST_OF = np.array([(1 << 8 * count) - 1 for count in range(WORD + 1)], np.uint64)
LAST_OF = ~FIRST_OF[::-1]
ZEROS_BEFORE = ZEROS & ~LAST_OF


class Words:
    """What stands in a text at which place?

    Args:
        text: bytes, with MARGIN bytes of anything before and behind what is asked for.
    """

    def __init__(self, text: Text) -> None:
        self.text = text
        self._views: dict[int, Any] = {}

    def at(self, places: Places) -> U64:
        """Which words begin at these places?"""
        return self.several(places, 1)[:, 0]

    def several(self, places: Places, count: int) -> U64:
        """Which words begin at these places, `count` at each? A row for each place."""
        view = self._views.get(count)
        if view is None:
            # The type V has no alignment: NumPy copies it from any place without a detour.
            size = WORD * count
            shape = (len(self.text) - size + 1,)
            view = self._views[count] = np.ndarray(shape, f"V{size}", self.text, strides=(1,))
        found: U64 = view[places].view("<u8").reshape(-1, count)
        return found

    def where(self, byte: int) -> Places:
        """Where does this byte stand?"""
        return np.flatnonzero(np.equal(self.text, byte, out=scratch(0, len(self.text))))

    def ends(self, ends: Places, literal: bytes) -> Mask:
        """At which of these places does the text end with this literal?"""
        count = -(-len(literal) // WORD)
        taken = self.several(ends - count * WORD, count)
        wanted = np.frombuffer(literal.rjust(count * WORD, b"\0"), "<u8")
        before = np.uint64(8 * (count * WORD - len(literal)))
        good: Mask = taken[:, 0] >> before == wanted[0] >> before
        for number in range(1, count):
            good &= taken[:, number] == wanted[number]
        return good

    def hexadecimal(self, starts: Places, ends: Places) -> tuple[U64, Mask]:
        """Which numbers do 1 to 16 hexadecimal digits from `starts` to `ends` tell, if they do?"""
        length = ends - starts
        good = (length >= 1) & (length <= 2 * WORD)
        taken = self.several(ends - 2 * WORD, 2)
        values, valid = _hexadecimal(_last(taken[:, 1], length))
        good &= valid
        if length.max(initial=0) > WORD:
            high, valid = _hexadecimal(_last(taken[:, 0], length - WORD))
            values |= high << HALF
            good &= valid
        return values, good

    def decimal(self, starts: Places, ends: Places) -> tuple[U64, Mask]:
        """Which numbers do 1 to 8 decimal digits from `starts` to `ends` tell, if they do?"""
        length = ends - starts
        good = (length >= 1) & (length <= WORD)
        values, valid = _decimal(_last(self.at(ends - WORD), length))
        return values, good & valid

    def hashes(
        self, starts: Places, length: Places, longest: int, factors: U64, of_length: np.uint64
    ) -> U64:
        """Which numbers tell apart what stands from `starts` on, `length` characters of it each?

        Args:
            starts, length: of the texts.
            longest: characters of a text that are looked at, at most.
            factors: two for each word of them, which nobody can foresee.
            of_length: one more.
        """
        count = -(-longest // WORD)
        hashes: U64 = length.astype(np.uint64) * of_length
        taken = self.several(starts, max(count, 1))
        # Only the last words of a text can hold characters behind it.
        whole = max(int(length.min(initial=longest)), 0) // WORD
        for number in range(count):
            words = taken[:, number]
            if number >= whole:
                left = np.clip(length - number * WORD, 0, WORD)
                words = words & FIRST_OF[left]
            words = words * factors[0, number]
            words ^= words >> HALF
            words *= factors[1, number]
            hashes += words
        hashes ^= hashes >> HALF
        hashes *= of_length
        return hashes


_kept = threading.local()


def scratch(number: int, size: int) -> Mask:
    """Which memory may this thread use for a moment? New memory has to be got from the system."""
    kept: dict[int, Mask] = _kept.__dict__.setdefault("masks", {})
    if number not in kept or len(kept[number]) < size:
        kept[number] = np.empty(size, np.bool_)
    return kept[number][:size]


def _last(words: U64, length: Places) -> U64:
    """What are the words with the digit 0 for what stands before their last `length` characters?"""
    length = np.clip(length, 0, WORD)
    kept: U64 = words & LAST_OF[length]
    kept |= ZEROS_BEFORE[length]
    return kept


def _hexadecimal(words: U64) -> tuple[U64, Mask]:
    digit = (words + FROM_0) & ~(words + BEYOND_9)
    letter = (words + FROM_A) & ~(words + BEYOND_F)
    valid = ((digit | letter) & ~words & TOP_BITS) == TOP_BITS
    value = (words & LOW_NIBBLES) + ((words >> _IS_LETTER) & ONES) * np.uint64(9)
    value = ((value << np.uint64(4)) | (value >> np.uint64(8))) & np.uint64(0x00FF00FF00FF00FF)
    value = ((value << np.uint64(8)) | (value >> np.uint64(16))) & np.uint64(0x0000FFFF0000FFFF)
    value = ((value << np.uint64(16)) | (value >> np.uint64(32))) & np.uint64(0xFFFFFFFF)
    return value, valid


def _decimal(words: U64) -> tuple[U64, Mask]:
    valid = ((words + FROM_0) & ~(words + BEYOND_9) & ~words & TOP_BITS) == TOP_BITS
    value = words & LOW_NIBBLES
    value = (value * np.uint64(10) + (value >> np.uint64(8))) & np.uint64(0x00FF00FF00FF00FF)
    value = (value * np.uint64(100) + (value >> np.uint64(16))) & np.uint64(0x0000FFFF0000FFFF)
    value = (value * np.uint64(10000) + (value >> np.uint64(32))) & np.uint64(0xFFFFFFFF)
    return value, valid
