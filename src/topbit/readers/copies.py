"""Which events of a run are copies of others, so that each counts once?

A trace may be told twice: on the console and in a file, as trace.dat and as its report. Times are
compared in microseconds, as the kernel's text rounds them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from topbit.readers.columns import EXACT, Array

if TYPE_CHECKING:
    import polars

Mask: TypeAlias = np.ndarray[Any, np.dtype[np.bool_]]

KEY = ("event", "device", "address", "phys", "size")
"""What copies of one event have in common, beside their time."""
MOST_AT_ONCE = 64
"""Events of one microsecond that are compared with each other one by one."""


def without_copies(tables: list[polars.DataFrame]) -> list[polars.DataFrame]:
    """Which events are left of each file, when an event that several files tell counts once?

    Args:
        tables: `Boot.table` of the files of a run, those that lose nothing first.
    """
    kept: list[polars.DataFrame] = []
    seen: list[Array] = []
    for table in tables:
        keys = _keys(table)
        if keys is None:
            kept.append(table)
            continue
        hashes, first, exact = keys
        repeated = exact & (_repeated(hashes, table, first, exact) | _is_in(hashes, seen))
        seen.append(hashes[exact])
        # All events of a scatterlist go with its first one.
        dropped = repeated[np.cumsum(first) - 1] if repeated.any() else repeated
        kept.append(table.filter(~dropped) if dropped.any() else table)
    return kept


def _keys(table: polars.DataFrame) -> tuple[Array, Mask, Mask] | None:
    """What has each event in common with its copies, which are a line's first, and which count?"""
    import polars

    exact = table[EXACT].is_not_null() & table["time"].is_not_null()
    if not exact.any():
        return None
    line = table["line"].to_numpy()
    first = np.ones(len(line), np.bool_)
    first[1:] = line[1:] != line[:-1]
    hashes = np.zeros(len(line), np.uint64)
    stamp = _stamps(table).astype(np.uint64)
    for values in (stamp, *(_numbers(table[name]) for name in KEY)):
        hashes = (hashes ^ values) * np.uint64(0x9E37_79B9_7F4A_7C15)
        hashes ^= hashes >> np.uint64(29)
    assert isinstance(table, polars.DataFrame)
    return hashes, first, first & exact.to_numpy()


def _stamps(table: polars.DataFrame) -> Array:
    """When was each event, in microseconds? The kernel rounds half up (trace.c:ns2usecs)."""
    time = np.nan_to_num(table["time"].fill_null(0.0).to_numpy())
    stamps: Array = (np.rint(time * 1e9).astype(np.int64) + 500) // 1000
    return stamps


def _numbers(column: polars.Series) -> Array:
    """Which numbers tell the values of a column apart? The same in every table."""
    import polars

    if column.dtype in (polars.String, polars.Enum):
        words = column.unique().to_list()
        numbers = {word: hash(word) & (1 << 64) - 1 for word in words if word is not None}
        column = column.cast(polars.String).replace_strict(
            numbers, default=None, return_dtype=polars.UInt64
        )
    # A value that no address or size has stands for one that is not there.
    return column.fill_null(0x5EED_0F_0000_0001).to_numpy()


def _repeated(hashes: Array, table: polars.DataFrame, first: Mask, exact: Mask) -> Mask:
    """Which events stand in this table before?"""
    import polars

    repeated = np.zeros(len(hashes), np.bool_)
    rows = np.flatnonzero(exact)
    stamps = _stamps(table)[rows]
    mine = hashes[rows]
    if (stamps[1:] >= stamps[:-1]).all():
        # Copies are of the same microsecond, and those stand one behind the other.
        for distance in range(1, min(len(rows), MOST_AT_ONCE)):
            together = stamps[distance:] == stamps[:-distance]
            if not together.any():
                return repeated
            repeated[rows[distance:]] |= together & (mine[distance:] == mine[:-distance])
    repeated[rows] = ~polars.Series(mine).is_first_distinct().to_numpy()
    return repeated


def _is_in(hashes: Array, seen: list[Array]) -> Mask:
    import polars

    if not seen:
        return np.zeros(len(hashes), np.bool_)
    known = polars.Series(np.concatenate(seen))
    return polars.Series(hashes).is_in(known.implode()).to_numpy()


def without_repeated_logs(table: polars.DataFrame) -> polars.DataFrame:
    """Which events are left when a kernel line that stands in two files counts once?"""
    import polars

    rows = table.with_row_index("number").filter(
        polars.col("event").is_in(["trouble", "swiotlb_full"]) & polars.col("time").is_not_null()
    )
    seen: dict[tuple[str, float, str], str | None] = {}
    repeated: list[int] = []
    for number, event, time, detail, source in rows.select(
        "number", "event", "time", "detail", "source"
    ).iter_rows():
        if seen.setdefault((event, time, detail or ""), source) != source:
            repeated.append(number)
    if not repeated:
        return table
    dropped = np.zeros(len(table), np.bool_)
    dropped[repeated] = True
    return table.filter(~dropped)
