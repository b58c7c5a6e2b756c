"""Which lines of a chunk are trace events of the usual form, and what are their columns?

    comm-pid [cpu] flags 4.100001: dma_map_phys: 0000:00:02.0 dir=... dma_addr=...

The places of ": " and "=" in a line tell where its fields are. Every character of a line is looked
at: a line is taken only if it tells here what `ftrace.line.parse` makes of it, and all others
are left to that.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from topbit.readers.bulk.chunk import Chunk
from topbit.readers.bulk.known import BEGINS_A_LINE, GOOD, Known
from topbit.readers.bulk.scatterlists import Lists, lists_of
from topbit.readers.bulk.trace_forms import BOUNCED, FORMS, Form
from topbit.readers.bulk.words import (
    BEYOND_9,
    FROM_0,
    TOP_BITS,
    WORD,
    Mask,
    Places,
)
from topbit.readers.columns import BITS, EXACT, HAS, TASK, Piece, joined
from topbit.readers.growing import Array
from topbit.recording.schema import DMA_MAPPING_ERROR, ERROR, OK

COLON, BLANK, EQUALS, DOT, COMMA, ZERO = b": =.,0"
WIDEST_GAP = 24
"""Blanks that `trace-cmd report` and `perf script` put around an event's name at most."""
MICROSECONDS, NANOSECONDS = 6, 9
"""Digits of a time's fraction."""
EXACTLY = np.uint64(1 << 53)
"""Integers up to this one are exact as floating-point numbers."""
NULL_DIGITS = (1, 8, 16)
"""Digits of a NULL pointer (`ftrace.events.NULL_POINTERS`)."""
FORCED, NORMAL = b" FORCE", b" NORMAL"
# What the columns of the event table are called in an event's body.
COLUMN_OF = {
    "dma_addr": "address",
    "phys_addr": "phys",
    "size": "size",
    "dma_mask": "mask",
    "dev_addr": "phys",
    "dma_addrs": "address",
    "phys_addrs": "phys",
    "sizes": "size",
}


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


@dataclass(frozen=True, slots=True)
class _Group:
    """Which lines have one form, and where does what stand in them?

    Attributes:
        form: theirs.
        line: of the chunk.
        equals: where each "=" is, by field.
        body, end: where the body begins, and the line ends.
        colon: the last ": " before the fields.
        time: seconds.
        head: number of the task's meaning.
    """

    form: Form
    line: Places
    equals: list[Places]
    body: Places
    end: Places
    colon: Places
    time: Array
    head: Array

    def only(self, kept: Mask) -> _Group:
        return _Group(
            self.form,
            self.line[kept],
            [places[kept] for places in self.equals],
            self.body[kept],
            self.end[kept],
            self.colon[kept],
            self.time[kept],
            self.head[kept],
        )


class _Reader:
    """Who reads the trace lines of one chunk?"""

    def __init__(self, chunk: Chunk, known: Known) -> None:
        self.chunk, self.known = chunk, known
        self.words, self.text = chunk.words, chunk.words.text

    @cached_property
    def _commas(self) -> Places:
        return self.words.where(COMMA)

    def read(self) -> TraceLines:
        count = len(self.chunk)
        regular, begins = np.zeros(count, np.bool_), np.zeros(count, np.bool_)
        pieces: list[Piece] = []
        for group, starting in self._groups():
            piece, good = self._piece(group)
            pieces.append(piece)
            regular[group.line[good]] = True
            begins[group.line[good & starting]] = True
        whole = joined(pieces)
        if whole.count:
            whole = whole.taken(np.argsort(whole.columns["line"], kind="stable"))
        return TraceLines(whole, regular, begins)

    def _groups(self) -> list[tuple[_Group, Mask]]:
        """Which lines may be of which form, going by their event's name and number of fields?"""
        chunk = self.chunk
        equals = self.words.where(EQUALS)
        colons = self.words.where(COLON, BLANK)
        first_equals = np.searchsorted(equals, chunk.starts)
        first_colon = np.searchsorted(colons, chunk.starts)
        fields = np.diff(first_equals, append=len(equals))
        marks = np.diff(first_colon, append=len(colons))
        line = np.flatnonzero(
            ~chunk.odd & ((marks == 2) | (marks == 3)) & (fields >= 3) & (fields <= 7)
        )
        if not len(line):
            return []
        first = first_colon[line]
        name = self._skip(colons[first] + 2)
        named = self.known.events.encode(self.words, name, colons[first + 1])
        forms = self.known.forms(named, fields[line])
        line, first, form = (part[forms >= 0] for part in (line, first, forms))
        if not len(line):
            return []
        time, time_start, good = self._time(colons[first])
        head = self.known.head(self.known.heads.encode(self.words, chunk.starts[line], time_start))
        good &= (head & GOOD) != 0
        groups = []
        for number in np.unique(form).tolist():
            wanted = FORMS[number]
            here = np.flatnonzero(good & (form == number))
            at = line[here]
            extra = int(wanted is BOUNCED or wanted.agent == "vmm")
            here = here[marks[at] == 2 + extra]
            at = line[here]
            start = first_equals[at]
            group = _Group(
                wanted,
                at,
                [equals[start + place] for place in range(len(wanted.keys))],
                self._skip(colons[first[here] + 1] + 2),
                chunk.ends[at],
                colons[first[here] + 1 + extra],
                time[here],
                head[here],
            )
            groups.append((group, (head[here] & BEGINS_A_LINE) != 0))
        return groups

    def _skip(self, places: Places) -> Places:
        """Where do blanks end that begin at these places?"""
        for _ in range(WIDEST_GAP):
            blank = self.text[places] == BLANK
            if not blank.any():
                break
            places = places + blank
        return places

    def _time(self, ends: Places) -> tuple[Array, Places, Mask]:
        """Which times (seconds) end there, where do they begin, and are they times at all?"""
        digits = np.where(self.text[ends - MICROSECONDS - 1] == DOT, MICROSECONDS, NANOSECONDS)
        nano = digits == NANOSECONDS
        whole_end = ends - digits - 1
        good = self.text[whole_end] == DOT
        fraction, valid = self.words.decimal(ends - MICROSECONDS, ends)
        good &= valid
        unit = np.full(len(ends), 10**MICROSECONDS, np.uint64)
        if nano.any():
            above, valid = self.words.decimal(ends - NANOSECONDS, ends - MICROSECONDS)
            good &= valid | ~nano
            fraction[nano] += above[nano] * np.uint64(10**MICROSECONDS)
            unit[nano] = 10**NANOSECONDS
        length = self._digits_before(whole_end)
        start = whole_end - length
        good &= (length > 0) & (length < WORD) & (self.text[start - 1] == BLANK)
        whole, valid = self.words.decimal(start, whole_end)
        total = whole * unit + fraction
        good &= valid & (total < EXACTLY)
        # Both are exact, and so the quotient is rounded as the number's own text is.
        return total / unit, start, good

    def _digits_before(self, ends: Places) -> Places:
        """How many decimal digits stand before these places? 8 for as many or more."""
        words = self.words.at(ends - WORD)
        others = ~((words + FROM_0) & ~(words + BEYOND_9)) & TOP_BITS
        # The highest bit that is set is in the last character that is no digit.
        highest = np.frexp(others.astype(np.float64))[1]
        return (WORD - (highest + 7) // 8).astype(np.int64)

    def _piece(self, group: _Group) -> tuple[Piece, Mask]:
        """What tell the lines of a group, and which of them are of its form after all?"""
        form, words = group.form, self.words
        good = np.ones(len(group.line), np.bool_)
        starts: dict[str, Places] = {}
        ends: dict[str, Places] = {}
        for place, (key, at) in enumerate(zip(form.keys, group.equals, strict=True)):
            lead = "IOMMU: " if key == "iova" else " "
            good &= words.ends(at, f"{lead}{key}".encode())
            starts[key] = at + 1
            if place:
                ends[form.keys[place - 1]] = at - len(key) - 1
        ends[form.keys[-1]] = group.end
        columns: dict[str, Array] = {}
        if form is BOUNCED:
            forced = words.ends(group.end, FORCED)
            good &= forced | words.ends(group.end, NORMAL)
            ends["size"] = group.end - np.where(forced, len(FORCED), len(NORMAL))
            columns["status"] = self._either("status", forced, "FORCE", "NORMAL")
            good &= words.ends(group.colon, b"dev_name") & (group.colon - 8 == group.body)
        if form.agent == "vmm":
            good &= group.body == group.equals[0] - len("IOMMU: iova")
            good &= self._iommu(form, starts, ends, columns)
            columns[TASK] = self.known.task(group.head)
        else:
            begin = group.colon + 2 if form is BOUNCED else group.body
            end = group.equals[0] - len(form.keys[0]) - 1
            good &= self._word("device", "device", begin, end, columns)
            for key in form.keys:
                good &= self._field(key, starts[key], ends[key], columns)
        if form.event == "dma_map" and "address" in columns:
            failed = columns["address"] == DMA_MAPPING_ERROR
            columns["status"] = self._either("status", failed, ERROR, None)
        if form.event == "dma_alloc":
            failed = columns.pop("null") | (columns["address"] == DMA_MAPPING_ERROR)
            columns["status"] = self._either("status", failed, ERROR, None)
        columns.pop("null", None)
        columns |= {"line": group.line.astype(np.uint32), "time": group.time}
        lists = [key for key in form.keys if key in ("dma_addrs", "sizes", "phys_addrs")]
        if lists:
            return self._entries(form, lists, starts, ends, columns, good)
        rows = {name: values[good] for name, values in columns.items()}
        return self._finished(form, rows, int(good.sum())), good

    def _finished(self, form: Form, columns: dict[str, Array], count: int) -> Piece:
        """Which piece are these columns, with those that are the same for all?"""
        same = {"agent": form.agent, "event": form.event, "detail": form.detail, EXACT: "yes"}
        for name, word in same.items():
            columns[name] = np.full(count, self.known.number(name, word), np.uint8)
        has = sum(int(BITS[name]) for name in BITS if name in columns)
        columns.setdefault(HAS, np.full(count, has, np.uint16))
        return Piece(count, columns)

    def _either(self, column: str, which: Mask, word: str, other: str | None) -> Array:
        one, two = self.known.number(column, word), self.known.number(column, other)
        return np.where(which, np.uint8(one), np.uint8(two))

    def _word(
        self, what: str, column: str, starts: Places, ends: Places, columns: dict[str, Array]
    ) -> Mask:
        codes = self.known.values[what].encode(self.words, starts, ends)
        numbers, good = self.known.word(what, codes)
        columns[column] = numbers
        return good

    def _field(self, key: str, starts: Places, ends: Places, columns: dict[str, Array]) -> Mask:
        """Read one field into its column; in which lines is it of the usual form?"""
        words = self.words
        if key == "dir":
            return self._word("dir", "direction", starts, ends, columns)
        if key == "attrs":
            return self._word("attrs", "attrs", starts, ends, columns)
        if key in ("flags", "nents", "ents"):
            return self._word("other", "", starts, ends, {})
        if key == "size":
            columns["size"], good = words.decimal(starts, ends)
            return good
        if key == "virt_addr":
            value, good = words.hexadecimal(starts, ends)
            columns["null"] = (value == 0) & np.isin(ends - starts, NULL_DIGITS)
            return good
        if key in ("dma_addrs", "sizes", "phys_addrs"):
            return ends > starts
        columns[COLUMN_OF[key]], good = words.hexadecimal(starts, ends)
        return good

    def _iommu(
        self,
        form: Form,
        starts: dict[str, Places],
        ends: dict[str, Places],
        columns: dict[str, Array],
    ) -> Mask:
        """iova=0x%016llx - 0x%016llx paddr=0x%016llx size=%zu, or size= unmapped_size=."""
        words = self.words
        begin, end = starts["iova"], ends["iova"]
        middle = begin + 18
        columns["address"], good = words.hexadecimal(begin + 2, middle)
        good &= words.ends(begin + 2, b"0x") & words.ends(middle + 5, b" - 0x")
        good &= words.hexadecimal(middle + 5, end)[1]
        for key in ("size", "unmapped_size"):
            if key in starts:
                # Python takes no leading zeros where a number may be hexadecimal as well.
                good &= self.text[starts[key]] != ZERO
        columns["size"], valid = words.decimal(starts["size"], ends["size"])
        good &= valid
        if form.event == "iommu_map":
            columns["pa"], valid = words.hexadecimal(starts["paddr"] + 2, ends["paddr"])
            good &= words.ends(starts["paddr"] + 2, b"0x")
            columns["status"] = self._either("status", good, OK, OK)
        else:
            done, valid = words.decimal(starts["unmapped_size"], ends["unmapped_size"])
            columns["status"] = self._either("status", done >= columns["size"], OK, ERROR)
        return good & valid

    def _entries(
        self,
        form: Form,
        keys: list[str],
        starts: dict[str, Places],
        ends: dict[str, Places],
        columns: dict[str, Array],
        good: Mask,
    ) -> tuple[Piece, Mask]:
        """What tell the lines of a form with arrays: an event for each entry?"""
        # Where a field is not of its form, the places of the next one are not in order.
        usable = np.flatnonzero(good)
        lists: dict[str, Lists] = {}
        whole = np.ones(len(usable), np.bool_)
        for key in keys:
            lists[key] = lists_of(self.words, self._commas, starts[key][usable], ends[key][usable])
            whole &= lists[key].good
        main = lists[keys[0]]
        if "sizes" in lists:
            whole &= lists["sizes"].counts == main.counts
        good[usable[~whole]] = False
        kept = whole[main.owners]
        rows = {name: values[usable[main.owners[kept]]] for name, values in columns.items()}
        count = int(kept.sum())
        has = sum(int(BITS[name]) for name in ("line", "time"))
        there = np.full(count, has, np.uint16)
        for key, entries in lists.items():
            # Entries that were merged have no buffer of their own.
            paired = (entries.counts == main.counts) & whole
            mine = paired[main.owners[kept]]
            values = np.zeros(count, np.uint64)
            values[mine] = entries.values[paired[entries.owners]]
            rows[COLUMN_OF[key]] = values
            there |= np.where(mine, BITS[COLUMN_OF[key]], np.uint16(0))
        rows[HAS] = there
        return self._finished(form, rows, count), good


def trace_lines(chunk: Chunk, known: Known) -> TraceLines:
    """Which lines of a chunk are trace events of the usual form, and what do they tell?"""
    return _Reader(chunk, known).read()
