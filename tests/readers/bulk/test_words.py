"""Numbers and literals at many places of a text, against Python's own reading of each."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from topbit.readers.bulk.words import MARGIN, Words
from topbit.readers.bulk.words_numba import FastWords
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


def test_where_bytes_stand_and_how_many_are_odd() -> None:
    data = b" " * MARGIN + b"a: b:c: \t\x7f\xe9~" + b" " * MARGIN
    words = Words(np.frombuffer(data, np.uint8))
    assert (words.where(ord(":")) - MARGIN).tolist() == [1, 4, 6]
    assert (words.where(ord(":"), ord(" ")) - MARGIN).tolist() == [1, 6]
    assert words.count_odd() == 3


TEXTS = st.lists(st.text(st.sampled_from("0123456789abcdefgG:/ -x"), max_size=20), min_size=1)


@settings(deadline=None)
@given(TEXTS, st.integers(0, 100))
def test_numba_tells_the_same(texts: list[str], longest: int) -> None:
    words, starts, ends = words_of(texts)
    fast = FastWords(words.text)
    for name in ("hexadecimal", "decimal"):
        values, good = getattr(words, name)(starts, ends)
        same, also = getattr(fast, name)(starts, ends)
        assert good.tolist() == also.tolist()
        assert values[good].tolist() == same[good].tolist()
    for literal in LITERALS[:2]:
        assert words.ends(ends, literal).tolist() == fast.ends(ends, literal).tolist()
    factors = np.arange(3, 31, dtype=np.uint64).reshape(2, 14) * np.uint64(0x9E3779B97F4A7C15)
    hashes = [
        one.hashes(starts, ends - starts, longest, factors, np.uint64(77)) for one in (words, fast)
    ]
    assert hashes[0].tolist() == hashes[1].tolist()
