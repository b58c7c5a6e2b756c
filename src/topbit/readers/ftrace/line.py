r"""Which DMA and IOMMU events does a line of trace text tell?

What every tool's line has in common is the event's name and its body; what stands before differs:

    comm-pid [cpu] flags 4.100001: dma_map_phys: BODY         trace, trace_pipe, trace-cmd report
    comm-pid 0d..2. 4100001us : dma_map_phys: BODY            latency tracers, ftrace_dump_on_oops
    comm pid [cpu] 4.100001: dma:dma_map_phys: BODY           perf script
    4100.001 comm/pid dma:dma_map_phys(device: "…", …)        perf trace
    dma_map_phys: BODY                                        tp_printk, and cut-out text
    0,comm,pid,4.100001,d..2,dma_map_phys,"BODY"              KernelShark
    [11:02:04.1] (+0.1) host dma_map_phys: { cpu_id = 0 }, { BODY }     babeltrace

Sources: Linux 7.2 kernel/trace/trace_output.c:trace_print_context, :trace_print_lat_context;
trace-cmd 3.3, perf 6.12, KernelShark 2.3 and babeltrace 2.0 as they print.
"""

from __future__ import annotations

import re

from topbit.errors import InputError
from topbit.events import Event
from topbit.readers.ftrace.events import DIRECTIONS, HANDLERS
from topbit.recording.schema import DMA_MAPPING_ERROR

HINTS = ("dma_", "swiotlb_bounced", "dev_addr", "phys_addr", "IOMMU:")
"""A line without any of these tells no event."""
LOSSES = ("EVENTS", "entries-written")
"""A line without any of these tells no loss of events."""

# An event's name, and how its body begins.
EVENT = re.compile(
    r"(?<![\w-])(dma_[a-z_]{1,40}|swiotlb_bounced|map|unmap|io_page_fault)"
    r'(?:(:)[ \t]*|(\()|(,)")'
)
# perf puts the trace system before the name.
SYSTEM = re.compile(r"(?:[a-z]\w{1,20}:){1,2}$")
# The time right before it, with what a latency tracer puts behind it.
TIME = re.compile(r"(?:^|[ \[(,])(\d{1,15}(?:\.\d{1,9})?)(us)?(?: ?[^\w\s]{0,2})?:[ \t]*$")
MANGLED_TIME = re.compile(r"\d: {0,40}$")
TIME_COLUMN = re.compile(r",(\d{1,10}\.\d{1,9}),[^,]{0,20},$")
TIME_PERF_TRACE = re.compile(r"^ *(\d{1,12}\.\d{1,9})(?: \([^)]{0,20}\):)? ")
BEFORE = 200
"""Characters before an event's name that can hold its time."""
# The three events that make up nearly all of a trace, whole and undamaged, read in one step.
COMMON = re.compile(
    r"(\d{1,10}\.\d{1,9}): (?:dma_(un)?map_(?:phys|page):\s{1,24}(\S{1,80}) dir=([A-Z_]{1,20}) "
    r"dma_addr=([0-9a-f]{1,16}) size=(\d{1,19})(?: phys_addr=([0-9a-f]{1,16}))? attrs=([A-Z_|]*)"
    r"|swiotlb_bounced:\s{1,24}dev_name: (\S{1,80}) dma_mask=([0-9a-f]{1,16}) "
    r"dev_addr=([0-9a-f]{1,16}) size=(\d{1,19}) (FORCE|NORMAL))\s*$"
)
OTHERS = ("dma_fence_", "dma_buf_", "dma_resv_")
"""Events that begin like ours, of drivers/dma-buf."""
STAMP_DIGITS = 24
"""More characters than a time stamp before ": dma_" has."""
# A kernel message that the console put behind a trace line.
INTERLEAVED = re.compile(r"\s{1,8}(\[ {0,12}\d{1,10}\.\d{6}\].*)", re.S)
# What a damaged line of ours still shows.
LOOKS_LIKE_OURS = re.compile(
    r"\d\.\d{1,9}: (?:dma_(?!fence_|buf_|resv_)|swiotlb_)\w{0,40}(?::|$)"
    r"|\bdma_addrs?=|\bdev_addr=|\bphys_addrs?="
    r"|\bdma_mask=|IOMMU: ?iova="
)
IOMMU_BODY = re.compile(r"(?:\{ [^{}]{0,200} \}, \{ )?IOMMU:")
CONTEXT = re.compile(r"\{ [^{}]{0,200} \}, \{ (.*) \}\s*$", re.S)
LOST = re.compile(r"CPU:\d{1,6} \[(?:LOST )?(\d*) ?EVENTS(?: DROPPED)?\]")
WRITTEN = re.compile(r"entries-in-buffer/entries-written: (\d+)/(\d+)")
DIGITS = 18
"""Digits of a count of events at most."""


class Unparsable(InputError):
    """Which line looks like one of ours and cannot be read?"""

    def __init__(self) -> None:
        super().__init__("the line is cut off or mangled")


def may_be_trace(line: str) -> bool:
    """Is the line worth a closer look? A cheap test that most log lines fail."""
    if ": dma_" in line or "swiotlb_bounced" in line or ":dma_" in line:
        return True
    if "=" in line:
        return any(
            part in line for part in ("dma_addr", "dma_mask", "dev_addr", "phys_addr", "IOMMU:")
        )
    return "IOMMU:" in line or ("dma_" in line and ",dma_" in line)


def parse(line: str) -> tuple[list[Event], str, str] | None:
    """Which events does the line tell?

    Returns:
        None for a line that is not ours; else the events (one for each scatterlist entry), a key
        that is equal for equal lines of two copies of one trace, and a kernel message that
        follows on the same line.

    Raises:
        Unparsable: it looks like one of ours, but is cut off or mangled.
    """
    at = line.find(": dma_")
    at = line.find(": swiotlb_") if at < 0 else at
    start = max(at - STAMP_DIGITS, 0)
    common = COMMON.search(line, start)
    if common is not None:
        event = _common_event(common)
        if event is not None:
            return [event], line[common.start() :], ""
    match = _event_in(line)
    if match is None:
        if LOOKS_LIKE_OURS.search(line):
            raise Unparsable
        return None
    return _event(line, match)


def _event_in(line: str) -> re.Match[str] | None:
    """Where does the event's name stand? Names that only look like one are passed over."""
    for match in EVENT.finditer(line):
        name = match[1]
        if name in ("map", "unmap", "io_page_fault"):
            if IOMMU_BODY.match(line, match.end()):
                return match
        elif not name.startswith(OTHERS) and (name in HANDLERS or _time_before(line, match)[1]):
            return match
    return None


def _time_before(line: str, match: re.Match[str]) -> tuple[float | None, str]:
    """When did it happen (seconds), and how does the line write that? (None, "") if it does not."""
    head = SYSTEM.sub("", line[max(match.start() - BEFORE, 0) : match.start()])
    found = (TIME_COLUMN if match[4] else TIME).search(head)
    if found is None and match[3]:
        found = TIME_PERF_TRACE.search(head)
        return (float(found[1]) / 1000, found[1]) if found else (None, "")
    if found is None:
        return None, ""
    written = found[1]
    if found.re is TIME and found[2]:
        return int(float(written)) / 1e6, written
    return (float(written) if "." in written else None), written


def _event(line: str, match: re.Match[str]) -> tuple[list[Event], str, str]:
    name, body, rest = match[1], line[match.end() :], ""
    seconds, written = _time_before(line, match)
    if not written and MANGLED_TIME.search(line, max(match.start() - BEFORE, 0), match.start()):
        raise Unparsable
    if interleaved := INTERLEAVED.search(body):
        rest, body = interleaved[1], body[: interleaved.start()]
    handler = HANDLERS.get(name)
    if handler is None:
        raise Unparsable
    try:
        body = _plain_body(body.strip(), match)
        events = handler(name, body)
    except (KeyError, ValueError, IndexError) as error:
        # Somebody's own message may begin with a name of ours.
        if not written and not LOOKS_LIKE_OURS.search(line):
            return [], "", line
        raise Unparsable from error
    for event in events:
        event.time = seconds
    return events, f"{written}: {name}: {body}", rest


def _plain_body(body: str, match: re.Match[str]) -> str:
    """What is the body as ftrace prints it, of a tool that puts something around it?"""
    if match[4]:
        return body.rstrip().removesuffix('"')
    if match[3]:
        return _named_values(body.rstrip().removesuffix(")"), ": ")
    if body.startswith("{") and (context := CONTEXT.match(body)):
        body = context[1]
    return _named_values(body, " = ") if " = " in body else body


def _named_values(body: str, equals: str) -> str:
    """What is a body whose fields are told one by one, with decimal numbers, as -R prints it?"""
    words = []
    for part in body.split(", "):
        key, _, value = part.strip().partition(equals)
        key, value = key.removeprefix("_"), value.strip('" ')
        if key == "cpu_id":
            continue
        number = value.removeprefix("0x")
        if key.endswith(("_addr", "mask", "addr", "attrs")) and number:
            value = f"{int(number, 16 if value.startswith('0x') else 10):x}"
            value = f"0x{value}" if key == "attrs" and value != "0" else value
            value = "" if key == "attrs" and value == "0" else value
        words.append(f"{key}={value}")
    return " ".join(words)


def _common_event(match: re.Match[str]) -> Event | None:
    """Which event is a match of COMMON (None if its fields do not fit its name)?"""
    time, un, device, direction, address, size, phys, attrs, *bounced = match.groups()
    if device is None:
        device, mask, dev_addr, size, how = bounced
        return Event(
            "guest",
            "swiotlb_bounced",
            device=device,
            mask=int(mask, 16),
            phys=int(dev_addr, 16),
            size=int(size),
            status=how,
            time=float(time),
        )
    if direction not in DIRECTIONS or (phys is None) != (un is not None):
        return None
    value = int(address, 16)
    return Event(
        "guest",
        "dma_unmap" if un else "dma_map",
        device=device,
        address=value,
        phys=None if un else int(phys, 16),
        size=int(size),
        direction=direction,
        status="error" if value == DMA_MAPPING_ERROR and not un else None,
        attrs=attrs or None,
        time=float(time),
    )


def lost_events(line: str) -> int:
    """How many events does this line say were lost?

    Raises:
        Unparsable: more than there can be.
    """
    match = WRITTEN.search(line) or LOST.search(line)
    if match is None:
        return 0
    if any(len(number) > DIGITS for number in match.groups()):
        raise Unparsable
    if match.re is WRITTEN:
        return max(int(match[2]) - int(match[1]), 0)
    return int(match[1] or 1)
