"""Where does a new boot begin in a log?

A console log goes on over reboots, and it also repeats: `dmesg` printed into it, or chosen lines
of it, are the same boot again. A boot begins where the kernel says its version and the printk
time falls back, and where the lines that follow were not there before.
"""

from __future__ import annotations

import re

from topbit.readers.kernel_log.facts import BOOTING, VERSION
from topbit.readers.wrapping import LogLine, log_line

LOOK_AHEAD = 8
"""How many time-stamped lines after a version line tell whether it begins a boot?"""
MARKS = ("Linux version", "Booting Linux on physical CPU")
NAMES = re.compile(
    r"\b(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun|Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)\b"
)


def boot_starts(lines: list[tuple[int, str]]) -> list[int]:
    """At which indices of `lines` does a boot begin? Index 0 always counts.

    Args:
        lines: (number, line) of one file, as `lines.clean` gives them.
    """
    if all(sum(mark in line for _, line in lines) < 2 for mark in MARKS):
        return [0]
    starts = [0]
    has_version = False
    prefix: str | None = None
    latest = 0.0
    seen: set[int] = set()
    for index, (number, line) in enumerate(lines):
        # Most lines of a big file are trace events, which tell nothing about boots.
        if ": dma_" in line or ": swiotlb_bounced: " in line:
            continue
        entry = log_line(number, line)
        version = VERSION.search(entry.text)
        marks = version or BOOTING.search(entry.text)
        # A log prefixes the lines of every boot alike; other prefixes are a program's own.
        alike = prefix is None or (marks and _shape(entry) == prefix)
        if marks and alike and has_version and _begins(entry, lines, index, latest, seen):
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


def _begins(
    entry: LogLine, lines: list[tuple[int, str]], index: int, latest: float, seen: set[int]
) -> bool:
    if entry.time is None:
        # A syslog without printk times tells nothing else; a log with them prints "Linux
        # version" without one only where a program prints it.
        return not seen
    ahead: list[LogLine] = []
    for number, line in lines[index + 1 :]:
        following = log_line(number, line)
        if following.time:
            ahead.append(following)
            if len(ahead) == LOOK_AHEAD:
                break
    if not ahead or ahead[0].time is None or ahead[0].time >= latest:
        return False
    repeated = sum(hash((line.time, line.text)) in seen for line in ahead)
    return repeated * 2 < len(ahead)
