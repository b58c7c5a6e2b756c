"""Which DMA and IOMMU events does a line of ftrace text tell?

Read are the lines of /sys/kernel/tracing/trace and trace_pipe and of `trace-cmd report` (with -R
and -t too): `comm-pid [cpu] flags time: event: body`. Only the part from the time on matters, so
anything may stand before it.

Sources: Linux 7.2 include/trace/events/{dma,swiotlb,iommu}.h; the same of 6.12 for the older
names dma_map_page, dma_map_resource and their unmaps.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from topbit.events import Event
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

DIRECTIONS = {
    "BIDIRECTIONAL": "BIDIRECTIONAL",
    "TO_DEVICE": "TO_DEVICE",
    "FROM_DEVICE": "FROM_DEVICE",
    "NONE": "NONE",
    # `trace-cmd report -R` prints enum dma_data_direction as it stands.
    "0": "BIDIRECTIONAL",
    "1": "TO_DEVICE",
    "2": "FROM_DEVICE",
    "3": "NONE",
}
# DMA_ATTR_* bits as -R prints them (Linux 7.3 include/linux/dma-mapping.h).
ATTRIBUTES = {
    1: "WEAK_ORDERING",
    2: "WRITE_COMBINE",
    4: "NO_KERNEL_MAPPING",
    5: "SKIP_CPU_SYNC",
    6: "FORCE_CONTIGUOUS",
    7: "ALLOC_SINGLE_PAGES",
    8: "NO_WARN",
    9: "PRIVILEGED",
    10: "MMIO",
    12: "REQUIRE_COHERENT",
    13: "CC_SHARED",
    14: "ALLOC_CC_SHARED",
}
NULL_POINTERS = {"(null)", "0", "0000000000000000", "00000000"}

Fields = dict[str, str]


class Unparsable(Exception):
    """Which line looks like one of ours and cannot be read?"""


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


def _fields(body: str) -> Fields:
    """Which `key=value` fields has a body? The device stands before them (-R: in `device`)."""
    fields: Fields = {}
    words = body.split()
    if words and "=" not in words[0]:
        fields["device"] = words.pop(0)
    for word in words:
        key, equals, value = word.partition("=")
        if not equals:
            if word == "[TRUNCATED]":
                continue
            raise ValueError(word)
        if key in fields:
            raise ValueError(word)
        fields[key] = value
    # What the text calls dma_addr of an unmap is the field `addr`.
    if "addr" in fields:
        fields.setdefault("dma_addr", fields.pop("addr"))
    return fields


def _number(text: str) -> int:
    """What is a number as %llx prints it: bare hexadecimal digits, 16 at most?"""
    if not 0 < len(text) <= 16:
        raise ValueError(text)
    return int(text, 16)


def _array(text: str) -> list[int]:
    if not (text.startswith("{") and text.endswith("}")):
        raise ValueError(text)
    return [int(entry, 16) for entry in text[1:-1].split(",") if entry]


def _decimal(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 20):
        raise ValueError(text)
    return int(text)


def _attrs(fields: Fields) -> str:
    value = fields["attrs"]
    if re.fullmatch(r"[\w|]*", value) is None:
        raise ValueError(value)
    if value.startswith("0x"):
        bits = int(value, 16)
        return "|".join(name for bit, name in ATTRIBUTES.items() if bits >> bit & 1)
    return value


def _single(kind: str, *, phys: bool = False, attrs: bool = True) -> Callable[..., list[Event]]:
    def handle(name: str, body: str) -> list[Event]:
        f = _fields(body)
        return [
            Event(
                "guest",
                kind,
                device=f["device"],
                direction=DIRECTIONS[f["dir"]],
                address=_number(f["dma_addr"]),
                size=_decimal(f["size"]),
                phys=_number(f["phys_addr"]) if phys else None,
                attrs=(_attrs(f) if attrs else "") or None,
                detail=name.rsplit("single_", 1)[-1] if kind == "dma_sync" else None,
                status="error"
                if kind == "dma_map" and f["dma_addr"] == f"{DMA_MAPPING_ERROR:x}"
                else None,
            )
        ]

    return handle


def _alloc(kind: str) -> Callable[..., list[Event]]:
    def handle(name: str, body: str) -> list[Event]:
        f = _fields(body)
        address = _number(f["dma_addr"])
        if "virt_addr" not in f and "phys_addrs" not in f:
            raise KeyError("virt_addr")
        attrs = None if name == "dma_free_sgt" else _attrs(f) or None
        failed = name.endswith("_err") or f.get("virt_addr") in NULL_POINTERS
        failed = failed or address == DMA_MAPPING_ERROR
        return [
            Event(
                "guest",
                kind,
                device=f["device"],
                direction=DIRECTIONS[f["dir"]],
                address=address,
                size=_decimal(f["size"]),
                attrs=attrs,
                status="error" if failed and kind == "dma_alloc" else None,
            )
        ]

    return handle


def _map_sg(name: str, body: str) -> list[Event]:
    f = _fields(body)
    direction, attrs = DIRECTIONS[f["dir"]], _attrs(f) or None
    if name == "dma_map_sg_err":
        # What the event calls dma_addrs are the entries' physical addresses.
        return [
            Event(
                "guest",
                "dma_map",
                device=f["device"],
                direction=direction,
                address=DMA_MAPPING_ERROR,
                phys=phys,
                attrs=attrs,
                status="error",
                detail=f"err={f['err']}",
            )
            for phys in _array(f["dma_addrs"])
        ]
    addresses, sizes, buffers = (_array(f[key]) for key in ("dma_addrs", "sizes", "phys_addrs"))
    if len(addresses) != len(sizes):
        raise ValueError(body)
    # Entries that were merged have no buffer of their own.
    paired = buffers if len(buffers) == len(addresses) else [None] * len(addresses)
    return [
        Event(
            "guest",
            "dma_map",
            device=f["device"],
            direction=direction,
            address=address,
            size=size,
            phys=phys,
            attrs=attrs,
        )
        for address, size, phys in zip(addresses, sizes, paired, strict=True)
    ]


def _unmap_sg(name: str, body: str) -> list[Event]:
    f = _fields(body)
    attrs = _attrs(f) or None
    return [
        Event(
            "guest",
            "dma_unmap_sg",
            device=f["device"],
            direction=DIRECTIONS[f["dir"]],
            phys=phys,
            attrs=attrs,
        )
        for phys in _array(f["phys_addrs"])
    ]


def _sync_sg(name: str, body: str) -> list[Event]:
    f = _fields(body)
    addresses, sizes = _array(f["dma_addrs"]), _array(f["sizes"])
    if len(addresses) != len(sizes):
        raise ValueError(body)
    return [
        Event(
            "guest",
            "dma_sync",
            device=f["device"],
            direction=DIRECTIONS[f["dir"]],
            address=address,
            size=size,
            detail=name.rsplit("sg_", 1)[-1],
        )
        for address, size in zip(addresses, sizes, strict=True)
    ]


def _bounced(name: str, body: str) -> list[Event]:
    head = body.removeprefix("dev_name: ")
    for how in ("FORCE", "NORMAL"):
        if head.endswith(f" {how}"):
            f = _fields(head.removesuffix(how))
            break
    else:
        f = _fields(head)
        how = {"0": "NORMAL", "1": "FORCE"}[f["force"]]
    return [
        Event(
            "guest",
            "swiotlb_bounced",
            device=f.get("device") or f["dev_name"],
            mask=_number(f["dma_mask"]),
            phys=_number(f["dev_addr"]),
            size=_decimal(f["size"]),
            status=how,
        )
    ]


IOVA_RANGE = re.compile(
    r"IOMMU: ?iova=0x([0-9a-f]{1,16}) - 0x([0-9a-f]{1,16}) "
    r"(?:paddr=0x([0-9a-f]{1,16}) size=(\d+)|size=(\d+) unmapped_size=(\d+))"
)
PAGE_FAULT = re.compile(r"IOMMU:(\S+) (\S+) iova=0x([0-9a-f]{1,16}) flags=0x([0-9a-f]+)")


def _iommu(name: str, body: str) -> list[Event]:
    match = IOVA_RANGE.fullmatch(body)
    if match is None or (name == "map") != (match[3] is not None):
        raise ValueError(body)
    start = int(match[1], 16)
    if name == "map":
        return [
            Event(
                "vmm",
                "iommu_map",
                address=start,
                pa=int(match[3], 16),
                size=int(match[4]),
                status="ok",
            )
        ]
    asked, done = int(match[5]), int(match[6])
    status = "ok" if done >= asked else "error"
    return [Event("vmm", "iommu_unmap", address=start, size=asked, status=status)]


def _page_fault(name: str, body: str) -> list[Event]:
    match = PAGE_FAULT.fullmatch(body)
    if match is None:
        raise ValueError(body)
    return [
        Event(
            "smmu",
            "smmu_event",
            device=match[2],
            address=int(match[3], 16),
            # IOMMU_FAULT_WRITE of Linux include/linux/iommu.h; the event tells no more.
            direction="w" if int(match[4], 16) & 1 else "r",
            status="F_TRANSLATION",
            detail=f"io_page_fault of {match[1]}",
        )
    ]


_MAP = _single("dma_map", phys=True)
_UNMAP = _single("dma_unmap")
_SYNC = _single("dma_sync", attrs=False)
HANDLERS: dict[str, Callable[..., list[Event]]] = {
    **dict.fromkeys(("dma_map_phys", "dma_map_page", "dma_map_resource"), _MAP),
    **dict.fromkeys(("dma_unmap_phys", "dma_unmap_page", "dma_unmap_resource"), _UNMAP),
    **dict.fromkeys(("dma_map_sg", "dma_map_sg_err"), _map_sg),
    "dma_unmap_sg": _unmap_sg,
    **dict.fromkeys(
        ("dma_alloc", "dma_alloc_pages", "dma_alloc_sgt", "dma_alloc_sgt_err"),
        _alloc("dma_alloc"),
    ),
    **dict.fromkeys(("dma_free", "dma_free_pages", "dma_free_sgt"), _alloc("dma_free")),
    **dict.fromkeys(("dma_sync_single_for_cpu", "dma_sync_single_for_device"), _SYNC),
    **dict.fromkeys(("dma_sync_sg_for_cpu", "dma_sync_sg_for_device"), _sync_sg),
    "swiotlb_bounced": _bounced,
    "map": _iommu,
    "unmap": _iommu,
    "io_page_fault": _page_fault,
}


def lost_events(line: str) -> int:
    """How many events does this line say were lost?"""
    written = WRITTEN.search(line)
    if written:
        return max(int(written[2]) - int(written[1]), 0)
    lost = LOST.search(line)
    if lost:
        return int(lost[1] or 1)
    return 0
