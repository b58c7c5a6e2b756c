"""Which events of two files are copies of each other?

A trace may be told twice: on the console and in a file, as trace.dat and as its report. Times are
compared in microseconds, as the kernel's text rounds them.
"""

from __future__ import annotations

from topbit.events import Event


def copy_key(event: Event) -> int | None:
    """Which number do copies of one event share? None if it has no time."""
    if event.time is None:
        return None
    # The kernel rounds half up (kernel/trace/trace.c:ns2usecs).
    stamp = (round(event.time * 1e9) + 500) // 1000
    return hash((stamp, event.event, event.device, event.address, event.phys, event.size))
