"""What does a trace.dat of trace-cmd tell?

Its trace data are pages of ftrace's ring buffer, one sequence for each CPU and buffer; the events
of all are put into the order of their times, as `trace-cmd report` does.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import groupby

from topbit.errors import InputError
from topbit.readers.boot import SHOWN, Boot
from topbit.readers.columns import Columns
from topbit.readers.source import Source
from topbit.readers.trace_dat.bulk_records import BulkDecoder
from topbit.readers.trace_dat.cpu_columns import CpuColumns, Looked, in_order
from topbit.readers.trace_dat.cursor import DamagedError, UnreadableError
from topbit.readers.trace_dat.file import Buffer, File
from topbit.readers.trace_dat.raw_event import Decoder, decoders_of
from topbit.readers.trace_dat.ring_buffer import Records
from topbit.recording import Unparsed

NANOSECONDS = {"local", "global", "uptime", "perf", "mono", "mono_raw", "boot", "tai"}
"""The clocks that count nanoseconds (Linux 7.2 kernel/trace/trace.c:trace_clocks)."""
PRINTK_CLOCKS = {"local", "global", "perf"}
"""The clocks that the kernel log's time stamps come from too (kernel/sched/clock.c:local_clock)."""
ARCHITECTURES = {"aarch64": "arm64", "x86_64": "x86"}
AHEAD = 2 * (os.cpu_count() or 1)
"""Blocks of pages that are looked at before the first of them is asked for."""
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
        return _read(File(source.data[:]), source.name, progress)
    except DamagedError as error:
        what, hint = f"is a damaged or truncated trace.dat: {error}", "copy or record it again"
        raise InputError(what, where=source.name, hint=hint) from error
    except UnreadableError as error:
        raise InputError(str(error), where=source.name, hint=REPORT) from error


def _read(file: File, name: str, progress: Callable[[int], None]) -> Boot:
    if file.told.has_text and not file.told.buffers:
        raise UnreadableError("is a trace.dat with no more than a latency tracer's text")
    boot = Boot(name, lines=0)
    decoders = decoders_of(file.told.formats)
    damage = [(1, what) for what in file.told.damage]
    # Times of different clocks cannot be compared: such buffers stand one behind the other.
    clocks = dict.fromkeys(buffer.clock for buffer in file.told.buffers)
    number = 0
    columns = Columns(name)
    bulk = BulkDecoder(file.told.formats, columns)
    for clock in clocks:
        cpus: list[CpuColumns] = []
        who = columns, bulk, decoders
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            for buffer in file.told.buffers:
                if buffer.clock == clock:
                    cpus += _read_buffer(file, buffer, who, pool, damage, boot, progress)
        piece, records = in_order(cpus, number)
        columns.add(piece)
        number += records
    boot.table = columns.frame()
    if damage:
        count = sum(count for count, _ in damage)
        boot.unparsed = Unparsed(name, count, 0, damage[0][1][:SHOWN])
    _tell_facts(boot, file, list(clocks))
    return boot


def _read_buffer(
    file: File,
    buffer: Buffer,
    who: tuple[Columns, BulkDecoder, dict[int, Decoder]],
    pool: ThreadPoolExecutor,
    damage: list[tuple[int, str]],
    boot: Boot,
    progress: Callable[[int], None],
) -> list[CpuColumns]:
    """What do the CPUs of a buffer hold? `who` reads their records, in threads of the `pool`."""
    read: list[CpuColumns] = []
    by_number = sorted(buffer.cpus, key=lambda cpu: cpu.number)
    for number, parts in groupby(by_number, key=lambda cpu: cpu.number):
        records = Records(buffer.clock in NANOSECONDS, file.told.offset)
        columns = CpuColumns(*who, records, buffer.page_size)
        rest = b""
        waiting: list[Future[Looked]] = []
        try:
            for cpu in parts:
                for data in file.trace_data(buffer, cpu):
                    data = rest + data if rest else data
                    whole = len(data) - len(data) % buffer.page_size
                    rest = data[whole:]
                    waiting.append(pool.submit(columns.look, data[:whole] if rest else data))
                    if len(waiting) > AHEAD:
                        _add(columns, waiting.pop(0), progress)
        except DamagedError as error:
            damage.append((1, str(error)))
        for looked in [*waiting, pool.submit(columns.look, rest)]:
            _add(columns, looked, progress)
        if records.damaged:
            damage.append((records.damaged, f"CPU {number}, {records.damage}"))
        counted = file.told.overwritten.get((buffer.name, number), 0)
        boot.lost_events += max(records.lost, counted)
        read.append(columns)
    return read


def _add(columns: CpuColumns, looked: Future[Looked], progress: Callable[[int], None]) -> None:
    before = columns.count
    columns.add(looked.result())
    progress(columns.count - before)


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
