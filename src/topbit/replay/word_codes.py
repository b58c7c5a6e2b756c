"""A column of words as numbers, of which a stretch is looked at at a time."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray


class WordCodes(NamedTuple):
    """Which number has each word of a column?

    Attributes:
        codes: of each row, null where it has no word.
        words: by number.
    """

    codes: pl.Series
    words: list[str]

    @classmethod
    def of(cls, column: pl.Series) -> WordCodes:
        """Which are those of a column of an event table?"""
        if not isinstance(column.dtype, pl.Enum):
            column = column.cast(pl.Enum(column.unique().drop_nulls().sort()))
        words = column.dtype.categories.to_list() if isinstance(column.dtype, pl.Enum) else []
        codes = column.to_physical()
        # There must be room for one more.
        return cls(codes.cast(pl.UInt32) if len(words) >= np.iinfo(np.uint8).max else codes, words)

    @property
    def none(self) -> int:
        """The number of no word."""
        return len(self.words)

    def part(self, start: int, length: int) -> NDArray[np.uint8] | NDArray[np.uint32]:
        """Which numbers has a stretch that begins at `start`?"""
        return self.codes.slice(start, length).fill_null(self.none).to_numpy()

    def at(self, start: int, length: int, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """Which numbers have these rows of a stretch that begins at `start`?"""
        return self.part(start, length)[rows].astype(np.int64)
