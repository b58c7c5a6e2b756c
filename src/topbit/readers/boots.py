"""Where does a new boot begin in a log?

A console log goes on over reboots, and it also repeats: `dmesg` printed into it, or chosen lines
of it, are the same boot again. A boot begins where the kernel says its version and the printk
time falls back, and where the lines that follow were not there before.
"""

from __future__ import annotations

import re

from topbit.readers.kernel_log import BOOTING, VERSION
from topbit.readers.lines import STAMP, LogLine, log_line

LOOK_AHEAD = 8
"""How many time-stamped lines after a version line tell whether it begins a boot?"""


def boot_starts(lines: list[tuple[int, str]]) -> list[int]:
    """At which indices of `lines` does a boot begin? Index 0 always counts.

    Args:
        lines: (number, line) of one file, as `lines.clean` gives them.
    """
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
        marks = BOOTING.match(entry.text) or VERSION.match(entry.text)
        # A log prefixes the lines of every boot alike; other prefixes are a program's own.
        alike = prefix is None or (marks and _prefix(line) == prefix)
        if marks and alike and has_version and _begins(entry, lines, index, latest, seen):
            starts.append(index)
            has_version, latest = False, 0.0
            seen.clear()
        if marks and prefix is None:
            prefix = _prefix(line)
        if VERSION.match(entry.text):
            has_version = True
        if entry.time:
            latest = max(latest, entry.time)
            seen.add(hash((entry.time, entry.text)))
    return starts


def _prefix(line: str) -> str:
    """What stands before the time stamp, whatever its numbers are?"""
    stamp = STAMP.search(line)
    return re.sub(r"\d+", "#", line[: stamp.start()]) if stamp else ""


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
