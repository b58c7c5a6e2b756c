"""How are a million messages written, most of which have the same form?

Messages of one form have the same length, and differ only in some numbers. One of them is written
as any other; where its numbers stand shows when it is written with other ones. The rest is copied.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

U64 = NDArray[np.uint64]
Bytes = NDArray[np.uint8]

PART = 1 << 16
"""Messages that are written at a time."""
HEXADECIMAL, DECIMAL, VARINT = "hexadecimal", "decimal", "varint"
_DIGITS = np.frombuffer(b"0123456789abcdef", np.uint8)
_POWERS = np.array([10**digits for digits in range(20)], np.uint64)


@dataclass(frozen=True, slots=True)
class Number:
    """What is one number that messages of a form differ in?

    Attributes:
        kind: HEXADECIMAL, DECIMAL or VARINT: how it is written.
        width: characters or bytes of it.
        values: of each message; they need no more than `width`.
    """

    kind: str
    width: int
    values: U64

    @property
    def samples(self) -> tuple[int, int]:
        """Which two numbers differ in each character or byte, and need all of them?"""
        if self.kind == HEXADECIMAL:
            return int("1" * self.width, 16), int("2" * self.width, 16)
        if self.kind == DECIMAL:
            return int("1" * self.width), int("2" * self.width)
        return sum(1 << 7 * at for at in range(self.width)), sum(
            2 << 7 * at for at in range(self.width)
        )

    def written(self, values: U64) -> Bytes:
        """How is each of these written?"""
        at, each = np.arange(self.width, dtype=np.uint64), values[:, None]
        if self.kind == VARINT:
            written = ((each >> (at * np.uint64(7))) & np.uint64(0x7F)).astype(np.uint8)
            written[:, :-1] |= np.uint8(0x80)
        elif self.kind == HEXADECIMAL:
            written = _DIGITS[(each >> (at[::-1] * np.uint64(4))) & np.uint64(15)]
        else:
            written = _DIGITS[each // _POWERS[at[::-1].astype(np.int64)] % np.uint64(10)]
        return written


def digits(values: U64) -> NDArray[np.int64]:
    """How many decimal digits has each number?"""
    return np.maximum(np.searchsorted(_POWERS, values, side="right"), 1)


def varint_bytes(values: U64) -> NDArray[np.int64]:
    """How many bytes has each number as a varint?"""
    return np.searchsorted(_SEVENS, values, side="right") + 1


_SEVENS = np.array([1 << 7 * count for count in range(1, 10)], np.uint64)


class Form:
    """How is each message of one form written?

    Args:
        write: who writes one, given its numbers by name.
        numbers: what they differ in; all have values for the same messages. A message need not
            tell all of them.

    Raises:
        ValueError: a number stands in a message in another way.
    """

    def __init__(
        self, write: Callable[[Mapping[str, int]], bytes], numbers: Mapping[str, Number]
    ) -> None:
        samples = {name: number.samples for name, number in numbers.items()}
        firsts = {name: first for name, (first, _) in samples.items()}
        self._numbers = numbers
        self._written = np.frombuffer(write(firsts), np.uint8)
        self._places: dict[str, NDArray[np.int64]] = {}
        for name, (_, second) in samples.items():
            other = np.frombuffer(write(firsts | {name: second}), np.uint8)
            places = np.flatnonzero(self._written != other)
            if len(places) not in (0, numbers[name].width):
                raise ValueError(f"{name} does not stand once in a message")
            if len(places):
                self._places[name] = places

    def __len__(self) -> int:
        """How many bytes has each?"""
        return len(self._written)

    def into(self, out: Bytes, begins: NDArray[np.int64]) -> None:
        """Write them to where each begins."""
        own = np.arange(len(self))
        for start in range(0, len(begins), PART):
            part = slice(start, start + PART)
            messages = np.repeat(self._written[None], len(begins[part]), axis=0)
            for name, places in self._places.items():
                number = self._numbers[name]
                messages[:, places] = number.written(number.values[part])
            out[begins[part][:, None] + own] = messages


def begins_of(lengths: Sequence[int] | NDArray[np.int64]) -> tuple[NDArray[np.int64], int]:
    """Where does each of these begin, one behind the other, and where do all end?"""
    ends = np.cumsum(np.asarray(lengths, np.int64))
    return ends - lengths, int(ends[-1]) if len(ends) else 0
