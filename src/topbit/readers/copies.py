"""Which events of a run are copies of others, so that each counts once?

A trace may be told twice: on the console and in a file, as trace.dat and as its report. Times are
compared in microseconds, as the kernel's text rounds them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from topbit.readers.columns import EXACT
from topbit.readers.growing import Array

if TYPE_CHECKING:
    import polars

KEY = ("event", "device", "address", "phys", "size")
"""What copies of one event have in common, beside their time."""
CLOSE = 0.9995e-6
"""Seconds by which two times of one microsecond differ at most, and those of two not always."""
PART = 1 << 18
"""Rows that are looked at together."""
FEW = 1000
"""So many parts of a table may be put together again without a copy."""
_NOTHING = 0x5EED_0F_0000_0001
"""Stands for a value that is not there; no address or size is like it."""
_FACTOR, _FOLD = np.uint64(0x9E37_79B9_7F4A_7C15), np.uint64(29)

Span: TypeAlias = tuple[float, float] | None


def without_copies(tables: list[polars.DataFrame]) -> list[polars.DataFrame]:
    """Which events are left of each file, when an event that several files tell counts once?

    Args:
        tables: `Boot.table` of the files of a run, those that lose nothing first.
    """
    kept: list[polars.DataFrame] = []
    seen: list[Array] = []
    spans = [_span(table) for table in tables]
    for number, table in enumerate(tables):
        others = spans[:number] + spans[number + 1 :]
        alone = not any(_overlap(spans[number], other) for other in others)
        rows = _asked(table, alone=alone) if spans[number] else np.zeros(0, np.int64)
        if not len(rows):
            kept.append(table)
            continue
        hashes = _hashes(table.select("time", *KEY)[rows])
        repeated = _repeated(hashes)
        if seen:
            repeated |= _among(hashes, np.concatenate(seen))
        if not alone:
            seen.append(hashes)
        kept.append(_without_lines(table, rows[repeated]))
    return kept


def _span(table: polars.DataFrame) -> Span:
    """From when to when are the events whose copies are known?"""
    import polars

    exact = polars.col(EXACT).is_not_null() & polars.col("time").is_finite()
    times = table.lazy().filter(exact).select(first=polars.min("time"), last=polars.max("time"))
    # In batches: all times are asked.
    first, last = times.collect(engine="streaming").row(0)
    return None if first is None else (first, last)


def _overlap(one: Span, other: Span) -> bool:
    if one is None or other is None:
        return False
    return one[0] - 2 * CLOSE <= other[1] and other[0] - 2 * CLOSE <= one[1]


def _asked(table: polars.DataFrame, *, alone: bool) -> Array:
    """Which events may be copies of others, of each line the first one?

    `alone`: no other file tells of the same time.
    """
    import polars

    line, exact = polars.col("line"), polars.col(EXACT).is_not_null()
    first = (line != line.shift(1)).fill_null(True)
    which = first & exact & polars.col("time").is_finite()
    if not alone:
        return np.flatnonzero(table.select(which).to_series().to_numpy())
    near: list[Array] = []
    row, time = np.zeros(0, np.int64), np.zeros(0)
    for start in range(0, len(table), PART):
        # With the row before, which the first one of them may be of the same line as.
        before = min(start, 1)
        part = table.slice(start - before, PART + before).select("line", "time", EXACT)
        asked = part.select(which).to_series().to_numpy()[before:]
        rows = np.flatnonzero(asked)
        row = np.concatenate((row[-1:], rows + start))
        time = np.concatenate((time[-1:], part["time"].slice(before).to_numpy()[rows]))
        steps = np.diff(time)
        if (steps < 0).any():
            return _asked(table, alone=False)
        # In the order of their times, copies stand close together.
        close = np.zeros(len(row), np.bool_)
        close[:-1] |= steps < CLOSE
        close[1:] |= steps < CLOSE
        near.append(row[close])
    numbers = np.concatenate(near)
    return numbers[np.diff(numbers, prepend=-1) > 0]  # the last of a part is in the next one too


def _hashes(events: polars.DataFrame) -> Array:
    """Which numbers are the same for copies of one event?"""
    # The kernel rounds half up (kernel/trace/trace.c:ns2usecs).
    with np.errstate(invalid="ignore"):  # no clock tells such a time; it is alike for copies
        stamps = (np.rint(events["time"].to_numpy() * 1e9).astype(np.int64) + 500) // 1000
    hashes = stamps.astype(np.uint64)
    for name in KEY:
        hashes = (hashes * _FACTOR) ^ _numbers(events[name])
        hashes ^= hashes >> _FOLD
    return hashes


def _numbers(column: polars.Series) -> Array:
    """Which numbers tell the values of a column apart, the same in every table?"""
    import polars

    if not column.dtype.is_numeric():
        words = column.unique().drop_nulls().to_list()
        numbers = {word: hash(word) & (1 << 64) - 1 for word in words}
        column = column.cast(polars.String).replace_strict(
            numbers, default=None, return_dtype=polars.UInt64
        )
    return column.fill_null(_NOTHING).to_numpy()


def _repeated(hashes: Array) -> Array:
    import polars

    return ~polars.Series(hashes).is_first_distinct().to_numpy()


def _among(hashes: Array, known: Array) -> Array:
    import polars

    return polars.Series(hashes).is_in(polars.Series(known).implode()).to_numpy()


def _without_lines(table: polars.DataFrame, rows: Array) -> polars.DataFrame:
    """The table without the lines that these rows are of: all events of a scatterlist.

    If they are few, nothing is copied.
    """
    import polars

    if not len(rows):
        return table
    line = table["line"].to_numpy()
    kept = ~np.isin(line, line[rows])
    # Where the rows that are kept begin and end.
    ends = np.flatnonzero(np.diff(kept.astype(np.int8), prepend=0, append=0)).reshape(-1, 2)
    if len(ends) > FEW:
        return table.filter(kept)
    parts = [table.slice(start, end - start) for start, end in ends.tolist()]
    return polars.concat(parts, rechunk=False) if parts else table.clear()


def without_repeated_logs(table: polars.DataFrame) -> polars.DataFrame:
    """Which events are left when a kernel line that stands in two files counts once?"""
    import polars

    told = polars.col("event").is_in(["trouble", "swiotlb_full"])
    told &= polars.col("time").is_not_null()
    numbers = table.select(told).to_series().arg_true()
    rows = table.select("event", "time", "detail", "source")[numbers]
    seen: dict[tuple[str, float, str], str | None] = {}
    repeated: list[int] = []
    for number, (event, time, detail, source) in zip(numbers, rows.iter_rows(), strict=True):
        if seen.setdefault((event, time, detail or ""), source) != source:
            repeated.append(number)
    if not repeated:
        return table
    dropped = np.zeros(len(table), np.bool_)
    dropped[repeated] = True
    return table.filter(~dropped)
