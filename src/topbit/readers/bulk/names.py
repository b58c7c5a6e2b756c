"""Which of the few different names stands at each of many places? Each gets a number, once.

Devices, tasks, events and flags repeat all over a trace. A place's characters are hashed, eight a
step, and the hash is looked up; only a name that was never met costs a Python object.
"""

from __future__ import annotations

import secrets
import threading
from typing import Any, TypeAlias

import numpy as np

from topbit.readers.bulk.words import U64, WORD, Places, Words

Codes: TypeAlias = np.ndarray[Any, np.dtype[np.int32]]

LONGEST = 96
"""Characters of a name that are looked at; a longer one is none."""
MOST = 1 << 15
"""Different names; places of others get none."""
NONE = 0
"""The number of what is no name: too long, or one too many."""
SLOTS = 20
"""Bits of the number of places where names are looked up: so many that two seldom meet in one."""


class Names:
    """Which names were met, and which number has each?

    Attributes:
        texts: by number; the first is that of NONE.
    """

    def __init__(self) -> None:
        self.texts: list[str] = [""]
        self._numbers: dict[int, int] = {}
        # Whoever wrote the text does not know these, and cannot make two names' hashes meet.
        count = LONGEST // WORD
        random = [secrets.randbits(64) | 1 for _ in range(2 * count + 1)]
        self._factors = np.array(random[:-1], np.uint64).reshape(2, count)
        self._of_length = np.uint64(random[-1])
        self._hashes = np.zeros(1 << SLOTS, np.uint64)
        self._slots = np.zeros(1 << SLOTS, np.int32)
        self._lock = threading.Lock()

    @property
    def table(self) -> tuple[U64, Codes, U64, np.uint64]:
        """By what are names known: hashes and numbers in their slots, and what makes a hash?"""
        return self._hashes, self._slots, self._factors, self._of_length

    def encode(self, words: Words, starts: Places, ends: Places) -> Codes:
        """Which numbers have the names from `starts` to `ends`?"""
        length = ends - starts
        hashes = self._hash(words, starts, length)
        slots = (hashes >> np.uint64(64 - SLOTS)).astype(np.int64)
        codes: Codes = self._slots[slots]
        strange = np.flatnonzero((self._hashes[slots] != hashes) | (codes == NONE))
        if len(strange):
            codes[strange] = self._learn(words, starts[strange], ends[strange], hashes[strange])
        bad = (length < 0) | (length > LONGEST)
        if bad.any():
            codes[bad] = NONE
        return codes

    def _hash(self, words: Words, starts: Places, length: Places) -> U64:
        longest = min(int(length.max(initial=0)), LONGEST)
        return words.hashes(starts, length, longest, self._factors, self._of_length)

    def _learn(self, words: Words, starts: Places, ends: Places, hashes: U64) -> Codes:
        different, first, inverse = np.unique(hashes, return_index=True, return_inverse=True)
        numbers = np.zeros(len(different), np.int32)
        for index, (known, at) in enumerate(zip(different.tolist(), first.tolist(), strict=True)):
            start, end = int(starts[at]), int(ends[at])
            if 0 <= end - start <= LONGEST:
                numbers[index] = self._number(known, words.text[start:end].tobytes())
        return numbers[inverse]

    def _number(self, known: int, name: bytes) -> int:
        with self._lock:
            number = self._numbers.get(known)
            if number is None and len(self.texts) <= MOST:
                number = self._numbers[known] = len(self.texts)
                self.texts.append(name.decode("ascii", "replace"))
                slot = known >> (64 - SLOTS)
                if self._slots[slot] == NONE:
                    # The hash is written last: until then the place counts as another's.
                    self._slots[slot] = number
                    self._hashes[slot] = known
            return number or NONE
