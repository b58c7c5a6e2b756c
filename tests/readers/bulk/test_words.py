"""Numbers and literals at many places of a text, against Python's own reading of each."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from topbit.readers.bulk.words import MARGIN, Words
from words_text import words_of


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("0", 0),
        ("00ff", 0xFF),
        ("10097002000", 0x100_9700_2000),
        ("0123456789abcdef", 0x0123_4567_89AB_CDEF),
        ("ffffffffffffffff", (1 << 64) - 1),
        ("", None),
        ("10000000000000000", None),
        *((f"1{bad}", None) for bad in "/:`gGA. "),
        *((f"1{bad}23456789", None) for bad in "/:`gGA. "),
    ],
)
def test_hexadecimal(text: str, value: int | None) -> None:
    words, starts, ends = words_of(["77", text, "abc"])
    values, good = words.hexadecimal(starts, ends)
    assert good.tolist() == [True, value is not None, True]
    assert [values[0], values[2]] == [0x77, 0xABC]
    assert value is None or int(values[1]) == value


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("0", 0),
        ("4096", 4096),
        ("00012", 12),
        ("99999999", 99999999),
        ("12345678", 12345678),
        ("", None),
        ("100000000", None),
        *((f"1{bad}2", None) for bad in "/:a -"),
    ],
)
def test_decimal(text: str, value: int | None) -> None:
    words, starts, ends = words_of(["7", text, "65536"])
    values, good = words.decimal(starts, ends)
    assert good.tolist() == [True, value is not None, True]
    assert [values[0], values[2]] == [7, 65536]
    assert value is None or int(values[1]) == value


@settings(deadline=None)
@given(st.lists(st.integers(0, (1 << 64) - 1), min_size=1))
def test_all_numbers_at_once(numbers: list[int]) -> None:
    words, starts, ends = words_of([f"{number:x}" for number in numbers])
    values, good = words.hexadecimal(starts, ends)
    assert (values.tolist(), good.all()) == (numbers, True)
    small = [number % 10**8 for number in numbers]
    words, starts, ends = words_of([str(number) for number in small])
    values, good = words.decimal(starts, ends)
    assert (values.tolist(), good.all()) == (small, True)


LITERALS = [b"=", b" dir", b"dma_addr", b" dma_addr", b" phys_addr", b" unmapped_size"]


@pytest.mark.parametrize("literal", LITERALS)
def test_what_a_place_ends_with(literal: bytes) -> None:
    right = literal.decode()
    wrong = [right[:at] + "#" + right[at + 1 :] for at in range(len(right))]
    words, _, ends = words_of([right, *wrong, f"before{right}"])
    assert words.ends(ends, literal).tolist() == [True, *[False] * len(wrong), True]


def test_where_bytes_stand() -> None:
    data = b" " * MARGIN + b"a: b:c: " + b" " * MARGIN
    words = Words(np.frombuffer(data, np.uint8))
    assert (words.where(ord(":")) - MARGIN).tolist() == [1, 4, 6]
