"""What does one text file tell, boot by boot? Traces and logs of any kind, mixed in any way."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import closing

import numpy as np

from topbit.errors import InputError
from topbit.events import Event
from topbit.readers.boot import Boot
from topbit.readers.boots import MARKS, boot_starts
from topbit.readers.bulk.stored import Lines
from topbit.readers.bulk.survey import Part, Survey
from topbit.readers.columns import Columns, Piece, joined
from topbit.readers.containers import opened
from topbit.readers.ftrace.line import Unparsable, lost_events, may_be_trace, parse
from topbit.readers.joined import (
    BEGINS,
    LOG_LINES,
    NARROWEST,
    TRACE_LINES,
    WIDEST,
    read_joined,
    unquoted,
)
from topbit.readers.kernel_log.log import KernelLog
from topbit.readers.kernel_log.message import Unreadable
from topbit.readers.needles import NEEDLES, worth_reading
from topbit.readers.order import in_order
from topbit.readers.roles import KERNEL_TASKS, VMM_TASKS
from topbit.readers.source import Source
from topbit.readers.vmm_log import kvmtool
from topbit.readers.vmm_log import log as vmm_log
from topbit.readers.wrapping import LogLine, log_line

MOST_BOOTS = 100
"""Boots of one file that are read, the last ones."""
MOST_JOINS = 20
"""So many lines one after the other are tried together with those behind them in vain."""
LONGEST_WORD = 80
"""Characters on each side of a line's break that can hold what tells its kind."""
EXACT = 6
"""Digits of a fraction from which on a trace event's time is nearly unique."""


def read_text(source: Source, progress: Callable[[int], None]) -> list[Boot]:
    """What does the file tell about each boot in it, first boot first?

    Args:
        source: a text file.
        progress: is told how many more lines were read, now and then.
    """
    try:
        found = Survey(source.data, Columns(source.name))
        with closing(found.parts(progress)) as parts:
            boots = [_BootReader(source.name, found.lines).read(found, parts)]
        boots[0].lines = len(found.lines)
        source.replaced += found.replaced
    except _SeveralBoots:
        boots = _read_boots(source)
    return boots


class _SeveralBoots(InputError):
    """A second line was found that a kernel prints when it boots."""


def _read_boots(source: Source) -> list[Boot]:
    """What does a text tell that may hold the logs of several boots?"""
    found = Survey(source.data, Columns(source.name))
    parts = list(found.parts(lambda lines: None))
    source.replaced += found.replaced
    starts = boot_starts(found.lines)
    left_out = max(len(starts) - MOST_BOOTS, 0)
    starts = starts[left_out:]
    boots: list[Boot] = []
    for start, end in zip(starts, [*starts[1:], len(found.lines)], strict=True):
        reader = _BootReader(source.name, found.lines.part(start, end), several=True)
        own = (p.between(start, end) for p in parts if p.start < end and p.end > start)
        boots.append(reader.read(found, own))
        boots[-1].lines = end - start
    if left_out:
        boots[-1].notes.append(
            f"{source.name}: tells of {len(starts) + left_out} boots; the first {left_out} were "
            "left out, give them in files of their own"
        )
    return boots


class _BootReader:
    """Who reads those lines of one boot that are not read in bulk, one after the other?

    Args:
        name: the file.
        lines: of the boot.
        several: it is one of several boots; else a second one ends the reading (_SeveralBoots).
    """

    def __init__(self, name: str, lines: Lines, *, several: bool = False) -> None:
        self.boot = Boot(name)
        self._lines = lines
        self._several = several
        self._marks = dict.fromkeys(MARKS, 0)
        self._log = KernelLog()
        self._seen: set[tuple[float | None, str]] = set()
        self._skip = 0
        self._in_vain = 0
        self._events: list[Event] = []
        self._exact: list[bool] = []
        self._tasks: list[str | None] = []
        self._taken: set[int] = set()
        # Of which events lines of another chunk may have told more?
        self._open: list[Event] = []

    def read(self, found: Survey, parts: Iterable[Part]) -> Boot:
        columns = Columns(self.boot.source, found.columns.words)
        for part in parts:
            self._read_part(part)
            columns.add(self._merged(part.piece, columns))
        for event in self._open:
            columns.change(event, ("device", "direction", "attrs"))
        self._log.smmu.end()
        for line, text in self._log.smmu.damaged:
            self.boot.add_unparsed(line, text)
        self.boot.facts = self._log.facts
        self.boot.table = in_order(columns.frame())
        return self.boot

    def _read_part(self, part: Part) -> None:
        """Read the lines of a chunk that nobody has read, and those that the SMMU waits for."""
        rest = part.rest.tolist()
        texts = self._texts(rest)
        if not self._several:
            for mark in MARKS:
                self._marks[mark] += sum(mark in text for text in texts)
                if self._marks[mark] > 1:
                    raise _SeveralBoots("is the log of several boots")
        # Of a trace's lines it is known already.
        worth = worth_reading(
            ["" if ": dma_" in line or ": swiotlb_b" in line else line for line in texts]
        )
        self._go_on(part, part.start, rest[0] if rest else part.end)
        for index, following, is_worth in zip(rest, [*rest, part.end][1:], worth, strict=True):
            self._read_line(index - self._lines.start, is_worth)
            self._go_on(part, index + 1, following)

    def _texts(self, lines: list[int]) -> list[str]:
        return [self._lines[line - self._lines.start][1] for line in lines]

    def _go_on(self, part: Part, start: int, end: int) -> None:
        """Read the lines that nobody read, from `start` on until the SMMU waits no longer."""
        for line in range(start, end):
            if not self._log.smmu.waiting:
                return
            regular = part.piece.columns.get("line", np.zeros(0, np.uint32))
            at = int(np.searchsorted(regular, line))
            if at == len(regular) or regular[at] != line:
                self._read_line(line - self._lines.start, False)

    def _read_line(self, index: int, is_worth: bool) -> None:
        if index < self._skip:
            return
        number, line = self._lines[index]
        if "EVENTS" in line or "entries-written" in line:
            self._lost(number, line)
        if may_be_trace(line):
            rest = self._trace(index, number, line)
            if rest is None:
                return
            line, is_worth = rest, True
        if is_worth or self._log.smmu.waiting:
            self._message(index, log_line(number, line))
        elif self._is_broken(index, line):
            self._broken(index, log_line(number, line))

    def _merged(self, piece: Piece, columns: Columns) -> Piece:
        """What tell the lines of a chunk, those in bulk and those that were read since?"""
        if self._taken and piece.count:
            kept = ~np.isin(piece.columns["line"], np.array(list(self._taken)))
            piece = piece.taken(np.flatnonzero(kept))
        if piece.count:
            piece.columns["line"] += np.uint32(1)
        if self._events:
            single = columns.piece_of(self._events, self._exact, self._tasks)
            piece = joined((single, piece))
            piece = piece.taken(np.argsort(piece.columns["line"], kind="stable"))
            told = set(map(id, self._events))
            self._open += [event for event in self._log.smmu.open if id(event) in told]
            self._events, self._exact, self._tasks = [], [], []
        return piece

    def _add(self, events: list[Event], *, exact: bool = False, task: str | None = None) -> None:
        self._events += events
        self._exact += [exact] * len(events)
        self._tasks += [task] * len(events)

    def _skip_lines(self, index: int, more: int) -> None:
        """The lines behind this one were part of it."""
        self._skip = index + more + 1
        first = self._lines.start + index + 1
        self._taken.update(range(first, first + more))

    def _is_broken(self, index: int, line: str) -> bool:
        """May this line have been broken within the words that tell what it is?"""
        if index + 1 >= len(self._lines) or not NARROWEST <= len(line) <= WIDEST:
            return False
        if self._in_vain >= MOST_JOINS or not BEGINS.match(line):
            return False
        following = self._lines[index + 1][1]
        if not following or len(following) > WIDEST or BEGINS.match(following):
            return False
        following = unquoted(following)
        ends = (line[-LONGEST_WORD:].rstrip() + " ", line[-LONGEST_WORD:])
        both = [end + following[:LONGEST_WORD] for end in ends]
        return any(needle in text for text in both for needle in NEEDLES)

    def _broken(self, index: int, entry: LogLine) -> None:
        whole = self._joined_message(index, entry, count=False)
        if whole is not None and whole[0] is not None:
            self._keep(whole[0], entry)

    def _lost(self, number: int, line: str) -> None:
        try:
            self.boot.lost_events += lost_events(line)
        except Unparsable:
            self.boot.add_unparsed(number, line)

    # Trace events.

    def _trace(self, index: int, number: int, line: str) -> str | None:
        """Read a line as a trace's; returns what is left of it for the log, None for nothing."""
        try:
            parsed = parse(line)
        except Unparsable:
            parsed = self._unwrapped(index, number, line)
            if parsed is None:
                # A kernel message may have cut the line in two, and is still worth reading.
                self.boot.add_unparsed(number, line)
                return line
        if parsed is None:
            return line
        events, key, rest = parsed
        exact, task = False, None
        written = key.partition(":")[0]
        if not written and events and events[0].time is None:
            # tp_printk: the time is the message's.
            stamp = log_line(number, line)
            for event in events:
                event.time = stamp.time
        elif len(written.partition(".")[2]) >= EXACT:
            exact = True
        for event in events:
            event.line = number
        if events and events[0].agent == "vmm":
            if VMM_TASKS.search(line):
                task = "vmm"
            elif KERNEL_TASKS.search(line):
                task = "kernel"
        self._add(events, exact=exact, task=task)
        return rest or None

    def _unwrapped(self, index: int, number: int, line: str) -> tuple[list[Event], str, str] | None:
        """What does a line say once its container is opened, or with the lines behind it?"""
        inner = log_line(number, line).text
        if inner != line:
            try:
                if (parsed := parse(inner)) is not None:
                    return parsed
            except Unparsable:
                pass
        if self._in_vain >= MOST_JOINS:
            return None

        def read(joined: str) -> tuple[list[Event], str, str] | None:
            return parse(opened(joined)[0])

        found = read_joined(self._lines, index, read, Unparsable, TRACE_LINES)
        if found is None or not found[0][0]:
            self._in_vain += 1
            return None
        self._in_vain = 0
        parsed, count = found
        self._skip_lines(index, count)
        return parsed

    # Messages of logs.

    def _message(self, index: int, entry: LogLine) -> None:
        self.boot.signs.take(entry.text)
        try:
            # What a VMM says of DMA is none of a kernel's messages.
            event = vmm_log.read(entry.text) if vmm_log.is_sign(entry.text) else None
            event = event or self._log.take(entry)
        except Unreadable:
            whole = self._joined_message(index, entry)
            if whole is None:
                return
            event = whole[0]
        if event is None:
            event = vmm_log.read(entry.text)
            if event is None:
                if (bits := kvmtool.ipa_bits_of(entry.text)) is not None:
                    self.boot.vmm_ipa_bits = (bits, entry.number)
                return
        self._keep(event, entry)

    def _keep(self, event: Event, entry: LogLine) -> None:
        # A log repeats itself where `dmesg` was printed into it; a printk time is nearly unique.
        if entry.exact:
            if (entry.time, entry.text) in self._seen:
                return
            self._seen.add((entry.time, entry.text))
        event.line = entry.number
        self._add([event])

    def _joined_message(
        self, index: int, entry: LogLine, *, count: bool = True
    ) -> tuple[Event | None] | None:
        """What does a message tell together with the lines behind it: an event, or a fact?

        If it tells nothing, `count` it as a line that could not be read.
        """

        def read(line: str) -> tuple[Event | None] | None:
            known = self._log.facts.seen_lines
            event = self._log.take(log_line(entry.number, line))
            return (event,) if event or self._log.facts.seen_lines > known else None

        found = None
        if self._in_vain < MOST_JOINS:
            found = read_joined(self._lines, index, read, Unreadable, LOG_LINES)
        if found is None:
            self._in_vain += 1
            if count:
                self.boot.add_unparsed(entry.number, entry.text)
            return None
        self._in_vain = 0
        whole, more = found
        self._skip_lines(index, more)
        return whole
