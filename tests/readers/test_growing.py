"""An array that grows: what was put in stays, whatever comes behind it."""

from __future__ import annotations

import numpy as np

from topbit.readers.growing import FIRST, Growing


def test_what_is_put_in_stays() -> None:
    grown = Growing(np.dtype(np.uint32))
    parts = [np.arange(count, dtype=np.uint32) for count in (0, 3, FIRST, 5 * FIRST, 1)]
    for part in parts:
        grown.extend(part)
    assert np.array_equal(grown.array(), np.concatenate(parts))


def test_what_is_skipped_is_nothing() -> None:
    grown = Growing(np.dtype(np.float64))
    grown.extend(np.array([1.5]))
    grown.skip(FIRST)
    grown.extend(np.array([2.5]))
    assert len(grown) == FIRST + 2
    assert np.flatnonzero(grown.array()).tolist() == [0, FIRST + 1]


def test_a_wider_type_makes_it_wider() -> None:
    grown = Growing(np.dtype(np.uint8))
    for value in (7, 300, 70_000, 1):
        grown.extend(np.array([value], np.min_scalar_type(value)))
    assert (grown.array().tolist(), grown.dtype) == ([7, 300, 70_000, 1], np.uint32)
