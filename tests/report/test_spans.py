"""Address ranges, and how much of each place of a picture they cover."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from topbit.report.spans import Spans, counted

TOP = (1 << 64) - 1


def spans(*ranges: tuple[int, int]) -> Spans:
    pairs = np.array(ranges, dtype=np.uint64).reshape(-1, 2)
    return Spans.of(pairs[:, 0], pairs[:, 1])


def runs(made: Spans) -> list[tuple[int, int]]:
    return list(zip(made.starts.tolist(), made.ends.tolist(), strict=True))


@pytest.mark.parametrize(
    ("ranges", "expected"),
    [
        ([], []),
        ([(5, 2)], [(5, 7)]),
        ([(5, 0)], [(5, 6)]),
        ([(10, 5), (0, 5)], [(0, 5), (10, 15)]),
        ([(0, 5), (5, 5)], [(0, 10)]),
        ([(0, 9), (2, 3), (8, 4)], [(0, 12)]),
        ([(TOP - 1, 100)], [(TOP - 1, TOP)]),
    ],
)
def test_runs_are_disjoint_and_in_order(
    ranges: list[tuple[int, int]], expected: list[tuple[int, int]]
) -> None:
    made = spans(*ranges)
    assert runs(made) == expected
    assert (len(made), made.size) == (len(expected), sum(b - a for a, b in expected))


@pytest.mark.parametrize(
    ("start", "end", "expected"),
    [(0, 100, [(10, 20), (30, 40)]), (15, 31, [(15, 20), (30, 31)]), (20, 30, []), (40, 50, [])],
)
def test_what_lies_within(start: int, end: int, expected: list[tuple[int, int]]) -> None:
    assert runs(spans((10, 10), (30, 10)).within(start, end)) == expected


def test_a_range_may_end_behind_the_highest_address() -> None:
    made = spans((TOP - 9, 9), (5, 1))
    assert runs(made.within(TOP - 4, TOP + 1)) == [(TOP - 4, TOP)]
    assert made.covered(TOP - 19, TOP + 1, 2).tolist() == [0, 0.9]
    assert counted(np.array([TOP, 5], np.uint64), TOP - 19, TOP + 1, 2).tolist() == [0, 1]


@pytest.mark.parametrize(
    ("ranges", "expected"),
    [
        ([], [0, 0, 0, 0]),
        ([(100, 40)], [1, 1, 1, 1]),
        ([(0, 1000)], [1, 1, 1, 1]),
        ([(100, 5), (125, 5)], [0.5, 0, 0.5, 0]),
        ([(105, 10)], [0.5, 0.5, 0, 0]),
        ([(139, 1), (140, 9)], [0, 0, 0, 0.1]),
    ],
)
def test_how_much_of_each_place_is_covered(
    ranges: list[tuple[int, int]], expected: list[float]
) -> None:
    assert spans(*ranges).covered(100, 140, 4).tolist() == pytest.approx(expected)


@given(
    st.lists(st.tuples(st.integers(0, 300), st.integers(1, 60)), max_size=8),
    st.integers(1, 9),
)
def test_the_covered_parts_add_up_to_the_size(ranges: list[tuple[int, int]], places: int) -> None:
    made = spans(*ranges)
    covered = made.covered(50, 250, places)
    assert covered.sum() * 200 / places == pytest.approx(made.within(50, 250).size)
    assert ((covered >= -1e-9) & (covered <= 1 + 1e-9)).all()


def test_addresses_are_counted_where_they_lie_and_others_are_not() -> None:
    at = np.array([99, 100, 109, 110, 139, 139, 140], dtype=np.uint64)
    assert counted(at, 100, 140, 4).tolist() == [2, 1, 0, 2]
    assert counted(at[:0], 100, 140, 2).tolist() == [0, 0]
