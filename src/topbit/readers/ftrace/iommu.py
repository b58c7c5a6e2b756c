"""Which events does the body of an IOMMU's trace event tell?

Source: Linux 7.2 include/trace/events/iommu.h; the same of 4.18 for ranges without an end.
"""

from __future__ import annotations

import re

from topbit.events import Event

# Kernels before 4.19 leave the end of the range out; vendors' put a device's name before it.
IOVA_RANGE = re.compile(
    r"IOMMU: ?(?:(?:dev(?:ice)?[=: ] ?)?(\S{1,80}) )?"
    r"iova=0x([0-9a-f]{1,16})(?: - 0x[0-9a-f]{1,17})? "
    r"(?:paddr=0x([0-9a-f]{1,16}) size=(0x[0-9a-f]{1,16}|\d{1,19})"
    r"|size=(0x[0-9a-f]{1,16}|\d{1,19}) unmapped_size=(0x[0-9a-f]{1,16}|\d{1,19}))"
)
PAGE_FAULT = re.compile(
    r"IOMMU:(\S{1,80}) (\S{1,80}) iova=0x([0-9a-f]{1,16}) flags=0x([0-9a-f]{1,8})"
)


def mapping(name: str, body: str) -> list[Event]:
    """Which event tells the body of a `map` or `unmap`? Whose it is, is told later.

    Raises:
        ValueError: it is cut off or mangled.
    """
    match = IOVA_RANGE.fullmatch(body)
    if match is None or (name == "map") != (match[3] is not None):
        raise ValueError(body)
    start = int(match[2], 16)
    if name == "map":
        return [
            Event(
                "vmm",
                "iommu_map",
                device=match[1],
                address=start,
                pa=int(match[3], 16),
                size=int(match[4], 0),
                status="ok",
            )
        ]
    asked, done = int(match[5], 0), int(match[6], 0)
    status = "ok" if done >= asked else "error"
    return [Event("vmm", "iommu_unmap", device=match[1], address=start, size=asked, status=status)]


def page_fault(name: str, body: str) -> list[Event]:
    """Which event tells the body of an `io_page_fault`?

    Raises:
        ValueError: it is cut off or mangled.
    """
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
