"""Events become columns and come back as they were."""

from __future__ import annotations

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from topbit.events import Event
from topbit.readers.columns import EXACT, TASK, Columns, Piece, joined, table_of, together
from topbit.recording.schema import COLUMNS

U64 = st.none() | st.integers(0, (1 << 64) - 1)
WORD = st.none() | st.sampled_from(["", "a", "b", "é\u202e", "0000:00:01.0"]) | st.text(max_size=3)
EVENTS = st.builds(
    Event,
    agent=st.sampled_from(["guest", "vmm"]),
    event=st.sampled_from(["dma_map", "trouble"]),
    **dict.fromkeys(("device", "direction", "status", "attrs", "detail"), WORD),
    **dict.fromkeys(("address", "phys", "pa", "size", "mask"), U64),
    sid=st.none() | st.integers(0, (1 << 32) - 1),
    time=st.none() | st.floats(0, 1e9),
    line=st.integers(0, (1 << 32) - 1),
    source=st.just("t"),
)


def back(table: pl.DataFrame) -> list[Event]:
    return [Event(**row) for row in table.select(COLUMNS).iter_rows(named=True)]


@settings(deadline=None)
@given(st.lists(EVENTS), st.lists(EVENTS))
def test_events_come_back_as_they_were(some: list[Event], more: list[Event]) -> None:
    columns = Columns("t")
    for events in (some, more):
        columns.add(columns.piece_of(events, [True] * len(events), ["vmm"] * len(events)))
    table = columns.frame()
    assert back(table) == [*some, *more]
    assert set(table[EXACT]) <= {"yes"}
    assert set(table[TASK]) <= {"vmm"}


@settings(deadline=None)
@given(st.lists(st.lists(EVENTS), max_size=4))
def test_tables_stand_together(files: list[list[Event]]) -> None:
    whole = together([table_of(events) for events in files])
    assert back(whole) == [event for events in files for event in events]


def test_many_different_words() -> None:
    events = [Event("guest", "trouble", detail=f"line {n}", line=n, source="t") for n in range(400)]
    columns = Columns("t")
    for start in range(0, 400, 50):
        part = events[start : start + 50]
        columns.add(columns.piece_of(part, [False] * 50, [None] * 50))
    assert back(columns.frame()) == events


def test_words_sort_as_text_does() -> None:
    names = ["b", "a", "c", None, "a"]
    table = table_of([Event("guest", "dma_map", device=name, source="t") for name in names])
    assert table["device"].sort(nulls_last=True).to_list() == ["a", "a", "b", "c", None]


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_a_piece_lacks_what_another_has(order: tuple[int, int]) -> None:
    columns = Columns("t")
    pieces = [
        columns.piece_of([Event("guest", "dma_map", address=5)], [False], [None]),
        Piece(1, {}),
    ]
    pieces[1].columns["agent"] = pieces[0].columns["agent"]
    whole = joined([pieces[at] for at in order])
    columns.add(whole)
    assert columns.frame()["address"].to_list() == [[5, None][at] for at in order]
