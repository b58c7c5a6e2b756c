"""What does one line of a log say, once terminal colours, prefixes and time stamps are off?"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

ANSI = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[@-Z\\-_])")
CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")

# "[    1.234567]" with an optional caller id "[    T1]" or "[  C0]" (CONFIG_PRINTK_CALLER).
STAMP = re.compile(r"\[\s*(\d+\.\d{3,9})\](?:\s*\[\s*[TC]\d+\])?:? ?(.*)", re.S)
# journalctl -k, /var/log/kern.log and `dmesg -T` have no printk time.
SYSLOG = re.compile(
    r"^(?:\w{3} [ \d]\d \d\d:\d\d:\d\d|\d{4}-\d\d-\d\dT[\d:.]+(?:Z|[+-]\d\d:?\d\d)) \S+ "
    r"kernel: (.*)",
    re.S,
)
HUMAN_TIME = re.compile(
    r"^(?:kern +:\w+ *: )?\[\w{3} \w{3} [ \d]\d \d\d:\d\d:\d\d \d{4}\] (.*)", re.S
)


@dataclass(frozen=True, slots=True)
class LogLine:
    """What does a kernel log line say?

    Attributes:
        number: line in the file, from 1.
        time: printk time in seconds, if it is printed.
        text: the message.
    """

    number: int
    time: float | None
    text: str


def clean(text: str) -> Iterator[tuple[int, str]]:
    """Which lines has a text, numbered from 1, without colours, carriage returns and NULs?"""
    # Not str.splitlines(): form feeds and the like are no line ends for `less` or an editor.
    for number, line in enumerate(text.split("\n"), 1):
        yield number, plain(line)


def plain(line: str) -> str:
    """What does a line say without what a terminal would obey?"""
    if line.isprintable():
        return line
    return CONTROL.sub("", ANSI.sub("", line))


def log_line(number: int, line: str) -> LogLine:
    """What does the kernel say in this line, whatever stands before it?"""
    stamped = STAMP.search(line)
    if stamped:
        return LogLine(number, float(stamped[1]), stamped[2])
    for prefix in (SYSLOG, HUMAN_TIME):
        match = prefix.match(line)
        if match:
            return LogLine(number, None, match[1])
    return LogLine(number, None, line)
