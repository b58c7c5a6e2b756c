"""Rows of numbers as paths."""

from __future__ import annotations

import numpy as np
import pytest

from topbit.report.svg import area, bars, blocks, ticks


@pytest.mark.parametrize(
    ("covered", "whole", "partly"),
    [
        ([0, 0], "", ""),
        ([1, 1, 0, 1], "M0 0H2V24H0zM3 0H4V24H3z", ""),
        ([0.2, 1, 0.5, 0.5], "M1 0H2V24H1z", "M0 0H1V24H0zM2 0H4V24H2z"),
    ],
)
def test_blocks(covered: list[float], whole: str, partly: str) -> None:
    assert blocks(np.array(covered)) == (whole, partly)


def test_ticks_stand_in_the_middle_of_their_places() -> None:
    assert ticks(np.array([0, 3, 1]), 4, 9) == "M1.5 4V9M2.5 4V9"


@pytest.mark.parametrize(
    ("counts", "peak", "path"),
    [
        ([0, 0], 1, ""),
        ([10, 0, 5], 10, "M0 24v-24h1v24zM2 24v-12h1v12z"),
        ([1], 1000, "M0 24v-2h1v2z"),
        ([9], 3, "M0 24v-24h1v24z"),
    ],
)
def test_bars_are_seen_however_low(counts: list[int], peak: int, path: str) -> None:
    assert bars(np.array(counts), peak) == path


def test_an_area_has_a_step_where_the_level_changes() -> None:
    assert area(np.array([2, 2, 0, 4]), 4) == "M0 24H0V12H2V24H3V0H4V24z"
    assert area(np.array([0, 0]), 4) == ""
