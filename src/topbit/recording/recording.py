"""A recording: the event table of one run, with the platform it happened on.

On disk it is one Parquet file; the platform stands as JSON under the key `topbit.platform` of
the file's metadata. Any tool that reads Parquet reads the table.
"""

from __future__ import annotations

import io
import json
import os
import secrets
from collections.abc import Iterable
from functools import cached_property
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING

from topbit.errors import InputError
from topbit.events import Event
from topbit.recording.platform import Platform
from topbit.recording.schema import COLUMNS, polars_schema

if TYPE_CHECKING:
    import polars

PLATFORM_KEY = "topbit.platform"
FORMAT_KEY = "topbit.format"
FORMAT = "1"
PARQUET_MAGIC = b"PAR1"
SMALLEST = 12
"""Bytes of the two magics and the footer's length, without which no Parquet file is whole."""

_row = attrgetter(*COLUMNS)


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
        frame: polars DataFrame, one row per event in order, columns of `schema.COLUMNS`.
    """

    def __init__(self, platform: Platform, frame: polars.DataFrame) -> None:
        self.platform = platform
        self.frame = frame

    def __repr__(self) -> str:
        return f"<Recording: {self.platform.machine}, {len(self.frame)} events>"

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

    def of_kind(self, *kinds: str) -> polars.DataFrame:
        """Which rows are of one of these kinds?"""
        import polars

        if not self.has(*kinds):
            return self.frame.clear()
        return self.frame.filter(polars.col("event").is_in(kinds))

    def has(self, *kinds: str) -> bool:
        """Is there any event of one of these kinds?"""
        return not self._kinds.isdisjoint(kinds)

    @cached_property
    def _kinds(self) -> frozenset[str]:
        return frozenset(self.frame["event"].unique())

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
            metadata = polars.read_parquet_metadata(where)
            frame = polars.read_parquet(where)
        # A flipped bit in a page can make the Rust side panic, which is no PolarsError.
        except (polars.exceptions.PolarsError, polars.exceptions.PanicException, OSError) as error:
            why = str(error).partition("\n")[0]
            raise InputError(f"is a damaged recording: {why}", where=where) from error
        if PLATFORM_KEY not in metadata:
            raise InputError(
                "is a Parquet file, but not a recording of topbit",
                where=where,
                mend="topbit run -o FILE.parquet writes recordings",
            )
        schema = polars_schema()
        missing = [name for name in COLUMNS if name not in frame.columns]
        if missing:
            raise InputError(f"lacks the columns {', '.join(missing)}", where=where)
        try:
            platform = Platform.from_dict(json.loads(metadata[PLATFORM_KEY]))
            frame = frame.select(COLUMNS).cast(polars.Schema(schema))
        except (TypeError, ValueError, polars.exceptions.PolarsError) as error:
            why = str(error).partition("\n")[0]
            raise InputError(f"is a damaged recording: {why}", where=where) from error
        return cls(platform, frame)
