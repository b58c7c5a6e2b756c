"""Which events of a run are copies of others? In parts of a table as in the whole."""

from __future__ import annotations

import dataclasses

import pytest

from topbit.events import Event
from topbit.readers import copies
from topbit.readers.columns import EXACT, Columns
from topbit.readers.copies import without_copies

ONE = Event("guest", "dma_map", "disk", address=1, phys=2, size=3, time=1.0, source="t", line=1)


def left(events: list[Event]) -> list[int]:
    """Which lines are left?"""
    columns = Columns("t")
    columns.add(columns.piece_of(events, [True] * len(events), [None] * len(events)))
    table = columns.frame()
    assert EXACT in table.columns
    (kept,) = without_copies([table])
    return kept["line"].to_list()


def at(line: int, time: float | None, **more: int) -> Event:
    return dataclasses.replace(ONE, line=line, time=time, **more)


@pytest.mark.parametrize("few", [0, 1000])
@pytest.mark.parametrize("size", [1, 2, 3, 100])
@pytest.mark.parametrize(
    ("events", "lines"),
    [
        ([at(1, 1.0), at(2, 1.0), at(3, 2.0)], [1, 3]),
        ([at(1, 1.0), at(2, 1.0, size=9), at(3, 1.0), at(4, 2.0)], [1, 2, 4]),
        ([at(1, 1.0), at(2, 1.1), at(3, 1.2)], [1, 2, 3]),
        # One line of several events has no copies in itself.
        ([at(1, 1.0), at(1, 1.0), at(2, 1.0), at(2, 1.0), at(3, 2.0)], [1, 1, 3]),
        # Not in the order of their times.
        ([at(1, 1.0), at(2, 3.0), at(3, 2.0), at(4, 3.0)], [1, 2, 3]),
        ([at(1, 1.0), at(2, None), at(3, 1.0)], [1, 2]),
        ([at(1, 1.0), at(2, 1.0), at(3, 1.0)], [1]),
    ],
)
def test_what_stands_twice_counts_once(
    events: list[Event], lines: list[int], size: int, few: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(copies, "PART", size)
    monkeypatch.setattr(copies, "FEW", few)
    assert left(events) == lines
