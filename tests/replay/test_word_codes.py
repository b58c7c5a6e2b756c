"""Columns of words as numbers."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from topbit.replay.word_codes import WordCodes

MANY = [f"device {number:03}" for number in range(300)]


@pytest.mark.parametrize("dtype", [pl.String(), pl.Enum(["a", "b", "c"])])
def test_rows_of_a_stretch_have_the_numbers_of_their_words(dtype: pl.DataType) -> None:
    codes = WordCodes.of(pl.Series(["b", "a", None, "b", "a"], dtype=dtype))
    found = codes.at(1, 4, np.array([2, 0, 1, 3]))
    words = [*codes.words, None]
    assert [words[number] for number in found] == ["b", "a", None, "a"]
    assert codes.none == len(codes.words)


@pytest.mark.parametrize("count", [0, 1, 254, 255, 256, 300])
def test_no_word_has_a_number_of_its_own_however_many_there_are(count: int) -> None:
    column = pl.Series([*MANY[:count], None], dtype=pl.Enum(MANY[:count]))
    codes = WordCodes.of(column)
    assert codes.at(0, count + 1, np.arange(count + 1)).tolist() == [*range(count), codes.none]
