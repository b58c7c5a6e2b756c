"""Where does a new boot begin in a log?

A console log goes on over reboots, and it also repeats: `dmesg` printed into it, or chosen lines
of it, are the same boot again. A boot begins where the kernel says its version and the printk
time falls back, and where the lines that follow were not there before.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Sequence

from topbit.readers.kernel_log.facts import BOOTING, VERSION
from topbit.readers.wrapping import LogLine, log_line

LOOK_AHEAD = 8
"""How many time-stamped lines after a version line tell whether it begins a boot?"""
MARKS = ("Linux version", "Booting Linux on physical CPU")
NAMES = re.compile(
    r"\b(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun|Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)\b"
)


def boot_starts(lines: Sequence[tuple[int, str]]) -> list[int]:
    """At which indices of `lines` does a boot begin? Index 0 always counts.

    Args:
        lines: (number, line) of one file, as `lines.clean` gives them.
    """
    if all(sum(mark in line for _, line in lines) < 2 for mark in MARKS):
        return [0]
    # Most lines of a big file are trace events, which tell nothing about boots.
    entries = {
        index: log_line(number, line)
        for index, (number, line) in enumerate(lines)
        if ": dma_" not in line and ": swiotlb_bounced: " not in line
    }
    timed = [index for index, entry in entries.items() if entry.time]
    starts = [0]
    has_version = False
    prefix: str | None = None
    latest = 0.0
    seen: set[int] = set()
    for index, entry in entries.items():
        version = VERSION.search(entry.text)
        marks = version or BOOTING.search(entry.text)
        # A log prefixes the lines of every boot alike; other prefixes are a program's own.
        alike = prefix is None or (marks and _shape(entry) == prefix)
        if marks and alike and has_version:
            after = bisect_right(timed, index)
            ahead = [entries[n] for n in timed[after : after + LOOK_AHEAD]]
            if _begins(entry, ahead, latest, seen):
                starts.append(index)
                has_version, latest = False, 0.0
                seen.clear()
        if marks and prefix is None:
            prefix = _shape(entry)
        if version:
            has_version = True
        if entry.time:
            latest = max(latest, entry.time)
            seen.add(hash((entry.time, entry.text)))
    return starts


def _shape(entry: LogLine) -> str:
    """What stands before the message, whatever its numbers and days are?"""
    return re.sub(r"\d+", "#", NAMES.sub("#", entry.prefix))


def _begins(entry: LogLine, ahead: list[LogLine], latest: float, seen: set[int]) -> bool:
    """Does a boot begin at this version line, going by the time-stamped lines that follow?"""
    if entry.time is None:
        # A syslog without printk times tells nothing else; a log with them prints "Linux
        # version" without one only where a program prints it.
        return not seen
    if not ahead or (ahead[0].time or 0.0) >= latest:
        return False
    repeated = sum(hash((line.time, line.text)) in seen for line in ahead)
    return repeated * 2 < len(ahead)
