"""What a kernel log's readers make of some lines."""

from __future__ import annotations

from topbit.events import Event
from topbit.readers.kernel_log.log import KernelLog
from topbit.readers.kernel_log.message import Unreadable
from topbit.readers.wrapping import log_line


def events_of(text: str, unparsed: list[str] | None = None) -> list[Event]:
    """Which events do these lines tell? Those that cannot be read are added to `unparsed`."""
    log, events = KernelLog(), []
    for number, line in enumerate(text.splitlines(), 1):
        try:
            event = log.take(log_line(number, line))
        except Unreadable:
            assert unparsed is not None, line
            unparsed.append(line)
            continue
        if event is not None:
            events.append(event)
    log.smmu.end()
    if unparsed is not None:
        unparsed += [text for _, text in log.smmu.damaged]
    return events


def one(line: str) -> Event:
    """Which one event does the line tell, its time left out?"""
    (event,) = events_of(line)
    event.time = None
    return event
