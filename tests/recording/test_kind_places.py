"""Of which kinds events are."""

from __future__ import annotations

import polars
import pytest

from topbit.recording.kind_places import KindPlaces
from topbit.recording.schema import KINDS

EVENTS = ["dma_map", "convert", None, "dma_unmap", "dma_map"]


@pytest.mark.parametrize(
    "words", [["convert", "dma_map", "dma_unmap"], list(KINDS), [*EVENTS[:2], EVENTS[3], "other"]]
)
@pytest.mark.parametrize(
    ("kinds", "places"),
    [
        (("dma_unmap", "dma_map"), [1, 2, 2, 0, 1]),
        (("convert", "access"), [2, 0, 2, 2, 2]),
        ((), [0] * 5),
    ],
)
def test_the_place_of_each_kind(
    words: list[str], kinds: tuple[str, ...], places: list[int]
) -> None:
    found = KindPlaces(polars.Series(EVENTS, dtype=polars.Enum(words)), *kinds)
    assert (len(found), found.none) == (5, len(kinds))
    assert found.of().tolist() == places
    assert found.of(1, 3).tolist() == places[1:4]
    assert found.of(4, 10).tolist() == places[4:]
