"""Which recording does a file hold?

It is one Parquet file; the platform stands as JSON under the key `topbit.platform` of the file's
metadata. Any tool that reads Parquet reads the table.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from topbit.errors import InputError
from topbit.events import AGENTS
from topbit.recording.metadata import platform_of
from topbit.recording.platform import Platform
from topbit.recording.schema import COLUMNS, polars_schema

if TYPE_CHECKING:
    import polars

PLATFORM_KEY = "topbit.platform"
FORMAT_KEY = "topbit.format"
FORMAT = "2"
FORMATS = ("1", FORMAT)
"""What is written, and what can be read: 1 has no origins, and plain lines of kind `log`."""
PARQUET_MAGIC = b"PAR1"
SMALLEST = 12
"""Bytes of the two magics and the footer's length, without which no Parquet file is whole."""

ROWS_ANY_FILE, ROWS_A_BYTE = 1 << 20, 1
"""How many rows a file may have: so many, and so many more for each of its bytes."""


@contextlib.contextmanager
def _quiet_stderr() -> Iterator[None]:
    """Who hears what polars' Rust side prints when it panics? Nobody: it comes as an error too."""
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


def _read_columns(stored: polars.LazyFrame, names: Sequence[str]) -> polars.DataFrame:
    """Which table do these columns make? One by one, so that no two are unpacked at a time.

    What is the same in all rows takes no memory.
    """
    import polars

    columns: dict[str, polars.Series] = {}
    same: dict[str, polars.Expr] = {}
    for name in names:
        column = stored.select(name).collect()[name]
        if name == "time" and column.dtype.is_float() and column.is_nan().any():
            column = column.fill_nan(None)
        empty = column.null_count()
        if name == "event" or column.is_empty() or 0 < empty < len(column):
            columns[name] = column
        elif empty:
            same[name] = polars.lit(None, column.dtype)
        elif column.dtype == polars.Enum and column.min() == column.max():
            same[name] = polars.lit(column[0], column.dtype)
        else:
            columns[name] = column
    return polars.DataFrame(columns).with_columns(**same).select(names)


def _check_agents(frame: polars.DataFrame) -> None:
    """Refuse events without a kind or of nobody.

    Raises:
        ValueError: there is such an event.
    """
    if frame["event"].null_count():
        raise ValueError("an event without a kind")
    strange = set(frame["agent"].unique()) - set(AGENTS)
    if strange:
        raise ValueError(f"events of the agent {min(map(str, strange))[:40]!r}")


def read_stored(path: str | Path) -> tuple[Platform, polars.DataFrame]:
    """What does the file hold: the platform, and the event table?

    Whoever wrote it is not trusted: how many rows it may have depends on its size, and what
    stands in its metadata and columns is checked.

    Raises:
        InputError: missing, truncated, not Parquet, or not a recording.
    """
    import polars

    where = str(path)
    try:
        with Path(path).open("rb") as file:
            start = file.read(4)
            length = file.seek(0, os.SEEK_END)
            file.seek(max(length - 4, 0))
            end = file.read(4)
    except OSError as error:
        raise InputError(f"cannot read: {error.strerror}", where=where) from error
    if start != PARQUET_MAGIC:
        raise InputError("is not a recording (not a Parquet file)", where=where)
    if end != PARQUET_MAGIC or length < SMALLEST:
        raise InputError("is a truncated recording", where=where)
    try:
        with _quiet_stderr():
            metadata = polars.read_parquet_metadata(where)
            lazy = polars.scan_parquet(where)
            columns = lazy.collect_schema().names()
            rows = int(lazy.select(polars.len()).collect().item())
            there = [name for name in COLUMNS if name in columns]
            small = rows <= ROWS_ANY_FILE + length * ROWS_A_BYTE
            frame = _read_columns(lazy, there) if small else polars.DataFrame()
    # A flipped bit in a page can make the Rust side panic, which is no PolarsError.
    except (polars.exceptions.PolarsError, polars.exceptions.PanicException, OSError) as error:
        why = str(error).partition("\n")[0]
        raise InputError(f"is a damaged recording: {why}", where=where) from error
    if PLATFORM_KEY not in metadata:
        raise InputError(
            "is a Parquet file, but not a recording of topbit",
            where=where,
            hint="topbit run -o FILE.parquet writes recordings",
        )
    if (form := metadata.get(FORMAT_KEY, FORMAT)) not in FORMATS:
        raise InputError(
            f"is a recording of format {form!r}; read are {', '.join(FORMATS)}",
            where=where,
            hint="read it with the topbit that wrote it, or a later one",
        )
    missing = [name for name in COLUMNS if name not in columns]
    if missing:
        raise InputError(f"lacks the columns {', '.join(missing)}", where=where)
    if not small:
        raise InputError(f"has {rows} rows, more than a file of its size can hold", where=where)
    try:
        platform = platform_of(metadata[PLATFORM_KEY])
        # Words that are numbers to the machine stay so.
        schema = {
            name: frame.schema[name] if frame.schema[name] == polars.Enum else dtype
            for name, dtype in polars_schema().items()
        }
        frame = frame.select(COLUMNS).cast(polars.Schema(schema))
        _check_agents(frame)
    except (TypeError, ValueError, polars.exceptions.PolarsError) as error:
        why = str(error).partition("\n")[0]
        raise InputError(f"is a damaged recording: {why}", where=where) from error
    return platform, frame
