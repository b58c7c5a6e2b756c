"""In which order did the events of a trace happen, where its lines stand in another one?

The kernel's own file and trace-cmd's report are in order. What was collected CPU by CPU, or with
trace_pipe on several of them, is so only nearly: an unmap on one CPU stands behind the next map
of its slot on another, and looks like two mappings at one time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from topbit.readers.columns import EXACT

if TYPE_CHECKING:
    import polars

PART = 1 << 16
"""Events that are looked at at once."""
LATEST = 2.0
"""Seconds that an event can stand behind its place. What is further off is another trace."""


def in_order(table: polars.DataFrame) -> polars.DataFrame:
    """The events of one file, those of its trace in the order of their times.

    Args:
        table: with the columns of the event table and those of `readers.columns`.
    """
    import polars

    if table["time"].is_sorted():
        return table
    column = polars.col
    is_traced = column(EXACT).is_not_null() & column("time").is_finite().fill_null(False)
    traced = table.select(is_traced).to_series()
    if not 0 < _latest(table["time"], traced) <= LATEST:
        return table
    places = np.flatnonzero(traced.to_numpy())
    times = table["time"].to_numpy()[places]
    rows = np.arange(len(table))
    rows[places] = places[np.argsort(times, kind="stable")]
    return table[rows]


def _latest(time: polars.Series, traced: polars.Series) -> float:
    """By how much (seconds) does any of these events stand behind one that happened later?"""
    latest, most = -np.inf, 0.0
    for start in range(0, len(time), PART):
        wanted = traced.slice(start, PART).to_numpy()
        times = time.slice(start, PART).to_numpy()[wanted]
        if len(times):
            before = np.maximum(np.maximum.accumulate(times), latest)
            latest, most = before[-1], max(most, float((before - times).max()))
    return most
