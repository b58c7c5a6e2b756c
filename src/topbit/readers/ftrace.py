"""Which DMA and IOMMU events does a line of ftrace text tell?

Read are the lines of /sys/kernel/tracing/trace and trace_pipe and of `trace-cmd report` (with -R
and -t too): `comm-pid [cpu] flags time: event: body`. Only the part from the time on matters, so
anything may stand before it.

Source: Linux 7.2 kernel/trace/trace_output.c:trace_print_context.
"""

from __future__ import annotations

import re

from topbit.errors import InputError
from topbit.events import Event
from topbit.readers.ftrace_events import DIRECTIONS, HANDLERS
from topbit.recording.schema import DMA_MAPPING_ERROR

TRACE_EVENT = re.compile(
    r"(\d+(?:\.\d+)?): (dma_\w+|swiotlb_bounced|map|unmap|io_page_fault):\s+(.*)", re.S
)
# The three events that make up nearly all of a trace, whole and undamaged, read in one step.
COMMON = re.compile(
    r"(\d+\.\d+): (?:dma_(un)?map_(?:phys|page):\s+(\S+) dir=([A-Z_]+) "
    r"dma_addr=([0-9a-f]{1,16}) size=(\d{1,19})(?: phys_addr=([0-9a-f]{1,16}))? attrs=([A-Z_|]*)"
    r"|swiotlb_bounced:\s+dev_name: (\S+) dma_mask=([0-9a-f]{1,16}) dev_addr=([0-9a-f]{1,16}) "
    r"size=(\d{1,19}) (FORCE|NORMAL))\s*$"
)
OTHERS = "dma_fence_"
"""Events that begin like ours, of drivers/dma-buf/dma-fence.c."""
STAMP_DIGITS = 24
"""More characters than a time stamp before ": dma_" has."""
# A kernel message that the console put behind a trace line.
INTERLEAVED = re.compile(r"\s+(\[\s*\d+\.\d{6}\].*)", re.S)
# What a damaged line of ours still shows.
LOOKS_LIKE_OURS = re.compile(
    r"\d\.\d+: (?:dma_|swiotlb_)\w*(?::|$)|\bdma_addrs?=|\bdev_addr=|\bphys_addrs?=|\bdma_mask="
    r"|IOMMU: ?iova="
)
LOST = re.compile(r"CPU:\d+ \[(?:LOST )?(\d*) ?EVENTS(?: DROPPED)?\]")
WRITTEN = re.compile(r"entries-in-buffer/entries-written: (\d+)/(\d+)")


class Unparsable(InputError):
    """Which line looks like one of ours and cannot be read?"""

    def __init__(self) -> None:
        super().__init__("the line is cut off or mangled")


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
    match = TRACE_EVENT.search(line, start)
    if match is None:
        if LOOKS_LIKE_OURS.search(line):
            raise Unparsable
        return None
    time, name, body = match.groups()
    rest = ""
    interleaved = INTERLEAVED.search(body)
    if interleaved:
        rest, body = interleaved[1], body[: interleaved.start()]
    body = body.strip()
    if name in ("map", "unmap", "io_page_fault") and not body.startswith("IOMMU:"):
        return None
    handler = HANDLERS.get(name)
    if handler is None:
        if name.startswith(OTHERS):
            return None
        raise Unparsable
    try:
        events = handler(name, body)
    except (KeyError, ValueError, IndexError) as error:
        raise Unparsable from error
    seconds = float(time) if "." in time else None
    for event in events:
        event.time = seconds
    return events, f"{time}: {name}: {body}", rest


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
    """How many events does this line say were lost?"""
    written = WRITTEN.search(line)
    if written:
        return max(int(written[2]) - int(written[1]), 0)
    lost = LOST.search(line)
    if lost:
        return int(lost[1] or 1)
    return 0
