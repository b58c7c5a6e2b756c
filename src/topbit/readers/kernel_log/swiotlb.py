"""Which messages tell that bouncing failed, or that an address does not fit its device?

Sources: Linux 7.2 kernel/dma/swiotlb.c:swiotlb_tbl_map_single, :swiotlb_map, :swiotlb_bounce,
:swiotlb_init_late; kernel/dma/direct.h:dma_direct_map_phys; kernel/dma/pool.c. Linux 4.14
lib/swiotlb.c:swiotlb_full and 5.4 kernel/dma/direct.c:report_addr for the older forms.
"""

from __future__ import annotations

import re

from topbit.events import Event
from topbit.readers.kernel_log.message import (
    DEC,
    HEX,
    Family,
    Unreadable,
    attributes,
    device_before,
    number,
    trouble,
)

# Kernels before 5.1 print the size alone, those up to 5.2 no "(slots)".
FULL = re.compile(
    rf"swiotlb buffer is full \(sz: (?P<size>{DEC}) bytes\)"
    rf"(?:,? total (?P<total>{DEC}) \(slots\), used (?P<used>{DEC}) \(slots\)"
    rf"|,? total (?P<total_>{DEC}), used (?P<used_>{DEC})(?! ?\()|(?!,| total))"
)
OUT = re.compile(rf"Out of SW-IOMMU space for {DEC} bytes(?: at device (\S{{1,80}}))?")
OVERFLOW = re.compile(
    rf"(?:(swiotlb|DMA) addr )?{HEX}\+{DEC} overflow "
    r"\(mask ([0-9a-f]{1,16}), bus limit ([0-9a-f]{1,16})\)"
)
OLD_OVERFLOW = re.compile(
    rf"overflow {HEX}\+{DEC} of (?:DMA|device) mask ([0-9a-f]{{1,16}})"
    r"(?: bus (?:limit|mask) ([0-9a-f]{1,16}))?"
)
FAILED = re.compile(r"fail|no low mem|cannot|can not|unable|only able|disabling", re.I)
ATOMIC = ("DMA pool exhausted for", "Failed to get suitable pool for")


def _full(text: str) -> Event:
    match = FULL.search(text)
    if match is None:
        raise Unreadable
    total, used = match["total"] or match["total_"], match["used"] or match["used_"]
    return Event(
        "guest",
        "swiotlb_full",
        device=device_before(text, "swiotlb buffer"),
        size=int(match["size"]),
        status="error",
        attrs=attributes(total=total, used=used),
        detail=text,
    )


def _out_of_space(text: str) -> Event:
    match = OUT.search(text)
    if match is None:
        raise Unreadable
    before = device_before(text, "DMA: Out of") or device_before(text, "Out of")
    device = match[2] or (None if before == "DMA" else before)
    return trouble("bounce_failed", text, device=device, size=int(match[1]))


def _overflow(text: str) -> Event:
    old = " of DMA mask" in text or " of device mask" in text
    match = (OLD_OVERFLOW if old else OVERFLOW).search(text)
    if match is None:
        raise Unreadable
    bounced = not old and match[1] == "swiotlb"
    address, size, mask, limit = match.groups()[0 if old else 1 :]
    return trouble(
        "bounce_overflow" if bounced else "dma_overflow",
        text,
        device=device_before(text, match[0]),
        address=number(address),
        size=int(size),
        mask=number(mask),
        attrs=attributes(bus_limit=None if limit is None else f"0x{int(limit, 16):x}"),
    )


def _pool(text: str) -> Event | None:
    if not FAILED.search(text):
        return None
    disabled = "crypt" in text or "disabling" in text
    return trouble("pool_disabled" if disabled else "pool_missing", text)


def _missing(text: str) -> Event:
    return trouble("pool_missing", text, device=device_before(text, "Can"))


def _sync(text: str) -> Event:
    return trouble("bounce_sync", text)


def _sizes(text: str) -> Event:
    return trouble("bounce_failed", text, device=device_before(text, "Invalid sizes"))


def _atomic(text: str) -> Event:
    mark = next((mark for mark in ATOMIC if mark in text), None)
    device = text.partition(mark)[2].split()[:1] if mark else []
    return trouble("atomic_pool", text, device=device[0] if device else None)


FAMILIES = (
    Family(("swiotlb buffer is full",), _full),
    Family(("Out of SW-IOMMU space",), _out_of_space),
    Family((" overflow (mask ", " of DMA mask", " of device mask"), _overflow),
    Family(("Can not allocate SWIOTLB buffer", "Cannot allocate SWIOTLB buffer"), _missing),
    Family(("Restricted DMA pool must be accessible",), _missing),
    Family(("software IO TLB:", "Failed to decrypt default memory pool"), _pool),
    Family(("Buffer overflow detected. Alloc", "Access before mapping start detected"), _sync),
    Family(("Invalid sizes (mapping",), _sizes),
    Family((*ATOMIC, "DMA coherent pool depleted", "DMA: failed to allocate"), _atomic),
)
