"""What does one text file tell, boot by boot? Traces and kernel logs, mixed in any way."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from topbit.events import Event
from topbit.readers import ftrace
from topbit.readers.boots import boot_starts
from topbit.readers.kernel_log import LogFacts
from topbit.readers.lines import clean, log_line
from topbit.readers.smmu_log import MARK, SmmuLog
from topbit.readers.source import Source
from topbit.recording import Unparsed

SHOWN = 160
"""How many characters of an unparsed line are shown."""


@dataclass(slots=True)
class Boot:
    """What does one file tell about one boot of one machine?

    Attributes:
        source: the file.
        facts: what its kernel log told.
        events: trace events, log events and SMMU events, in the order of the lines.
        keys: (number that copies of a trace event share, its first event, the one after its
            last), to find copies of one trace in two files.
        unparsed: lines that looked like events, if any.
        lost_events: trace events that were lost.
        clock: what the times of its trace are taken from; empty if it does not say.
        notes: what a reader of the report must know about it.
    """

    source: str
    facts: LogFacts = field(default_factory=LogFacts)
    events: list[Event] = field(default_factory=list)
    keys: list[tuple[int, int, int]] = field(default_factory=list)
    unparsed: Unparsed | None = None
    lost_events: int = 0
    clock: str = ""
    notes: list[str] = field(default_factory=list)

    @property
    def empty(self) -> bool:
        """Did the file tell nothing at all about this boot?"""
        return not (self.events or self.facts.seen_lines or self.unparsed)


def read_text(source: Source, progress: Callable[[int], None]) -> list[Boot]:
    """What does the file tell about each boot in it, first boot first?

    Args:
        source: a text file.
        progress: is told how many more lines were read, now and then.
    """
    lines = list(clean(source.text))
    starts = boot_starts(lines)
    boots: list[Boot] = []
    for start, end in zip(starts, [*starts[1:], len(lines)], strict=True):
        boot = Boot(source.name)
        _read_boot(boot, lines[start:end], progress)
        boots.append(boot)
    return boots


def _read_boot(boot: Boot, lines: list[tuple[int, str]], progress: Callable[[int], None]) -> None:
    smmu = SmmuLog()
    seen: set[tuple[float | None, str]] = set()
    for count, (number, line) in enumerate(lines):
        if count % 4096 == 0:
            progress(4096)
        if "EVENTS" in line or "entries-written" in line:
            boot.lost_events += ftrace.lost_events(line)
        if _may_be_trace(line):
            try:
                parsed = ftrace.parse(line)
            except ftrace.Unparsable:
                # A kernel message may have cut the line in two, and is still worth reading.
                _count_unparsed(boot, number, line)
                parsed = None
            if parsed is not None:
                events, key, line = parsed
                first = len(boot.events)
                shared = copy_key(events[0]) if events else None
                shared = hash(key) if shared is None else shared
                boot.keys.append((shared, first, first + len(events)))
                for traced in events:
                    traced.source, traced.line = boot.source, number
                boot.events += events
                if not line:
                    continue
        entry = log_line(number, line)
        event = boot.facts.take(entry)
        if event is None and MARK in line:
            event = smmu.take(entry)
        if event is None:
            continue
        # A log repeats itself where `dmesg` was printed into it; a printk time is nearly unique.
        if entry.time is not None:
            if (entry.time, entry.text) in seen:
                continue
            seen.add((entry.time, entry.text))
        event.source, event.line = boot.source, number
        boot.events.append(event)


def _may_be_trace(line: str) -> bool:
    """Is the line worth a closer look? A cheap test that most log lines fail."""
    if ": dma_" in line or ": swiotlb_" in line:
        return True
    return "=" in line and any(
        part in line for part in ("dma_addr", "dma_mask", "dev_addr", "phys_addr", "IOMMU:")
    )


def _count_unparsed(boot: Boot, number: int, line: str) -> None:
    if boot.unparsed is None:
        boot.unparsed = Unparsed(boot.source, 0, number, line.strip()[:SHOWN])
    boot.unparsed.count += 1


def copy_key(event: Event) -> int | None:
    """Which number do copies of one event share? None if it has no time.

    A trace may be told twice: on the console and in a file, as trace.dat and as its report. Times
    are compared in microseconds, as the kernel's text rounds them.
    """
    if event.time is None:
        return None
    # The kernel rounds half up (kernel/trace/trace.c:ns2usecs).
    stamp = (round(event.time * 1e9) + 500) // 1000
    return hash((stamp, event.event, event.device, event.address, event.phys, event.size))
