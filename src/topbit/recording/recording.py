"""A recording: the event table of one run, with the platform it happened on.

On disk it is one Parquet file; the platform stands as JSON under the key `topbit.platform` of
the file's metadata. Any tool that reads Parquet reads the table.
"""

from __future__ import annotations

import contextlib
import html
import io
import json
import os
import secrets
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from topbit.errors import InputError
from topbit.events import AGENTS, Event
from topbit.recording.metadata import platform_of
from topbit.recording.platform import Platform
from topbit.recording.schema import COLUMNS, KINDS, polars_schema

if TYPE_CHECKING:
    import numpy as np
    import polars
    from numpy.typing import NDArray

PLATFORM_KEY = "topbit.platform"
FORMAT_KEY = "topbit.format"
FORMAT = "2"
FORMATS = ("1", FORMAT)
"""What is written, and what can be read: 1 has no origins, and plain lines of kind `log`."""
PARQUET_MAGIC = b"PAR1"
SMALLEST = 12
"""Bytes of the two magics and the footer's length, without which no Parquet file is whole."""

NUMBER = "number"
"""The column of an event's row in the recording, where it is told."""

ROWS_ANY_FILE, ROWS_A_BYTE = 1 << 20, 1
"""How many rows a file may have: so many, and so many more for each of its bytes."""

_CODE = "kind"
_row = attrgetter(*COLUMNS)


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


def require_place(path: Path) -> None:
    """Can a recording be stored there, as far as can be seen before there is one?

    Raises:
        InputError: it cannot: no such folder, no right to write there, or no file but a device.
    """
    if path.exists() and not path.is_file():
        raise InputError("cannot write: it is there already, and no file", where=str(path))
    if not os.access(path.parent, os.W_OK):
        why = "may not be written to" if path.parent.exists() else "does not exist"
        raise InputError(f"cannot write: the folder {why}", where=str(path))


class Recording:
    """What happened on which platform?

    Attributes:
        platform: the facts.
        frame: polars DataFrame, one row per event in order, columns of `schema.COLUMNS`. Columns of
            words may be of the type Enum: a long recording's few words are numbers to the machine.
    """

    def __init__(self, platform: Platform, frame: polars.DataFrame) -> None:
        self.platform = platform
        self.frame = frame

    def __repr__(self) -> str:
        return f"<Recording: {self.platform.machine}, {len(self.frame)} events>"

    def _repr_html_(self) -> str:
        """What does a notebook show: the first and last events as a table?"""
        return f"<p>{html.escape(repr(self))}</p>{self.frame._repr_html_()}"

    @classmethod
    def of_events(cls, platform: Platform, events: Iterable[Event]) -> Recording:
        """Which table do these events make? The order is kept."""
        import polars

        schema = polars_schema()
        columns = list(zip(*map(_row, events), strict=True)) or [()] * len(COLUMNS)
        frame = polars.DataFrame(
            {
                name: polars.Series(name, values, dtype=schema[name])
                for name, values in zip(COLUMNS, columns, strict=True)
            }
        )
        return cls(platform, frame)

    def of_kind(self, *kinds: str, where: polars.Expr | None = None) -> polars.DataFrame:
        """Which rows are of one of these kinds?

        `where`: only those for which this is true. Nothing else is copied, so that a question
        with few answers costs little memory however long the recording is.
        """

        if not self.has(*kinds):
            return self.frame.clear().with_columns(self._plain)
        rows = self.scan(*kinds)
        return rows.filter(True if where is None else where).drop(NUMBER).collect()

    def scan(self, *kinds: str) -> polars.LazyFrame:
        """Which rows are of one of these kinds, to be asked for lazily?

        Their first column, `number`, is the row in `frame`.
        """
        import polars

        wanted = [polars.col(_CODE) == kind for kind in self._kinds.intersection(kinds)]
        # Of kinds that are not there no row is looked at.
        rows = (self._coded if wanted else self._coded.clear()).lazy().with_row_index(NUMBER)
        rows = rows.filter(polars.any_horizontal(wanted or polars.lit(True))).drop(_CODE)
        return rows.with_columns(self._plain)

    def places_among(self, *kinds: str) -> NDArray[np.uint8]:
        """Which of these kinds is each event of? Its place among them; their number if of none."""
        import numpy as np

        place = np.full(1 << 8, len(kinds), dtype=np.uint8)
        place[[list(KINDS).index(kind) for kind in kinds]] = range(len(kinds))
        codes: NDArray[np.uint8] = self._coded[_CODE].to_physical().fill_null(len(KINDS)).to_numpy()
        return place[codes]

    def rows(self, numbers: Sequence[int] | polars.Series) -> polars.DataFrame:
        """Which events have these numbers? Numbered as by `scan`."""
        import polars

        numbers = polars.Series(NUMBER, numbers, dtype=polars.UInt32)
        rows = self.frame[numbers].with_columns(self._plain)
        return rows.insert_column(0, numbers)

    def row(self, number: int) -> dict[str, Any]:
        """What does the event with this number say, by column?"""
        return {NUMBER: number, **self.frame.row(number, named=True)}

    def has(self, *kinds: str) -> bool:
        """Is there any event of one of these kinds?"""
        return not self._kinds.isdisjoint(kinds)

    @cached_property
    def _plain(self) -> list[polars.Expr]:
        """What makes the columns those of the schema, where the frame holds them more tersely?"""
        import polars

        schema = polars_schema()
        return [
            polars.col(name).cast(schema[name])
            for name, dtype in self.frame.schema.items()
            if name in schema and dtype != schema[name]
        ]

    @cached_property
    def _kinds(self) -> frozenset[str]:
        codes = self._coded[_CODE].to_physical().unique().drop_nulls()
        return frozenset(list(KINDS)[code] for code in codes)

    @cached_property
    def _coded(self) -> polars.DataFrame:
        """The frame with each event's kind as a number: one byte to look at instead of a word."""
        import polars

        codes = self.frame["event"].cast(polars.Enum(list(KINDS)), strict=False)
        return self.frame.with_columns(codes.alias(_CODE))

    def write(self, path: str | Path) -> None:
        """Store the recording as one Parquet file; a file of that name is replaced at once.

        Raises:
            InputError: the place cannot be written.
        """
        path = Path(path)
        require_place(path)
        # polars itself says of a full disk "invalid thrift", so it writes to memory.
        stored = io.BytesIO()
        metadata = {FORMAT_KEY: FORMAT, PLATFORM_KEY: json.dumps(self.platform.to_dict())}
        self.frame.write_parquet(stored, metadata=metadata)
        # Not mkstemp's 0600: a recording gets the mode that any new file would get.
        new = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
        try:
            with new.open("xb") as file:
                file.write(stored.getbuffer())
            new.replace(path)
        except OSError as error:
            raise InputError(f"cannot write: {error.strerror}", where=str(path)) from error
        finally:
            new.unlink(missing_ok=True)

    @classmethod
    def read(cls, path: str | Path) -> Recording:
        """Which recording does the file hold?

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
                frame = lazy.select(there).collect() if small else polars.DataFrame()
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
            frame = frame.with_columns(polars.col("time").fill_nan(None))
            _check_agents(frame)
        except (TypeError, ValueError, polars.exceptions.PolarsError) as error:
            why = str(error).partition("\n")[0]
            raise InputError(f"is a damaged recording: {why}", where=where) from error
        return cls(platform, frame)
