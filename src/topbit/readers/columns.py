"""How do many events become the columns of the event table without an object for each?

A piece holds the events of some lines, column by column: numbers as they are, words as numbers of
a vocabulary. What a column of a piece lacks is empty there.
"""

from __future__ import annotations

import operator
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from topbit.events import Event
from topbit.readers.growing import Array, Growing
from topbit.recording.byte_table import looked_up
from topbit.recording.schema import COLUMNS, polars_schema

if TYPE_CHECKING:
    import polars

EXACT, TASK = "exact", "task"
"""Columns that a recording has not: the time is told so exactly that it tells copies of one event
apart from others ("yes"); whose task made an IOMMU event ("vmm" or "kernel")."""
WORDS = ("agent", "event", "device", "direction", "status", "attrs", "detail", EXACT, TASK)
NUMBERS = tuple(name for name in COLUMNS if name not in (*WORDS, "source"))
HAS = "has"
"""The bits of this column tell which of NUMBERS an event has, in their order."""
BITS = {name: np.uint16(1 << place) for place, name in enumerate(NUMBERS)}
TYPES: dict[str, type[np.generic]] = {
    **dict.fromkeys(NUMBERS, np.uint64),
    "sid": np.uint32,
    "line": np.uint32,
    "time": np.float64,
}


MANY = 1 << 18
"""Events from which on several columns are made at once."""
PART = 1 << 16
"""Events that are looked at at once where all together would take much memory."""
_ARROW = {f"uint{bits}": f"uint{bits}" for bits in (8, 16, 32, 64)} | {"float64": "float64"}
"""What Arrow calls the types of NumPy that columns have."""


class Vocabulary:
    """Which number has each word of a column? 0 is that of no word."""

    def __init__(self) -> None:
        self.words: list[str] = [""]
        self._numbers: dict[str | None, int] = {None: 0}
        self._lock = threading.Lock()

    def number(self, word: str | None) -> int:
        """Which number has it?"""
        number = self._numbers.get(word)
        if number is None:
            with self._lock:
                number = self._numbers.get(word, len(self.words))
                if number == len(self.words):
                    self.words.append(word or "")
                    self._numbers[word] = number
        return number

    def numbers(self, words: Sequence[str | None]) -> Array:
        """Which numbers have they?"""
        found = np.fromiter(map(self.number, words), np.uint32, len(words))
        return found.astype(np.min_scalar_type(len(self.words)))


@dataclass(slots=True)
class Piece:
    """What tell some lines?

    Attributes:
        count: how many events.
        columns: the columns that any of them has, and HAS.
    """

    count: int
    columns: dict[str, Array] = field(default_factory=dict)

    def taken(self, rows: Array) -> Piece:
        """Which piece are these rows of it?"""
        columns = {name: values[rows] for name, values in self.columns.items()}
        return Piece(len(next(iter(columns.values()), ())), columns)


def joined(pieces: Sequence[Piece]) -> Piece:
    """Which piece are these, one behind the other?"""
    names = dict.fromkeys(name for piece in pieces for name in piece.columns)
    columns = {name: np.concatenate([_column(piece, name) for piece in pieces]) for name in names}
    return Piece(sum(piece.count for piece in pieces), columns)


def _column(piece: Piece, name: str) -> Array:
    if name in piece.columns:
        return piece.columns[name]
    return np.zeros(piece.count, TYPES.get(name, np.uint8))


class Columns:
    """What do the events of one boot make, piece by piece?

    Args:
        source: the file.
        words: the vocabulary of each of WORDS, if there are some already.
    """

    def __init__(self, source: str, words: dict[str, Vocabulary] | None = None) -> None:
        self.source = source
        self.words = words or {name: Vocabulary() for name in WORDS}
        self._count = 0
        self._grown: dict[str, Growing] = {}

    def add(self, piece: Piece) -> None:
        """The next events."""
        for name, values in piece.columns.items():
            self._column_of(name, values.dtype).extend(values)
        self._count += piece.count
        for name in self._grown.keys() - piece.columns.keys():
            self._grown[name].skip(piece.count)

    def change(self, event: Event, names: Iterable[str]) -> None:
        """More is known of an event that is among them: what these columns of WORDS tell.

        Their lines must be in order.
        """
        row = int(np.searchsorted(self._grown["line"].array(), event.line or 0))
        kind = self.words["event"].number(event.event)
        row += int(np.argmax(self._grown["event"].array()[row:] == kind))
        for name in names:
            numbers = self.words[name].numbers([getattr(event, name)])
            self._column_of(name, numbers.dtype).put(row, numbers)

    def _column_of(self, name: str, dtype: np.dtype[Any]) -> Growing:
        if name not in self._grown:
            self._grown[name] = Growing(np.dtype(TYPES.get(name, dtype)))
            self._grown[name].skip(self._count)
        return self._grown[name]

    def piece_of(
        self, events: Sequence[Event], exact: Iterable[bool], tasks: Iterable[str | None]
    ) -> Piece:
        """Which piece are events that were read one by one?"""
        told: dict[str, Sequence[Any]] = {
            name: list(map(operator.attrgetter(name), events))
            for name in COLUMNS
            if name != "source"
        }
        told[EXACT] = ["yes" if one else None for one in exact]
        told[TASK] = list(tasks)
        columns = {name: self.words[name].numbers(told[name]) for name in WORDS}
        has = np.zeros(len(events), np.uint16)
        for name in NUMBERS:
            has |= np.array([value is not None for value in told[name]], np.bool_) * BITS[name]
            columns[name] = np.array([value or 0 for value in told[name]], TYPES[name])
        return Piece(len(events), columns | {HAS: has})

    def frame(self) -> polars.DataFrame:
        """Which table do all of them make? Its words are numbers to the machine (Enum).

        It can be asked once: the columns are its memory.
        """
        import polars

        schema = polars_schema()
        if not self._count:
            empty = polars.Schema({**schema, EXACT: polars.String(), TASK: polars.String()})
            return polars.DataFrame(schema=empty)
        has = self._grown[HAS].array()
        names = [name for name in (*COLUMNS, EXACT, TASK) if name != "source"]

        def make(name: str) -> polars.Series | str | None:
            return self._series(name, has)

        if self._count < MANY:
            made = list(map(make, names))
        else:
            with ThreadPoolExecutor() as pool:
                made = list(pool.map(make, names))
        columns: dict[str, polars.Series] = {}
        # What is the same in all rows takes no memory.
        same: dict[str, polars.Expr] = {}
        for name, one in zip(names, made, strict=True):
            if isinstance(one, polars.Series):
                columns[name] = one
            elif name in WORDS:
                same[name] = polars.lit(one, polars.Enum([] if one is None else [one]))
            else:
                same[name] = polars.lit(None, schema[name])
        frame = polars.DataFrame(columns or {"n": range(self._count)})
        frame = frame.with_columns(
            **same, source=polars.lit(self.source, polars.Enum([self.source]))
        )
        return frame.select(*COLUMNS, EXACT, TASK)

    def _series(self, name: str, has: Array) -> polars.Series | str | None:
        """What is a column, or what stands in all of its rows?"""
        grown = self._grown.pop(name, None)
        if grown is None:
            return None
        values = grown.array()
        if name in NUMBERS:
            there = _bitmap(len(has), lambda part: (has[part] & BITS[name]) != 0)
            return _with_gaps(values, there) if there.any() else None
        words = self.words[name].words
        if all((values[part] == values[0]).all() for part in _parts(len(values))):
            return words[int(values[0])] if values[0] else None
        return _as_words(values, words)


def table_of(events: Sequence[Event]) -> polars.DataFrame:
    """Which table do events of one file make that were read one by one?"""
    columns = Columns((events[0].source if events else None) or "")
    none = [None] * len(events)
    columns.add(columns.piece_of(events, [False] * len(events), none))
    return columns.frame()


def together(tables: Sequence[polars.DataFrame]) -> polars.DataFrame:
    """Which table do these make, one behind the other? Their words may be of different sets."""
    import polars

    tables = [table for table in tables if len(table)] or list(tables[:1])
    if len(tables) < 2:
        return tables[0] if tables else Columns("").frame()
    changed = []
    for name in (*WORDS, "source"):
        words: set[str] = set()
        for table in tables:
            column = table[name]
            kind = column.dtype
            told = kind.categories if isinstance(kind, polars.Enum) else column.unique()
            words.update(word for word in told.to_list() if word is not None)
        changed.append(polars.col(name).cast(polars.Enum(sorted(words))))
    return polars.concat([table.with_columns(changed) for table in tables], rechunk=False)


def _parts(count: int) -> Iterator[slice]:
    """What is looked at at once, so that it stays in a core's cache, and takes little memory?"""
    return (slice(start, start + PART) for start in range(0, count, PART))


def _bitmap(count: int, are_there: Callable[[slice], Array]) -> Array:
    """Which of so many values are there, a bit for each, the lowest of a byte first?"""
    found = [np.packbits(are_there(part), bitorder="little") for part in _parts(count)]
    return np.concatenate(found) if found else np.zeros(0, np.uint8)


def _with_gaps(values: Array, there: Array) -> polars.Series:
    """Which column are these values, where they are there? Its memory is theirs: none is copied."""
    import nanoarrow
    import polars

    lacking = len(values) - int(np.bitwise_count(there).sum())
    kind = getattr(nanoarrow, _ARROW[values.dtype.name])()
    buffers = [there if lacking else None, values]
    return polars.Series(
        nanoarrow.c_array_from_buffers(kind, len(values), buffers, null_count=lacking)
    )


def _as_words(numbers: Array, words: list[str]) -> polars.Series:
    """Which words have these numbers? In their alphabet's order, so that they sort as text does.

    The numbers are changed.
    """
    import polars

    there = _bitmap(len(numbers), lambda part: numbers[part] > 0)
    ordered = sorted((word, number) for number, word in enumerate(words) if number)
    ranks = np.zeros(len(words), numbers.dtype)
    ranks[[number for _, number in ordered]] = np.arange(len(ordered))
    for part in _parts(len(numbers)):
        if numbers.dtype == np.uint8:
            numbers[part] = looked_up(numbers[part], ranks.tolist())
        else:
            numbers[part] = ranks[numbers[part]]
    return _with_gaps(numbers, there).cat.to(polars.Enum([word for word, _ in ordered]))
