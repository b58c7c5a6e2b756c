"""Which messages tell that a driver's use of the DMA API failed, or broke its rules?

Sources: Linux 7.2 kernel/dma/debug.c:check_unmap, :check_sync, :check_sg_segment,
:add_dma_entry (CONFIG_DMA_API_DEBUG); drivers' own messages as public reports have them;
drivers/virtio/virtio.c:virtio_features_ok.
"""

from __future__ import annotations

import re

from topbit.events import Event
from topbit.readers.kernel_log.message import (
    DEC,
    HEX,
    Family,
    attributes,
    device_before,
    number,
    trouble,
)

KINDS = {
    "has not allocated": "not-allocated",
    "with different size": "different-size",
    "wrong function": "wrong-function",
    "different CPU address": "different-cpu-address",
    "different entry count": "different-entry-count",
    "different direction": "different-direction",
    "failed to check map error": "unchecked-error",
    "maps memory from stack": "from-stack",
    "kernel text or rodata": "from-kernel-text",
    "outside allocated range": "outside-range",
    "syncs device read-only": "read-only",
    "syncs device write-only": "write-only",
    "longer than device claims": "segment-too-long",
    "across boundary": "across-boundary",
    "invalid area": "invalid-area",
    "vmalloc area": "vmalloc-area",
    "overlapping mappings": "overlapping",
    "pending DMA allocations": "never-freed",
    "invalid DMA memory address": "invalid-address",
}
"""What a message of dma-debug says, and the short name of it."""
DRIVER = re.compile(r"DMA-API: (?:\S{1,40} )?([\w.:-]{1,80}): ")
ADDRESS = re.compile(rf"\[device address={HEX}\]")
SIZE = re.compile(rf"\[(?:map |allocation )?size=?{DEC} bytes\]|\[len={DEC}\]")
UNMAP_SIZE = re.compile(rf"\[unmap size={DEC} bytes\]")
FAILS = re.compile(
    r"fail|error|unable|cannot|can't|could ?n.t|not (?:available|supported|possible)|no |reject",
    re.I,
)
SUCCEEDS = re.compile(r"error handling|no (?:dma )?errors?\b|without error|fallback not", re.I)
# A map in the sense of the DMA API, not of a table of channels.
MAPS = re.compile(r"\b(?:dma[ _-]?(?:re)?map\w*|map\w*(?: \w+)? (?:for |to )?dma)\b", re.I)
ALLOCATES = re.compile(r"dma_alloc\w*|\bDMA (?:memory|buffers?|descriptors?|ring|pool)\b", re.I)
TRANSFERS = re.compile(r"\bDMA (?:bus |transfer |read |write )?(?:error|fault|abort|timeout)", re.I)
MASKS = re.compile(r"DMA mask|dma_set_\w*mask|(?:suitable|usable) DMA|-bit DMA", re.I)


def _debug(text: str) -> Event | None:
    kind = next((name for words, name in KINDS.items() if words in text), None)
    if kind is None and "device driver" not in text:
        return None  # "preallocated entries", "Mapped at:"
    named = DRIVER.search(text)
    unmap = UNMAP_SIZE.search(text)
    address, size = ADDRESS.search(text), SIZE.search(text)
    return trouble(
        "dma_debug",
        text,
        device=named[1] if named else device_before(text, "DMA-API:"),
        address=number(address[1]) if address else None,
        size=int(size[1] or size[2]) if size else None,
        attrs=attributes(kind=kind, unmap_size=unmap[1] if unmap else None),
    )


def _driver(text: str) -> Event | None:
    if not FAILS.search(text) or SUCCEEDS.search(text):
        return None
    device = _who(text)
    if device is None:
        return None  # somebody writes about it
    if MASKS.search(text):
        return trouble("mask_refused", text, device=device)
    if MAPS.search(text) or ALLOCATES.search(text):
        return trouble("map_failed", text, device=device)
    if TRANSFERS.search(text):
        return trouble("io_failed", text, device=device)
    return None


def _who(text: str) -> str | None:
    return device_before(text, text.partition(": ")[2]) if ": " in text else None


def _virtio(text: str) -> Event | None:
    mark = "device must provide VIRTIO_F_"
    return trouble("virtio_refused", text, device=device_before(text, mark))


FAMILIES = (
    Family(("DMA-API:",), _debug),
    Family(("device must provide VIRTIO_F_",), _virtio),
    Family(
        (
            "DMA m",
            "dma_m",
            "dma map",
            "map dma",
            "dma_alloc",
            "dma_set_",
            "-bit DMA",
            "for DMA",
            " DMA ",
        ),
        _driver,
    ),
)
