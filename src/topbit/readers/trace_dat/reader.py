"""What does a trace.dat of trace-cmd tell?

Its trace data are pages of ftrace's ring buffer, one sequence for each CPU and buffer; the events
of all are put into the order of their times, as `trace-cmd report` does.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import groupby
from operator import attrgetter

import numpy as np

from topbit.errors import InputError
from topbit.readers.boot import SHOWN, Boot
from topbit.readers.columns import Columns
from topbit.readers.source import Source
from topbit.readers.trace_dat.bulk_records import BulkDecoder
from topbit.readers.trace_dat.cpu_columns import Block, CpuColumns, Looked
from topbit.readers.trace_dat.cursor import DamagedError, UnreadableError
from topbit.readers.trace_dat.file import Buffer, Cpu, File
from topbit.readers.trace_dat.in_order import in_order
from topbit.readers.trace_dat.raw_event import Decoder, decoders_of
from topbit.readers.trace_dat.ring_buffer import Records
from topbit.recording import Unparsed

NANOSECONDS = {"local", "global", "uptime", "perf", "mono", "mono_raw", "boot", "tai"}
"""The clocks that count nanoseconds (Linux 7.2 kernel/trace/trace.c:trace_clocks)."""
ARCHITECTURES = {"aarch64": "arm64", "x86_64": "x86"}
AHEAD = 2 * (os.cpu_count() or 1)
"""Blocks of pages that are looked at before the first of them is asked for."""
BLOCK, MOST_AT_HAND = 4 << 20, 64 << 20
"""About how many bytes of trace data are looked at together: of one CPU, and of all."""
REPORT = "give the text that `trace-cmd report` prints"


def read_trace_dat(source: Source, progress: Callable[[int], None]) -> Boot:
    """What does the file tell? It is of one boot.

    Args:
        source: a trace.dat.
        progress: is told how many more records were read, now and then.

    Raises:
        InputError: nothing of it can be read: damaged, truncated, or of a kind that is not known.
    """
    try:
        return _read(File(source.data), source.name, progress)
    except DamagedError as error:
        what, hint = f"is a damaged or truncated trace.dat: {error}", "copy or record it again"
        raise InputError(what, where=source.name, hint=hint) from error
    except UnreadableError as error:
        raise InputError(str(error), where=source.name, hint=REPORT) from error


def _read(file: File, name: str, progress: Callable[[int], None]) -> Boot:
    if file.told.has_text and not file.told.buffers:
        raise UnreadableError("is a trace.dat with no more than a latency tracer's text")
    boot = Boot(name, lines=0)
    columns = Columns(name)
    who = columns, BulkDecoder(file.told.formats, columns), decoders_of(file.told.formats)
    damage = [(1, what) for what in file.told.damage]
    # Times of different clocks cannot be compared: such buffers stand one behind the other.
    clocks = dict.fromkeys(buffer.clock for buffer in file.told.buffers)
    number = 0
    for clock in clocks:
        buffers = [buffer for buffer in file.told.buffers if buffer.clock == clock]
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            cpus = _Cpu.all_of(file, buffers, who, pool)
            for times, piece in in_order([cpu.blocks() for cpu in cpus]):
                if piece.count:
                    piece.columns["line"] = piece.columns["line"] + np.uint32(number)
                columns.add(piece)
                number += len(times)
                progress(len(times))
        for cpu in cpus:
            damage += cpu.damage()
            boot.lost_events += max(cpu.records.lost, cpu.overwritten)
    boot.table = columns.frame()
    if damage:
        count = sum(count for count, _ in damage)
        boot.unparsed = Unparsed(name, count, 0, damage[0][1][:SHOWN])
    _tell_facts(boot, file, list(clocks))
    return boot


class _Cpu:
    """Who reads what one CPU wrote into one buffer, while others look at what comes next?

    Args:
        file, buffer: where it stands.
        parts: of it, in order.
        who: the columns, who reads many records, and who reads one, by the number of the event.
        pool: of threads.
        several: how many others are read at the same time.
    """

    def __init__(
        self,
        file: File,
        buffer: Buffer,
        parts: list[Cpu],
        who: tuple[Columns, BulkDecoder, dict[int, Decoder]],
        pool: ThreadPoolExecutor,
        several: int,
    ) -> None:
        self.records = Records(buffer.clock in NANOSECONDS, file.told.offset)
        self.overwritten = file.told.overwritten.get((buffer.name, parts[0].number), 0)
        self._file, self._buffer, self._parts = file, buffer, parts
        self._columns = CpuColumns(*who, self.records, buffer.page_size)
        self._pool, self._ahead = pool, max(AHEAD // several, 1)
        self._block = min(BLOCK, MOST_AT_HAND // several)
        self._missing = ""

    @classmethod
    def all_of(
        cls,
        file: File,
        buffers: list[Buffer],
        who: tuple[Columns, BulkDecoder, dict[int, Decoder]],
        pool: ThreadPoolExecutor,
    ) -> list[_Cpu]:
        """Which CPUs wrote into these buffers?"""
        found = [
            (buffer, list(parts))
            for buffer in buffers
            for _, parts in groupby(sorted(buffer.cpus, key=_NUMBER), key=_NUMBER)
        ]
        return [cls(file, buffer, parts, who, pool, len(found)) for buffer, parts in found]

    def blocks(self) -> Iterator[Block]:
        """What stands there?"""
        waiting: list[Future[Looked]] = []
        for data in self._pages():
            waiting.append(self._pool.submit(self._columns.look, data))
            if len(waiting) > self._ahead:
                yield self._columns.block(waiting.pop(0).result())
        for looked in waiting:
            yield self._columns.block(looked.result())

    def _pages(self) -> Iterator[bytes]:
        """Its whole pages, some at a time, and what is there of the last one."""
        rest = b""
        try:
            for part in self._parts:
                for data in self._file.trace_data(self._buffer, part, self._block):
                    data = rest + data if rest else data
                    whole = len(data) - len(data) % self._buffer.page_size
                    rest = data[whole:]
                    yield data[:whole] if rest else data
        except DamagedError as error:
            self._missing = str(error)
        yield rest

    def damage(self) -> list[tuple[int, str]]:
        """What is wrong with it, and how often, once it was read?"""
        told = [(1, self._missing)] if self._missing else []
        if self.records.damaged:
            number = self._parts[0].number
            told.append((self.records.damaged, f"CPU {number}, {self.records.damage}"))
        return told


_NUMBER = attrgetter("number")


def _tell_facts(boot: Boot, file: File, clocks: list[str]) -> None:
    """Which facts about the machine and its clocks does the file tell?"""
    words = file.told.uname.split()
    # sysname nodename release machine; a host's trace is known by its IOMMU events.
    boot.lines = len(boot.table)
    if len(words) == 4 and not (boot.table["agent"] == "vmm").any():
        boot.facts.kernel = words[2]
        boot.facts.architecture = ARCHITECTURES.get(words[3], "")
    boot.clock = clocks[0] if clocks else ""
    odd = [clock for clock in clocks if clock not in NANOSECONDS]
    if odd:
        boot.notes.append(f"{boot.source}: the clock {odd[0]} does not count time")
    if len(clocks) > 1:
        boot.notes.append(
            f"{boot.source}: its buffers have different clocks ({', '.join(clocks)}), so that "
            "their events stand one buffer behind the other"
        )
    if file.told.offset:
        boot.notes.append(
            f"{boot.source}: its times hold an offset of {file.told.offset / 1e9} s, which "
            "trace-cmd record was told to add (--date, --ts-offset)"
        )
    if file.told.has_text:
        boot.notes.append(f"{boot.source}: a latency tracer's text in it was not read")
