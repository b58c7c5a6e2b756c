"""What did the guest itself record: its DMA trace and its kernel log?

Read as logs from anywhere are, through `readers`. The trace (pages of ftrace's ring buffer) and the
log come in the guest's bundle; of a guest that never sent it, the console's kernel messages are all
there is.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from operator import itemgetter

from topbit.events import Event
from topbit.machine.qemu.guest.report import GuestReport
from topbit.readers.kernel_log.facts import LogFacts
from topbit.readers.source import Source
from topbit.readers.text import read_text
from topbit.readers.trace_dat.event_format import page_layout, read_formats
from topbit.readers.trace_dat.raw_event import decoders_of
from topbit.readers.trace_dat.ring_buffer import PAGE, read_pages
from topbit.recording import Unparsed

LARGEST_PAGE = 64 << 10  # bytes of a page of the ring buffer, which is one of the kernel's
TRACE, LOG, CONSOLE = "guest trace", "guest kernel log", "guest console"


@dataclass(slots=True)
class Evidence:
    """What stands in the guest's own records?

    Attributes:
        events: in the order of their times, on the guest's clock.
        facts: what its kernel log says about the platform.
        unparsed: lines that looked like events and could not be read.
        lost_events: trace events that its ring buffer lost.
    """

    events: list[Event] = field(default_factory=list)
    facts: LogFacts = field(default_factory=LogFacts)
    unparsed: list[Unparsed] = field(default_factory=list)
    lost_events: int = 0


def read_evidence(report: GuestReport, console: bytes) -> Evidence:
    """Which events and facts did the guest record?

    Args:
        report: what it reported.
        console: all that it wrote to its console.
    """
    found = Evidence()
    _read_trace(report, found)
    name, text = (
        (LOG, report.dmesg) if report.dmesg else (CONSOLE, console.decode("utf-8", "replace"))
    )
    if text:
        boot = read_text(Source(name, "text", text.encode()), lambda lines: None)[0]
        found.events += boot.events
        found.lost_events += boot.lost_events
        if boot.unparsed:
            found.unparsed.append(boot.unparsed)
        found.facts = boot.facts
    found.events.sort(key=lambda event: event.time or 0.0)
    return found


def _read_trace(report: GuestReport, found: Evidence) -> None:
    """Which events are in the guest's trace, and what is missing of it?"""
    formats = read_formats(report.files.get("formats", b"").decode("utf-8", "replace"))
    decoders = decoders_of(formats)
    layout = page_layout(report.files.get("header_page", b"").decode("utf-8", "replace"))
    size = sum(layout) if layout else PAGE
    if not PAGE <= size <= LARGEST_PAGE:
        size = PAGE
    merged: list[tuple[int, tuple[Event, ...]]] = []
    for name in sorted(name for name in report.files if re.fullmatch(r"cpu\d+\.raw", name)):
        read = read_pages(report.files[name], decoders, size)
        stats = report.files.get(name.replace(".raw", ".stats"), b"")
        found.lost_events += max(read.lost, _written(stats) - len(read.records))
        if read.damage:
            found.unparsed.append(Unparsed(name, read.damaged, 0, read.damage))
        merged += read.records
    merged.sort(key=itemgetter(0))
    for number, (_, events) in enumerate(merged):
        for event in events:
            event.source, event.line = TRACE, number
        found.events += events


def _written(stats: bytes) -> int:
    """How many events did a CPU write, going by its per_cpu/cpuN/stats?"""
    counts = (b"entries", b"overrun", b"dropped events", b"read events")
    found = (re.search(rb"^%b: (\d{1,18})$" % name, stats, re.MULTILINE) for name in counts)
    return sum(int(match[1]) for match in found if match)
