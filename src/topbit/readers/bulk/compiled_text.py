"""What stands at a place of a text? For numba, which goes from byte to byte, or word to word.

Imported only if used. Nothing here looks whether a place is in the text: who asks stays within its
lines and their margins.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic

from topbit.readers.bulk.names import LONGEST, SLOTS
from topbit.readers.bulk.words import ONES, TOP_BITS, WORD

F = TypeVar("F", bound=Callable[..., Any])

NEWLINE, ZERO = b"\n0"
_NEWLINES = np.uint64(NEWLINE) * ONES
_NO_DIGIT = 0xFF
_DIGITS = np.full(256, _NO_DIGIT, np.uint8)
_DIGITS[list(b"0123456789abcdef")] = range(16)
_EVERY, _HALF = np.uint64(0xFFFF_FFFF_FFFF_FFFF), np.uint64(32)


def fast(function: F) -> F:
    """The function, compiled at its first call, which is kept for other processes."""
    compiled: Any = njit(cache=True, nogil=True)
    return cast(F, compiled(function))


def _inlined(build: Callable[..., Any]) -> Any:
    """What is built of a machine's own instructions."""
    return intrinsic(build)


@_inlined
def word(_context: Any, text: Any, _at: Any) -> Any:
    """Which eight bytes stand at a place of a text? The lowest of the number is the first of them.

    Nothing looks whether the place is in the text, nor whether it is before its end if negative.
    """

    def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        place = _address(context, builder, signature, arguments)
        word = builder.bitcast(place, ir.IntType(64).as_pointer())
        return builder.load(word, align=1)

    return types.uint64(text, types.int64), build


@_inlined
def byte(_context: Any, text: Any, _at: Any) -> Any:
    """Which byte stands there? As `word`."""

    def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        place = _address(context, builder, signature, arguments)
        return builder.zext(builder.load(place), ir.IntType(64))

    return types.int64(text, types.int64), build


@_inlined
def zeros(_context: Any, _number: Any) -> Any:
    """How many bits below the lowest that is set has a number that is not 0?"""

    def build(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        return builder.cttz(arguments[0], ir.Constant(ir.IntType(1), 1))

    return types.int64(types.uint64), build


def _address(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
    text = context.make_array(signature.args[0])(context, builder, arguments[0])
    return builder.gep(text.data, [arguments[1]])


@fast
def code_of(text: Any, start: int, size: int, table: Any) -> int:
    """Which number has the text of `size` characters at `start`? As `Names.encode`; 0 if none."""
    hashes, slots, factors, of_length = table
    if size > LONGEST:
        return 0
    total = np.uint64(size) * of_length
    number = 0
    while size > 0:
        value = word(text, start)
        if size < WORD:
            value &= _EVERY >> np.uint64(64 - 8 * size)
        value *= factors[0, number]
        value ^= value >> _HALF
        total += value * factors[1, number]
        number += 1
        start += WORD
        size -= WORD
    total ^= total >> _HALF
    total *= of_length
    slot = total >> np.uint64(64 - SLOTS)
    return slots[slot] if hashes[slot] == total else 0


@fast
def places_of(text: Any, at: int, pattern: Any) -> Any:
    """At which of the eight places from `at` on stands a byte that `pattern` is eight of?

    The lowest bit that is set is the first one's.
    """
    other = word(text, at) ^ pattern
    return (other - ONES) & ~other & TOP_BITS


@fast
def line_end(text: Any, at: int) -> Any:
    """Where does the line end?"""
    found = places_of(text, at, _NEWLINES)
    while found == 0:
        at += WORD
        found = places_of(text, at, _NEWLINES)
    return at + (zeros(found) >> 3)


@fast
def hexadecimal(text: Any, at: int) -> Any:
    """Which number stands there, and where does it end? Where it begins, if it is none."""
    value = np.uint64(0)
    start = at
    digit = _DIGITS[byte(text, at)]
    while digit != _NO_DIGIT:
        value = (value << np.uint64(4)) | np.uint64(digit)
        at += 1
        digit = _DIGITS[byte(text, at)]
    return value, at if at - start <= 16 else start


@fast
def decimal(text: Any, at: int) -> Any:
    """Which number stands there, and where does it end? Where it begins, if it is none."""
    value = 0
    start = at
    digit = byte(text, at) - ZERO
    while 0 <= digit <= 9:
        value = value * 10 + digit
        at += 1
        digit = byte(text, at) - ZERO
    return np.uint64(value), at if at - start <= 8 else start


@fast
def behind(text: Any, at: int, literal: Any) -> int:
    """Where does the text go on behind this literal? There, if something else stands there."""
    same = True
    for number in range(len(literal)):
        same &= byte(text, at + number) == literal[number]
    return at + len(literal) if same else at
