"""Tables of bytes."""

from __future__ import annotations

import numpy as np
import pytest

from topbit.recording.byte_table import looked_up


@pytest.mark.parametrize("table", [[7], [3, 0, 255], [*reversed(range(256))]])
def test_each_code_is_looked_up(table: list[int]) -> None:
    codes = np.random.default_rng(1).integers(0, len(table), 1000).astype(np.uint8)
    assert looked_up(codes, table).tolist() == [table[code] for code in codes]
    assert looked_up(codes[::2], table).tolist() == [table[code] for code in codes[::2]]


def test_nothing_is_looked_up() -> None:
    assert looked_up(np.zeros(0, np.uint8), [1]).tolist() == []
