"""Does the event table have the columns and types that its kinds are documented with?"""

from __future__ import annotations

import dataclasses

import polars as pl
import pytest

from topbit.events import AGENTS, Event
from topbit.recording import Platform, Recording
from topbit.recording.schema import COLUMNS, KINDS, U64_COLUMNS, polars_schema

TOP = (1 << 64) - 1


def test_the_columns_are_the_fields_of_an_event() -> None:
    assert COLUMNS[:5] == ("agent", "event", "device", "sid", "address")
    assert tuple(field.name for field in dataclasses.fields(Event)) == COLUMNS


@pytest.mark.parametrize("column", COLUMNS)
def test_each_column_holds_what_it_may(column: str) -> None:
    types = {"sid": pl.UInt32, "line": pl.UInt32, "time": pl.Float64}
    expected = pl.UInt64 if column in U64_COLUMNS else types.get(column, pl.String)
    assert polars_schema()[column] == expected


def test_any_64_bit_address_fits_its_columns() -> None:
    event = Event("guest", "dma_map", **dict.fromkeys(sorted(U64_COLUMNS), TOP))  # type: ignore[arg-type]
    row = Recording.of_events(Platform(), [event]).frame.row(0, named=True)
    assert {row[name] for name in U64_COLUMNS} == {TOP}
    assert {"address", "phys", "pa", "size", "mask"} == U64_COLUMNS


def test_each_kind_says_who_emits_it_and_what_its_columns_mean() -> None:
    for name, kind in KINDS.items():
        assert kind.agent in AGENTS, name
        assert kind.columns, name
        assert set(kind.columns) <= set(COLUMNS), name
        assert all(meaning for meaning in kind.columns.values()), name
