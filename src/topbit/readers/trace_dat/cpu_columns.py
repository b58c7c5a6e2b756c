"""What do the pages of one CPU hold, in columns? In bulk where they are of the usual form."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from topbit.events import Event
from topbit.readers.bulk.words import MARGIN, U64, Mask, Places
from topbit.readers.columns import Columns, Piece, joined
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
    """

    pages: bytes
    found: PageRecords
    usual: Mask
    parts: list[tuple[Places, Piece]]
    rare: list[tuple[int, tuple[Event, ...]]]


class CpuColumns:
    """Who reads the pages of one CPU?

    Args:
        columns: where the events will go.
        bulk: who turns many records into columns.
        decoders: who reads a single record, by the number of the event.
        records: what was read record by record, with what is damaged and lost.
        page_size: bytes.

    Attributes:
        pieces: the events; "line" is the number of this CPU's record, from 0.
        times: of its records, on the clock.
        count: how many they are.
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
        self.pieces: list[Piece] = []
        self.times: list[Array] = []
        self.count = 0

    def look(self, pages: bytes) -> Looked:
        """What do these pages hold, as far as it can be read in bulk? From any thread."""
        whole = len(pages) // self._size * self._size
        found = walk(pages[:whole], self._size)
        usual = found.whole & (abs(self.records.offset) < SURELY)
        parts = self._usual(found, usual) if usual.any() else []
        rare = self._rare(found, usual, pages) if usual.any() else []
        return Looked(pages, found, usual, parts, rare)

    def add(self, looked: Looked) -> None:
        """Add what the next pages hold; of the last one there may be a part."""
        pages, found, usual = looked.pages, looked.found, looked.usual
        parts, rare = looked.parts, looked.rare
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
        number[order] = np.arange(self.count, self.count + len(order))
        slow_times = np.array([min(time, LATEST) for _, time, _ in single], np.uint64)
        self.times.append(np.concatenate((found.times[kept], slow_times))[order])
        self.count += len(order)
        of_kept = np.cumsum(kept) - 1
        pieces = []
        for rows, piece in parts:
            there = np.flatnonzero(kept[rows])
            piece = piece.taken(there)
            piece.columns["line"] = number[of_kept[rows[there]]].astype(np.uint32)
            pieces.append(piece)
        alone = [(int(number[of_kept[row]]), events) for row, events in rare if kept[row]]
        first = int(kept.sum())
        alone += [
            (int(number[first + at]), events) for at, (_, _, events) in enumerate(single) if events
        ]
        pieces.append(self._piece_of(alone))
        self.pieces.append(joined([piece for piece in pieces if piece.count]))

    def _seconds(self, times: U64) -> Array | None:
        if not self.records.nanoseconds:
            return None
        return (times.astype(np.int64) + self.records.offset) / 1e9

    def _usual(self, found: PageRecords, usual: Mask) -> list[tuple[Places, Piece]]:
        """What tell the records that are read in bulk? Pages with odd ones are usual no more."""
        kinds = found.words.at(found.begins) & np.uint64(0xFFFF)
        parts = []
        for number in self._bulk.numbers:
            rows = np.flatnonzero(kinds == number)
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
        kinds = found.words.at(found.begins) & np.uint64(0xFFFF)
        rare = [number for number in self._decoders if number not in self._bulk.numbers]
        rows = np.flatnonzero(np.isin(kinds, np.array(rare, np.uint64)))
        told: list[tuple[int, tuple[Event, ...]]] = []
        begins, sizes = found.begins[rows] - MARGIN, found.sizes[rows]
        seconds = self._seconds(found.times[rows])
        times = [None] * len(rows) if seconds is None else seconds.tolist()
        for row, kind, begin, size, time in zip(
            rows.tolist(), kinds[rows].tolist(), begins.tolist(), sizes.tolist(), times, strict=True
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


def in_order(cpus: list[CpuColumns], number: int) -> tuple[Piece, int]:
    """Which events have these CPUs in the order of their times, and how many records are there?

    Args:
        cpus: of one clock.
        number: records that stand before them; "line" counts from there.
    """
    # Where a clock falls back, a record stands behind the one before it all the same.
    times = [
        np.maximum.accumulate(np.concatenate([*cpu.times, np.zeros(0, np.uint64)])) for cpu in cpus
    ]
    order = np.argsort(np.concatenate([*times, np.zeros(0, np.uint64)]), kind="stable")
    place = np.empty(len(order), np.uint32)
    place[order] = np.arange(number, number + len(order), dtype=np.uint32)
    pieces, before = [], 0
    for cpu in cpus:
        for piece in cpu.pieces:
            if piece.count:
                piece.columns["line"] = place[before + piece.columns["line"].astype(np.int64)]
                pieces.append(piece)
        cpu.pieces = []
        before += cpu.count
    whole = joined(pieces)
    if whole.count:
        whole = whole.taken(np.argsort(whole.columns["line"], kind="stable"))
    return whole, len(order)
