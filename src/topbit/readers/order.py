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

LATEST = 2.0
"""Seconds that an event can stand behind its place. What is further off is another trace."""


def in_order(table: polars.DataFrame) -> polars.DataFrame:
    """The events of one file, those of its trace in the order of their times.

    Args:
        table: with the columns of the event table and those of `readers.columns`.
    """
    import polars

    column = polars.col
    traced = column(EXACT).is_not_null() & column("time").is_finite().fill_null(False)
    places = np.flatnonzero(table.select(traced).to_series().to_numpy())
    if len(places) < 2:
        return table
    times = table["time"].to_numpy()[places]
    late = np.maximum.accumulate(times) - times
    if not late.any() or late.max() > LATEST:
        return table
    rows = np.arange(len(table))
    rows[places] = places[np.argsort(times, kind="stable")]
    return table[rows]
