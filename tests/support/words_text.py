"""A text of given words, as `readers.bulk` looks at it."""

from __future__ import annotations

import numpy as np

from topbit.readers.bulk.words import MARGIN, Places, Words


def words_of(texts: list[str]) -> tuple[Words, Places, Places]:
    """These texts, one behind the other, and where each begins and ends."""
    data = b" " * MARGIN + "x".join([*texts, ""]).encode() + b" " * MARGIN
    length = np.array([len(text) for text in texts], np.int64)
    starts = MARGIN + np.cumsum(length + 1) - length - 1
    return Words(np.frombuffer(data, np.uint8)), starts, starts + length
