"""What do the pages of one CPU hold, in columns? In bulk where they are of the usual form."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from operator import itemgetter
from typing import NamedTuple

import numpy as np

from topbit.events import Event
from topbit.readers.bulk.words import MARGIN, U64, Mask, Places
from topbit.readers.columns import TYPES, Columns, Piece
from topbit.readers.growing import Array
from topbit.readers.trace_dat.bulk_pages import PageRecords, walk
from topbit.readers.trace_dat.bulk_records import BulkDecoder
from topbit.readers.trace_dat.raw_event import Decoder, RecordError
from topbit.readers.trace_dat.ring_buffer import Records

SURELY = 1 << 62
"""An offset of so many nanoseconds is none that anybody asks for."""
LATEST = (1 << 64) - 1


@dataclass(frozen=True, slots=True)
class Looked:
    """What do some pages hold, as far as it was read in bulk?

    Attributes:
        pages: their bytes.
        found: where their records stand.
        usual: which pages are of the usual form.
        parts: which of the records were read many at a time, and their events.
        rare: which were read one by one, and their events.
        piece: all events in order, if all of the pages are of the usual form. Then nothing else
            is needed but the times.
    """

    pages: bytes
    found: PageRecords
    usual: Mask
    parts: list[tuple[Places, Piece]]
    rare: list[tuple[int, tuple[Event, ...]]]
    piece: Piece | None = None


class Block(NamedTuple):
    """What do some pages of one CPU hold?

    Attributes:
        times: of all records, on the clock; none is below that of the one before.
        piece: the events in order; "line" is the number of the record among these.
    """

    times: U64
    piece: Piece


class CpuColumns:
    """Who reads the pages of one CPU?

    Args:
        columns: where the events will go.
        bulk: who turns many records into columns.
        decoders: who reads a single record, by the number of the event.
        records: what was read record by record, with what is damaged and lost.
        page_size: bytes.
    """

    def __init__(
        self,
        columns: Columns,
        bulk: BulkDecoder,
        decoders: Mapping[int, Decoder],
        records: Records,
        page_size: int,
    ) -> None:
        self._columns, self._bulk, self._decoders = columns, bulk, decoders
        self.records, self._size = records, page_size
        self._latest = np.uint64(0)
        self._is_rare = np.zeros(1 << 16, np.bool_)  # by the number of the event
        rare = [n for n in decoders if n not in bulk.numbers and n < len(self._is_rare)]
        self._is_rare[rare] = True

    def look(self, pages: bytes) -> Looked:
        """What do these pages hold, as far as it can be read in bulk? From any thread."""
        whole = len(pages) // self._size * self._size
        found = walk(pages[:whole], self._size)
        usual = found.whole & (abs(self.records.offset) < SURELY)
        parts = self._usual(found, usual) if usual.any() else []
        rare = self._rare(found, usual, pages) if usual.any() else []
        if usual.all() and whole == len(pages):
            piece = self._piece(parts, rare, len(found.times))
            return Looked(b"", found, usual, [], [], piece)
        return Looked(pages, found, usual, parts, rare)

    def block(self, looked: Looked) -> Block:
        """What do the next pages hold, those with them that are read record by record?

        Of the last one there may be a part.
        """
        pages, found, usual = looked.pages, looked.found, looked.usual
        if looked.piece is not None:
            self.records.pages += len(usual)
            return self._block(found.times, looked.piece)
        whole = len(pages) // self._size * self._size
        slow = np.flatnonzero(~usual).tolist()
        if whole < len(pages):
            slow.append(whole // self._size)
        single = self._page_by_page(pages, slow)
        # The records in their order: by page, and as they stand on it.
        kept = usual[found.page]
        page = np.concatenate((found.page[kept], np.array([at for at, _, _ in single], np.int64)))
        order = np.argsort(page, kind="stable")
        number = np.empty(len(order), np.int64)
        number[order] = np.arange(len(order))
        slow_times = np.array([min(time, LATEST) for _, time, _ in single], np.uint64)
        times = np.concatenate((found.times[kept], slow_times))[order]
        of_kept = np.cumsum(kept) - 1
        parts = []
        for rows, piece in looked.parts:
            there = np.flatnonzero(kept[rows])
            parts.append((number[of_kept[rows[there]]], piece.taken(there)))
        rare = [(int(number[of_kept[row]]), events) for row, events in looked.rare if kept[row]]
        first = int(kept.sum())
        rare += [(int(number[first + at]), events) for at, (_, _, events) in enumerate(single)]
        return self._block(times, self._piece(parts, rare, len(times)))

    def _piece(
        self,
        parts: list[tuple[Places, Piece]],
        rare: list[tuple[int, tuple[Event, ...]]],
        records: int,
    ) -> Piece:
        """The events of these records, of which there are so many, in order."""
        rare = [(row, events) for row, events in rare if events]
        if rare:
            piece = self._piece_of(sorted(rare, key=itemgetter(0)))
            parts = [*parts, (piece.columns["line"].astype(np.int64), piece)]
        return in_place(parts, records)

    def _block(self, times: U64, piece: Piece) -> Block:
        # Where a clock falls back, a record stands behind the one before it all the same.
        if len(times):
            times = np.maximum.accumulate(times)
            times = np.maximum(times, self._latest)
            self._latest = times[-1]
        return Block(times, piece)

    def _seconds(self, times: U64) -> Array | None:
        if not self.records.nanoseconds:
            return None
        return (times.astype(np.int64) + self.records.offset) / 1e9

    def _usual(self, found: PageRecords, usual: Mask) -> list[tuple[Places, Piece]]:
        """What tell the records that are read in bulk? Pages with odd ones are usual no more."""
        parts = []
        for number in self._bulk.numbers:
            rows = np.flatnonzero(found.kinds == number)
            if not len(rows):
                continue
            seconds = self._seconds(found.times[rows])
            piece, odd = self._bulk.piece(
                number, found.words, found.begins[rows], found.sizes[rows], seconds
            )
            usual[found.page[rows[odd]]] = False
            parts.append((rows, piece))
        return parts

    def _rare(
        self, found: PageRecords, usual: Mask, pages: bytes
    ) -> list[tuple[int, tuple[Event, ...]]]:
        """What tell the records of other events? Pages with odd ones are usual no more."""
        rows = np.flatnonzero(self._is_rare[found.kinds])
        told: list[tuple[int, tuple[Event, ...]]] = []
        begins, sizes = found.begins[rows] - MARGIN, found.sizes[rows]
        seconds = self._seconds(found.times[rows])
        times = [None] * len(rows) if seconds is None else seconds.tolist()
        for row, kind, begin, size, time in zip(
            rows.tolist(),
            found.kinds[rows].tolist(),
            begins.tolist(),
            sizes.tolist(),
            times,
            strict=True,
        ):
            try:
                told.append((row, self._decoders[kind](pages, begin, size, time)))
            except RecordError:
                usual[found.page[row]] = False
        return told

    def _page_by_page(
        self, pages: bytes, numbers: list[int]
    ) -> list[tuple[int, int, tuple[Event, ...]]]:
        """What do these pages hold, read record by record: (page, time, events)?"""
        records, first = self.records, self.records.pages
        told: list[tuple[int, int, tuple[Event, ...]]] = []
        for number in numbers:
            records.pages = first + number
            start = number * self._size
            records.read(pages[start : start + self._size], self._decoders, self._size)
            told += [(number, time, events) for time, events in records.records]
            records.records.clear()
        records.pages = first + -(-len(pages) // self._size)
        return told

    def _piece_of(self, told: list[tuple[int, tuple[Event, ...]]]) -> Piece:
        """Which piece are the events of these records?"""
        events: list[Event] = []
        for record, some in told:
            for event in some:
                event.line = record
            events += some
        exact = [event.time is not None for event in events]
        return self._columns.piece_of(events, exact, [None] * len(events))


def in_place(parts: list[tuple[Places, Piece]], records: int) -> Piece:
    """Which piece are these, each event at the place of its record? "line" is the record's number.

    Args:
        parts: the numbers of the records that the events of a piece are of, and the piece. Several
            events of one record stand in one piece, in order, and not beside other records'.
        records: how many there are.
    """
    counts = np.zeros(records + 1, np.int64)
    for rows, _ in parts:
        np.add.at(counts, rows + 1, 1)
    begins = np.cumsum(counts)
    total = int(begins[-1])
    names = dict.fromkeys(name for _, piece in parts for name in piece.columns)
    types = {
        name: TYPES.get(name)
        or np.result_type(*(p.columns[name] for _, p in parts if name in p.columns))
        for name in names
    }
    columns = {name: np.zeros(total, dtype) for name, dtype in types.items()}
    for rows, piece in parts:
        places = begins[rows]
        if len(rows) and (repeated := rows[1:] == rows[:-1]).any():
            first = np.flatnonzero(np.append(True, ~repeated))
            places += np.arange(len(rows)) - np.repeat(first, np.diff(np.append(first, len(rows))))
        for name, values in piece.columns.items():
            columns[name][places] = values
        if total:
            columns.setdefault("line", np.zeros(total, np.uint32))[places] = rows
    return Piece(total, columns)
