"""Which faults does an Intel IOMMU's driver print, in all spellings since 3.x?

    DMAR:[DMA Write] Request device [00:02.0] fault addr 9c000000           reason on the next line
    DMAR: [DMA Read] Request device [00:02.0] PASID ffffffff fault addr 9c000000 [fault reason 06] …
    DMAR: [DMA Read NO_PASID] Request device [00:02.0] fault addr 0x7cd80000 [fault reason 0x01] …
    DMAR: [DMA Read PASID 0x2] Request device [6a:01.0] fault addr 0x7fe0c9943000 …
    DMAR: [DMA Read NO_PASID] Request device [0x00:0x02.0] fault addr …
    DMAR: [INTR-REMAP] Request device [f0:1f.7] fault index 0 [fault reason 37] …
    INTR-REMAP: Request device [[f0:1f.7] fault index 0

Source: Linux 7.2 drivers/iommu/intel/dmar.c:dmar_fault_do_one, :qi_dump_fault.
"""

from __future__ import annotations

import re

from topbit.events import Event
from topbit.readers.kernel_log.message import (
    HEX,
    Family,
    Unreadable,
    attributes,
    number,
    pci_name,
    trouble,
)

REQUEST = re.compile(
    r"\[?(DMA Read|DMA Write|INTR-REMAP)"
    r"(?: (?:NO_PASID|PASID (?P<pasid>[0-9a-fx]{1,12})))?\]?:? ?"
    r"Request device \[{1,2}(?P<device>[0-9a-fx:]{2,20}\.[0-7])\]"
    r"(?: PASID (?P<after>[0-9a-fx]{1,12}))? "
    rf"fault (?:addr|index) {HEX}"
)
NO_IOVA = re.compile(r"Allocating \d{1,19}-page iova for (\S{1,80}) failed")
REASON = re.compile(r"\[fault reason (?:0x)?([0-9a-fA-F]{1,4})\] ?(.{0,120})")


def _fault(text: str) -> Event | None:
    match = REQUEST.search(text)
    if match is None:
        # The older driver prints the reason on a line of its own.
        if "Request device" not in text:
            return None
        raise Unreadable
    what, value = match[1], number(match.groups()[-1])
    reason = REASON.search(text)
    interrupt = what == "INTR-REMAP"
    pasid = match["pasid"] or match["after"]
    return trouble(
        "dmar_interrupt" if interrupt else "dmar",
        text,
        device=pci_name(match["device"]),
        address=None if interrupt else value,
        direction=None if interrupt else "r" if what == "DMA Read" else "w",
        attrs=attributes(reason=reason[1] if reason else None, pasid=pasid),
    )


def _error(text: str) -> Event:
    return trouble("dmar_error", text)


def _no_iova(text: str) -> Event | None:
    match = NO_IOVA.search(text)
    return trouble("map_failed", text, device=match[1]) if match else None


FAMILIES = (
    Family(
        (
            "VT-d detected Invalidation",
            "DMA PTE for vPFN",
            "DMAR: Invalid page request",
            "DMAR: Page request",
        ),
        _error,
    ),
    Family(("-page iova for ",), _no_iova),
    Family(("Request device [", "fault reason"), _fault),
)
