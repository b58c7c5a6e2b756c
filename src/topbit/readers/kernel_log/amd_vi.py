"""Which events does an AMD IOMMU's driver print?

Since 5.2 a fault of a known device is printed by dev_err() without the device's number ("vfio-pci
0000:11:00.0: AMD-Vi: Event logged [IO_PAGE_FAULT domain=…"), any other with it; kernels before
3.x break the line after "[".

Source: Linux 7.2 drivers/iommu/amd/iommu.c:iommu_print_event, :amd_iommu_report_page_fault,
:amd_iommu_report_rmp_fault, :amd_iommu_report_rmp_hw_error, :amd_iommu_restart_log; Xen 4.20
drivers/passthrough/amd/iommu_init.c:parse_event_log_entry.
"""

from __future__ import annotations

import re

from topbit.events import Event
from topbit.readers.kernel_log.message import (
    HEX,
    Family,
    Unreadable,
    attributes,
    device_before,
    number,
    pci_name,
    trouble,
)

EVENT = re.compile(
    r"\b(IO_PAGE_FAULT|RMP_PAGE_FAULT|RMP_HW_ERROR|[A-Z]{2,12}(?:_[A-Z]{2,12}){1,3}|UNKNOWN)[ \t]"
)
FIELD = re.compile(rf"\b([a-z_]{{2,10}})={HEX}")
DEVICE = re.compile(r"device=((?:[0-9a-f]{4}:)?[0-9a-f]{2}:[0-9a-f]{2}\.[0-7])")
# Xen's: with the device's name since 4.14, with its number before.
XEN = re.compile(
    r"IO_PAGE_FAULT: (?P<sbdf>(?:[0-9a-f]{4}:)?[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]) "
    r"d(?P<domain>\d{1,5}) addr (?P<address>[0-9a-f]{1,16}) flags (?P<flags>0x[0-9a-f]{1,4})"
)
OLD_XEN = re.compile(
    r"IO_PAGE_FAULT: domain ?= ?(?P<domain>\d{1,5}), device id ?= ?(?P<number>0x[0-9a-f]{1,4}), "
    r"fault address ?= ?(?P<address>0x[0-9a-f]{1,16}), flags ?= ?(?P<flags>0x[0-9a-f]{1,4})"
)
WRITE = 0x020
"""EVENT_FLAG_RW: the access was a write (drivers/iommu/amd/amd_iommu_types.h)."""
KINDS = {"IO_PAGE_FAULT": "amd_vi", "RMP_PAGE_FAULT": "amd_vi_rmp", "RMP_HW_ERROR": "amd_vi_rmp"}


def _logged(text: str) -> Event | None:
    if text.rstrip().endswith("["):
        return None  # the event stands on the next line
    match = EVENT.search(text)
    if match is None:
        if "domain properly" in text or "event[0]" in text:
            return trouble("amd_vi_event", text, device=device_before(text, "AMD-Vi:"))
        raise Unreadable
    fields = dict(FIELD.findall(text))
    named = DEVICE.search(text)
    device = pci_name(named[1]) if named else device_before(text, "AMD-Vi:")
    kind = KINDS.get(match[1], "amd_vi_event")
    address = number(fields.get("address") or fields.get("gpa"))
    if kind == "amd_vi" and (address is None or "flags" not in fields):
        raise Unreadable
    flags = number(fields.get("flags"))
    refused = kind != "amd_vi_event" and flags is not None
    return trouble(
        kind,
        text,
        device=device,
        address=address,
        phys=number(fields.get("gpa")),
        pa=number(fields.get("spa")),
        direction=("w" if (flags or 0) & WRITE else "r") if refused else None,
        attrs=attributes(
            event=match[1],
            **{
                key: f"0x{fields[key]}"
                for key in ("domain", "vmg_tag", "flags_rmp")
                if key in fields
            },
        ),
    )


def _xen(text: str) -> Event | None:
    match = XEN.search(text) or OLD_XEN.search(text)
    if match is None:
        return None
    fields = match.groupdict()
    sbdf, number_ = fields.get("sbdf"), fields.get("number")
    rid = int(number_, 16) if number_ else 0
    device = (
        pci_name(sbdf) if sbdf else f"0000:{rid >> 8 & 0xFF:02x}:{rid >> 3 & 0x1F:02x}.{rid & 7}"
    )
    return trouble(
        "amd_vi",
        text,
        device=device,
        address=int(fields["address"], 16),
        direction="w" if int(fields["flags"], 16) & WRITE else "r",
        attrs=attributes(event="IO_PAGE_FAULT", domain=fields["domain"]),
    )


def _own(text: str) -> Event:
    return trouble("amd_vi_event", text)


FAMILIES = (
    Family(("Event logged [", "IO_PAGE_FAULT device=", "RMP_PAGE_FAULT device="), _logged),
    Family(("AMD-Vi: IO_PAGE_FAULT:",), _xen),
    Family(
        (
            "AMD-Vi: Completion-Wait loop timed out",
            "AMD-Vi: Command buffer timeout",
            "Event log restarting",
            "PPR log restarting",
        ),
        _own,
    ),
)
