"""What did the kernel say in a line of a log, whatever collected, forwarded or quoted it?

A message reaches people through dmesg, journalctl, syslog daemons, consoles with time stamps, CI
systems, container runtimes and mail, and each puts something around it. The containers that hold
the message as a value (JSON, logfmt, HTML) are `containers`; here is what stands before it. Where
something unknown stands before the message, that stays: readers find their words anywhere.

Sources: Linux 7.2 kernel/printk/printk.c:print_prefix, :info_print_ext_header; util-linux 2.41
dmesg(1) --time-format; systemd 257 journalctl(1) -o; RFC 3164, RFC 5424; logcat(1) -v.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from topbit.readers.containers import opened

# "[    1.234567]", and "[    1.234567 <    0.000012>]" of dmesg -d.
STAMP = re.compile(r"\[ {0,12}(\d{1,10}\.\d{1,9})(?: <[ \d.]{1,24}>)?\] ?:?")
# "[    5]": kernels without fractions; only where a line begins.
SECONDS = re.compile(r"\[ {1,11}(\d{1,10})\] |\[(\d{5,10})\] ")
_MONTH = r"(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)"
_DAY = r"(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun)"
_CLOCK = r"\d\d:\d\d(?::\d\d(?:[.,]\d{1,9})?)?"
_DATE = rf"\d{{4}}-\d\d-\d\d[T ]{_CLOCK}"
_ZONE = r"(?: ?(?:Z|[+-]\d\d:?\d\d))?"
_HOST = r"(?:[\w.:-]{1,255} )?"
_IDENT = r"(?:kernel|KERNEL)(?:\[\d{1,9}\])?: ?"
# What stands before a message, one alternative for each thing; taken off again and again.
BEFORE = re.compile(
    # RFC 5424, and the priority of RFC 3164, dmesg -r and /proc/kmsg
    r"<\d{1,3}>1 \S{1,64} \S{1,255} \S{1,48} \S{1,128} \S{1,32} (?:-|\[[^\]]{0,500}\]) ?"
    r"|<\d{1,4}>"
    # syslog daemons and journalctl: a date, the host, the kernel
    rf"|{_MONTH} [ \d]\d {_CLOCK} {_HOST}{_IDENT}"
    rf"|(?:{_DAY} )?{_DATE}{_ZONE} (?:[A-Z]{{3,5}} )?{_HOST}{_IDENT}"
    rf"|\d{{10}}\.\d{{1,9}} {_HOST}{_IDENT}"
    rf"|[\w.-]{{1,255}} {_IDENT}|{_IDENT}"
    # dmesg -T, -H, -d, --time-format iso
    rf"|\[{_DAY} {_MONTH} [ \d]\d {_CLOCK} \d{{4}}(?: <[ \d.]{{1,24}}>)?\] ?"
    rf"|\[{_MONTH} ?[ \d]\d {_CLOCK}\] ?"
    r"|\[ {0,12}[+<] {0,12}\d{1,10}\.\d{1,9}>?\] ?"
    # dmesg -x: facility and level
    r"|(?:kern|user|daemon|syslog) {0,4}:\w{3,7} {0,4}: ?"
    # consoles, CI systems, container runtimes: a date, a tag or a column
    rf"|\[?{_DATE}{_ZONE}\]?:? "
    rf"|\[?{_CLOCK}\]?:? "
    r"|\[[a-z][\w/. :-]{0,59}\] ?"
    r"|[\w.-]{1,63} {1,40}\| ?"
    # logcat: brief, threadtime
    r"|[VDIWEF]/\S{1,40} {0,8}\( {0,8}\d{1,9}\): ?"
    rf"|\d\d-\d\d {_CLOCK} {{1,8}}\d{{1,9}} {{1,8}}\d{{1,9}} [VDIWEF] \S{{1,40}} {{0,8}}: ?"
    # a hypervisor's console
    r"|\((?:XEN|d\d{1,5}(?:v\d{1,4})?)\) ?"
)
# /dev/kmsg and netconsole's extended form: level,sequence,microseconds,flags;
KMSG = re.compile(r"(?:\d{1,3}\.\d[\w.+-]{0,60},)?\d{1,6},\d{1,20},(\d{1,18}),[-c+][^;]{0,99};")
# What stands between time stamp and message: the caller (CONFIG_PRINTK_CALLER), vendors' CPU and
# task, the host and "kernel:" of journalctl -o short-monotonic.
AFTER = re.compile(
    r"(?: ?\[ {0,8}[TC] ?\d{1,7}\]"
    r"| {0,2}\(\d{1,4}\)\[\d{1,7}:[^\]]{0,40}\]"
    r"|\[pid:[^\]]{0,80}\]"
    r"| {0,2}\[\d{1,4}: {0,20}[^\]: ]{1,40}: {0,12}\d{1,7}\]"
    rf"|(?:[\w.-]{{1,255}} )?{_IDENT}"
    r")+ ?:? ?"
)
LOOSE = 5
"""How many things before a message are taken off at most."""


@dataclass(frozen=True, slots=True)
class LogLine:
    """What does a kernel log line say?

    Attributes:
        number: line in the file, from 1.
        time: printk time in seconds, if it is told.
        text: the message.
        prefix: what stood before the message.
        exact: the time tells microseconds, so that it is nearly unique in a log.
    """

    number: int
    time: float | None
    text: str
    prefix: str = ""
    exact: bool = False


def log_line(number: int, line: str) -> LogLine:
    """What does the kernel say in this line, whatever stands before and around it?"""
    line, monotonic = opened(line)
    if match := STAMP.search(line):
        start = match.end()
        if after := AFTER.match(line, start):
            start = after.end()
        elif line[start : start + 1] == " ":
            start += 1
        stamp = match[1]
        exact = len(stamp.partition(".")[2]) >= 6
        return LogLine(number, float(stamp), line[start:], line[: match.start()], exact)
    start, time = 0, monotonic
    for _ in range(LOOSE):
        if kmsg := KMSG.match(line, start):
            return LogLine(number, int(kmsg[1]) / 1e6, line[kmsg.end() :], "", True)
        if seconds := SECONDS.match(line, start):
            time = float(seconds[1] or seconds[2])
            start = seconds.end()
            if after := AFTER.match(line, start):
                start = after.end()
            return LogLine(number, time, line[start:], line[: seconds.start()])
        before = BEFORE.match(line, start)
        if before is None:
            break
        start = before.end()
    if after := AFTER.match(line, start):
        start = after.end()
    return LogLine(number, time, line[start:], line[:start], monotonic is not None)
