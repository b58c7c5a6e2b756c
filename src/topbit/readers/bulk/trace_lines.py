"""Which lines of a chunk are trace events of the usual form, and what are their columns?

    comm-pid [cpu] flags 4.100001: dma_map_phys: 0000:00:02.0 dir=TO_DEVICE dma_addr=... attrs=
    head                 time    lead                                               numbers  tail

Heads, leads and tails repeat all over a trace, and each different one is understood once; between
them stand numbers. Every character of a line is looked at: a line is taken only if it tells here
what `ftrace.line.parse` makes of it, and all others are left to that.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from topbit.readers.bulk.chunk import Chunk
from topbit.readers.bulk.event_columns import (
    ALLOCATIONS,
    LISTS,
    NUMBERS,
    columns_of,
    each,
    failed_maps,
    narrow,
)
from topbit.readers.bulk.known import BEGINS_A_LINE, GOOD, NO_FORM, Known
from topbit.readers.bulk.scatterlists import Lists, lists_of
from topbit.readers.bulk.trace_forms import FORMS, TAILS, Form
from topbit.readers.bulk.words import BEYOND_9, FROM_0, TOP_BITS, WORD, Mask, Places
from topbit.readers.columns import BITS, HAS, TASK, Piece
from topbit.readers.growing import Array
from topbit.recording.schema import ERROR, OK

DOT, COMMA, BLANK, ZERO, NORMALS_END = b"., 0L"
MICROSECONDS, NANOSECONDS = 6, 9
"""Digits of a time's fraction."""
EXACTLY = np.uint64(1 << 53)
"""Integers up to this one are exact as floating-point numbers."""
NULL_DIGITS = (1, 8, 16)
"""Digits of a NULL pointer (`ftrace.events.NULL_POINTERS`)."""
FORCED = b" FORCE"
LEADING_LETTERS = b"is"
"""Two letters before their "=", only fields of a lead have one of these: dir and dma_mask."""
WITH_ENTRIES = 7
"""Fields of a line whose lead has two more, the counts of a scatterlist."""


def _gap(form: Form, key: str) -> int:
    """How many characters stand between the end of a field's value and the next "="?"""
    following = form.keys[form.keys.index(key) + 1 :] if key in form.keys else ()
    return len(following[0]) + 1 if following else 0


_KEYS = dict.fromkeys(key for form in FORMS for key in form.keys[form.lead :])
_PLACES = {
    key: each([form.keys.index(key) if key in form.keys else -1 for form in FORMS], -1)
    for key in _KEYS
}
_GAPS = {key: each([_gap(form, key) for form in FORMS]) for key in _KEYS}
_FIRST_OF_ALL = {form.keys[form.lead] for form in FORMS} - {"phys_addrs"}
_LEADS = each([form.lead for form in FORMS])
_FIELDS = each([len(form.keys) for form in FORMS])
_COLONS = each([form.colons for form in FORMS])
_TAILS = each([TAILS.index(form.tail) if form.tail else -1 for form in FORMS], -1)
_TAIL_AT = each([form.keys.index(form.tail) if form.tail in form.keys else 0 for form in FORMS])
_BY_IOMMU = each([form.agent == "vmm" for form in FORMS]) != 0


@dataclass(frozen=True, slots=True)
class TraceLines:
    """What do the regular trace lines of a chunk tell?

    Attributes:
        piece: their events; "line" counts from the chunk's first line, which is 0.
        regular: for each line of the chunk, whether it is one of them.
        begins: it begins as a line of a trace does, so that it continues no other.
    """

    piece: Piece
    regular: Mask
    begins: Mask


def trace_lines(chunk: Chunk, known: Known) -> TraceLines:
    """Which lines of a chunk are trace events of the usual form, and what do they tell?"""
    regular, begins = np.zeros(len(chunk), np.bool_), np.zeros(len(chunk), np.bool_)
    reader = _Reader(chunk, known)
    piece = reader.read()
    regular[reader.line[reader.good]] = True
    begins[reader.line[reader.good & ((reader.heads & BEGINS_A_LINE) != 0)]] = True
    return TraceLines(piece, regular, begins)


class _Reader:
    """Who reads the trace lines of one chunk?

    Attributes:
        line: those of the chunk that can be trace lines.
        heads: what the heads of these tell.
        good: they are of the usual form, as far as is known.
    """

    def __init__(self, chunk: Chunk, known: Known) -> None:
        self.words, self.text, self._marks = chunk.words, chunk.words.text, chunk.marks
        self.known = known
        line = np.flatnonzero(
            ((chunk.colons == 2) | (chunk.colons == 3))
            & ((chunk.equals >= 3) & (chunk.equals <= WITH_ENTRIES))
            & ~chunk.odd
        )
        colons, equals, first = chunk.colons[line], chunk.equals[line], chunk.first[line]
        equal, stamp = first + colons, self._marks[first]
        letter = self.text[self._marks[equal] - 2]
        leading = (letter == LEADING_LETTERS[0]) | (letter == LEADING_LETTERS[1])
        lead = leading * np.where(equals == WITH_ENTRIES, 3, 1)
        leads = known.leads.codes(self.words, stamp, self._marks[equal + lead])
        form = known.leads.table[0].astype(np.int64)[leads]
        right = (form != NO_FORM) & (_LEADS[form] == lead)
        right &= (_FIELDS[form] == equals) & (_COLONS[form] == colons)
        if not right.all():
            kept = np.flatnonzero(right)
            line, form, equal, stamp = (one[kept] for one in (line, form, equal, stamp))
            leads = leads[kept]
        self.line, self._form, self._equal, self._leads = line, form, equal, leads
        self._present = np.flatnonzero(np.bincount(form))
        self._ends = chunk.ends[line]
        self._time, begin, self.good = self._times(stamp)
        self.heads = known.heads.of(self.words, chunk.starts[line], begin)[0]
        self.good &= (self.heads & np.uint64(GOOD)) != 0

    def _times(self, ends: Places) -> tuple[Array, Places, Mask]:
        """Which times (seconds) end there, where do they begin, and are they times at all?"""
        nano = self.text[ends - MICROSECONDS - 1] != DOT
        whole_end = ends - MICROSECONDS - 1
        fraction, good = self.words.decimal(ends - MICROSECONDS, ends)
        unit = np.full(len(ends), 10**MICROSECONDS, np.uint64)
        if nano.any():
            whole_end = whole_end - nano * (NANOSECONDS - MICROSECONDS)
            above, valid = self.words.decimal(ends - NANOSECONDS, ends - MICROSECONDS)
            good &= (valid & (self.text[whole_end] == DOT)) | ~nano
            fraction += nano * above * unit
            unit[nano] = 10**NANOSECONDS
        words = self.words.at(whole_end - WORD)
        others = ~((words + FROM_0) & ~(words + BEYOND_9)) & TOP_BITS
        # The highest bit that is set is in the last character that is no digit.
        highest = np.frexp(others.astype(np.float64))[1]
        length = WORD - ((highest + 7) >> 3).astype(np.int64)
        start = whole_end - length
        good &= (length > 0) & (length < WORD) & (self.text[start - 1] == BLANK)
        whole, _ = self.words.decimal(start, whole_end)
        total = whole * unit + fraction
        good &= total < EXACTLY
        # Both are exact, and so the quotient is rounded as the number's own text is.
        return total / unit, start, good

    def read(self) -> Piece:
        """What do they tell? `good` is known to the end afterwards."""
        if not len(self.line):
            return Piece(0)
        form = self._form
        columns = columns_of(self.known, self._leads, self.line, self._time)
        tails = self._tails(columns)
        for key, name in NUMBERS.items():
            for rows, starts, ends in self._field(key):
                if key == "size":
                    values, good = self.words.decimal(starts, ends - tails[rows])
                else:
                    values, good = self.words.hexadecimal(starts, ends)
                columns.setdefault(name, np.zeros(len(form), np.uint64))[rows] = values
                self.good[rows] &= good
        self._failures(columns)
        if _BY_IOMMU[self._present].any():
            self._iommu(columns)
        return self._rows(columns)

    def _field(self, key: str) -> Iterator[tuple[Places, Places, Places]]:
        """Which lines have this field, and from where to where is its value? Once, or never."""
        places = _PLACES[key]
        if (places[self._present] < 0).all():
            return
        place = places[self._form]
        rows = np.flatnonzero(place >= 0)
        mark = self._equal[rows] + place[rows]
        equal = self._marks[mark]
        if key not in _FIRST_OF_ALL:
            self.good[rows] &= self.words.ends(equal, f" {key}".encode())
        # Behind the last of the "=" comes the mark of the line's end.
        yield rows, equal + 1, self._marks[mark + 1] - _GAPS[key][self._form[rows]]

    def _tails(self, columns: dict[str, Array]) -> Places:
        """What tell the tails of the lines, and how long are those that are no fields?"""
        kinds = _TAILS[self._form]
        rows = np.flatnonzero(kinds >= 0)
        kinds, ends = kinds[rows], self._ends[rows]
        bounced = kinds == TAILS.index("how")
        length = bounced * np.where(self.text[ends - 1] == NORMALS_END, len(" NORMAL"), len(FORCED))
        starts = self._marks[self._equal[rows] + _TAIL_AT[self._form[rows]]] - len(" attrs")
        starts = np.where(bounced, ends - length, starts)
        told, numbers = self.known.tails.of(self.words, starts, ends)
        self.good[rows] &= told == kinds.astype(np.uint64)
        for name, which in (("attrs", ~bounced), ("status", bounced)):
            columns[name] = np.zeros(len(self._form), narrow(numbers).dtype)
            columns[name][rows] = numbers * which
        lengths = np.zeros(len(self._form), np.int64)
        lengths[rows] = length
        return lengths

    def _failures(self, columns: dict[str, Array]) -> None:
        """Which mappings and allocations failed?"""
        failed = failed_maps(columns, self._form)
        for rows, starts, ends in self._field("virt_addr"):
            value, good = self.words.hexadecimal(starts, ends)
            self.good[rows] &= good
            null = (value == 0) & np.isin(ends - starts, NULL_DIGITS)
            failed[rows] |= null & ALLOCATIONS[self._form[rows]]
        if failed.any():
            columns["status"][failed] = self.known.number("status", ERROR)

    def _iommu(self, columns: dict[str, Array]) -> None:
        """iova=0x%016llx - 0x%016llx paddr=0x%016llx size=%zu, or size= unmapped_size=."""
        words, good, text = self.words, self.good, self.text
        ok = self.known.number("status", OK)
        columns[TASK] = self.known.task(self.heads) * _BY_IOMMU[self._form]
        columns["pa"] = np.zeros(len(good), np.uint64)
        columns.setdefault("address", np.zeros(len(good), np.uint64))
        for rows, starts, ends in self._field("iova"):
            middle = starts + len("0x") + 2 * WORD
            columns["address"][rows], valid = words.hexadecimal(starts + 2, middle)
            valid &= words.ends(starts + 2, b"0x") & words.ends(middle + 5, b" - 0x")
            good[rows] &= valid & words.hexadecimal(middle + 5, ends)[1]
            columns["status"][rows] = ok
        for rows, starts, ends in self._field("paddr"):
            columns["pa"][rows], valid = words.hexadecimal(starts + 2, ends)
            good[rows] &= valid & words.ends(starts + 2, b"0x")
        for rows, starts, ends in self._field("unmapped_size"):
            done, valid = words.decimal(starts, ends)
            good[rows] &= valid & (text[starts] != ZERO)
            less = rows[done < columns["size"][rows]]
            columns["status"][less] = self.known.number("status", ERROR)
        for rows, starts, _ in self._field("size"):
            # Python takes no leading zeros where a number may be hexadecimal as well.
            good[rows] &= (text[starts] != ZERO) | ~_BY_IOMMU[self._form[rows]]

    def _rows(self, columns: dict[str, Array]) -> Piece:
        """Which piece are the columns, with an event for each entry of a scatterlist?"""
        lists: list[tuple[str, Places, Lists]] = []
        counts = np.ones(len(self.line), np.int64)
        commas = None
        for key, name in LISTS.items():
            for rows, starts, ends in self._field(key):
                # Where a field is not of its form, the places of the next one are not in order.
                kept = np.flatnonzero(self.good[rows])
                rows = rows[kept]
                commas = self.words.where(COMMA) if commas is None else commas
                found = lists_of(self.words, commas, starts[kept], ends[kept])
                self.good[rows] &= found.good
                lists.append((name, rows, found))
                if key == "sizes":
                    self.good[rows] &= found.counts == counts[rows]
                elif key == "dma_addrs":
                    counts[rows] = found.counts
                else:
                    alone = _PLACES["dma_addrs"][self._form[rows]] < 0
                    counts[rows[alone]] = found.counts[alone]
        if not lists and self.good.all():
            return Piece(len(self.line), columns)
        counts *= self.good
        owners = np.repeat(np.arange(len(counts)), counts)
        columns = {name: values[owners] for name, values in columns.items()}
        first = np.cumsum(counts) - counts
        for name, rows, found in lists:
            # Entries that were merged have no buffer of their own.
            paired = (found.counts == counts[rows])[found.owners]
            at = (first[rows][found.owners] + found.places)[paired]
            columns.setdefault(name, np.zeros(len(owners), np.uint64))[at] = found.values[paired]
            columns[HAS][at] |= BITS[name]
        return Piece(len(owners), columns)
