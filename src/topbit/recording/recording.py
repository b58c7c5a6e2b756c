"""A recording: the event table of one run, with the platform it happened on."""

from __future__ import annotations

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
from topbit.events import Event
from topbit.recording.kind_places import KindPlaces
from topbit.recording.platform import Platform
from topbit.recording.schema import COLUMNS, KINDS, polars_schema
from topbit.recording.stored import FORMAT, FORMAT_KEY, PLATFORM_KEY, read_stored

if TYPE_CHECKING:
    import numpy as np
    import polars
    from numpy.typing import NDArray

NUMBER = "number"
"""The column of an event's row in the recording, where it is told."""

PART = 1 << 20
"""Rows that are looked at together where all of them at once would take much memory."""

SHORT = 1 << 16
"""Rows up to which a recording keeps those of the kinds that it was asked for: many rules ask for
the same, and to find them again takes longer than all else."""

_CODE = "kind"
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
        frame: polars DataFrame, one row per event in order, columns of `schema.COLUMNS`. Columns of
            words may be of the type Enum: a long recording's few words are numbers to the machine.

    `left_out`: events that it is not asked about, as if they were of no kind; see `without`.
    """

    def __init__(
        self,
        platform: Platform,
        frame: polars.DataFrame,
        left_out: NDArray[np.bool_] | None = None,
    ) -> None:
        self.platform = platform
        self.frame = frame
        self._left_out = left_out
        self._found: dict[tuple[str, ...], polars.DataFrame] = {}

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

    def without(self, left_out: NDArray[np.bool_]) -> Recording:
        """Which recording does not tell of these events? Its frame still has them; none is copied.

        `left_out`: for each row whether it is one of them.
        """
        return Recording(self.platform, self.frame, left_out)

    @property
    def told(self) -> int:
        """How many events does it tell of?"""
        return len(self.frame) - (0 if self._left_out is None else int(self._left_out.sum()))

    def on(self, platform: Platform) -> Recording:
        """Which recording tells the same of another platform?"""
        return Recording(platform, self.frame, self._left_out)

    def of_kind(self, *kinds: str, where: polars.Expr | None = None) -> polars.DataFrame:
        """Which rows are of one of these kinds?

        `where`: only those for which this is true. Nothing else is copied, so that a question
        with few answers costs little memory however long the recording is.
        """

        if not self.has(*kinds):
            return self.frame.clear().with_columns(self._plain)
        if len(self.frame) <= SHORT:
            found = self._rows_of(*kinds)
            return (found if where is None else found.filter(where))[:, 1:]  # without the number
        rows = self.scan(*kinds)
        if where is None:
            return rows.drop(NUMBER).collect()
        # First which they are: the columns that are not asked for are looked at only of these.
        numbers = rows.filter(where).select(NUMBER).collect()[NUMBER]
        return self.rows(numbers).drop(NUMBER)

    def scan(self, *kinds: str, start: int = 0, count: int | None = None) -> polars.LazyFrame:
        """Which rows are of one of these kinds, to be asked for lazily?

        Their first column, `number`, is the row in `frame`.

        Args:
            kinds: which.
            start, count: of which rows of the frame; of all if left out.
        """
        import polars

        whole = not start and (count is None or count >= len(self.frame))
        if whole and len(self.frame) <= SHORT:
            return self._rows_of(*kinds).lazy()
        wanted = [polars.col(_CODE) == kind for kind in self._kinds.intersection(kinds)]
        # Of kinds that are not there no row is looked at.
        some = self._coded.slice(start, count) if wanted else self._coded.clear()
        rows = some.lazy().with_row_index(NUMBER, offset=start)
        rows = rows.filter(polars.any_horizontal(wanted or polars.lit(True))).drop(_CODE)
        return rows.with_columns(self._plain)

    def _rows_of(self, *kinds: str) -> polars.DataFrame:
        """What does `scan` find in a short recording? Looked for once."""
        if kinds not in self._found:
            places = self.places_among(*kinds)
            self._found[kinds] = self.rows((places.of() < places.none).nonzero()[0])
        return self._found[kinds]

    def parts(self, *kinds: str) -> Iterator[polars.LazyFrame]:
        """Which rows are of one of these kinds? As `scan`, a part of the recording at a time."""
        for start in range(0, len(self.frame) if self.has(*kinds) else 0, PART):
            yield self.scan(*kinds, start=start, count=PART)

    def places_among(self, *kinds: str) -> KindPlaces:
        """Which of these kinds is each event of?"""
        return KindPlaces(self._codes, *kinds)

    def says(self, column: str, *words: str) -> NDArray[np.bool_]:
        """Which events have one of these words in this column?"""
        import numpy as np
        import polars

        told, dtype = self.frame[column], self.frame.schema[column]
        there = np.zeros(len(told), np.bool_)
        if not isinstance(dtype, polars.Enum):
            there[:] = told.is_in(list(words)).fill_null(False).to_numpy()
        elif any(known := [*(word in words for word in dtype.categories), False]):
            codes = told.to_physical().cast(polars.UInt32).fill_null(len(known) - 1)
            there[:] = np.array(known)[codes.to_numpy()]
        return there

    def rows(self, numbers: Sequence[int] | NDArray[np.int64] | polars.Series) -> polars.DataFrame:
        """Which events have these numbers? Numbered as by `scan`."""
        import polars

        numbers = polars.Series(NUMBER, numbers, dtype=polars.UInt32)
        rows = self.frame[numbers]
        if self._plain:
            rows = rows.with_columns(self._plain)
        return rows.insert_column(0, numbers)

    def row(self, number: int) -> dict[str, Any]:
        """What does the event with this number say, by column?"""
        return {NUMBER: number, **self.frame.row(number, named=True)}

    def has(self, *kinds: str) -> bool:
        """Is there any event of one of these kinds?"""
        return not self._kinds.isdisjoint(kinds)

    def is_of(self, kind: str) -> polars.Series:
        """Which events are of a kind that is there? A bit for each; null if it is left out."""
        return self._codes == kind

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
        return frozenset(self._codes.unique().drop_nulls()).intersection(KINDS)

    @cached_property
    def _codes(self) -> polars.Series:
        """Each event's kind as a word that is one byte to the machine; null if it is left out."""
        import polars

        codes = self.frame["event"]
        # A byte has room for one number more, that of none.
        if not isinstance(codes.dtype, polars.Enum) or len(codes.dtype.categories) >= 1 << 8:
            codes = codes.cast(polars.Enum(list(KINDS)), strict=False)
        if self._left_out is not None:
            codes = codes.set(polars.Series(self._left_out), None)
        return codes

    @cached_property
    def _coded(self) -> polars.DataFrame:
        """The frame with each event's kind as a number: one byte to look at instead of a word."""
        return self.frame.with_columns(self._codes.alias(_CODE))

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
        return cls(*read_stored(path))
