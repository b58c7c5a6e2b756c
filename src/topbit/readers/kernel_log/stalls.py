"""Which messages tell that a device does not answer, or that nothing comes of what it was asked?

They are what is left to see of DMA that reaches nothing: a hang, a reset, an I/O error. What they
say is no proof of it.

Sources: Linux 7.2 drivers/nvme/host/pci.c:nvme_timeout, :nvme_reset_work, host/core.c:
nvme_wait_ready; net/sched/sch_generic.c:dev_watchdog; drivers/net/ethernet/intel/*/netdev.c;
drivers/usb/host/xhci-ring.c; drivers/ata/libata-eh.c; drivers/mmc/host/sdhci.c; block/blk-core.c:
blk_print_req_error; kernel/hung_task.c; drivers/virtio/virtio_ring.c:BAD_RING.
"""

from __future__ import annotations

import re

from topbit.events import Event
from topbit.readers.kernel_log.message import Family, device_before, trouble

NVME = re.compile(
    r"QID \d{1,5} timeout|Device not ready; aborting|controller is down; will reset"
    r"|failure status: -|Identify Controller failed"
)
NVME_NAME = re.compile(r"\bnvme (nvme\d{1,4}|[0-9a-f]{4}:[0-9a-f:.]{7}):")
WATCHDOG = re.compile(r"NETDEV WATCHDOG: (?:CPU: \d{1,5}: )?(?:(\S{1,20}) \((\S{1,40})\): )?")
ATA = re.compile(r"\b(ata\d{1,4}(?:\.\d{2})?): .*(?:qc timeout|host bus error|frozen)")
BLOCK = re.compile(r"I/O error, dev (?!fd\d|sr\d|loop\d)(\S{1,20}),")
RING = re.compile(r":id \d{1,10} (?:out of range|is not a head)")
VIRTIO = re.compile(r"(virtio\d{1,4}):?$")
AER = re.compile(r"\[(?:14|20)\] (?:CmpltTO|UnsupReq)")


def _nvme(text: str) -> Event | None:
    if not NVME.search(text):
        return None
    named = NVME_NAME.search(text)
    given_up = "not ready" in text or "failure status" in text or "failed" in text
    kind = "device_given_up" if given_up else "timeout"
    return trouble(kind, text, device=named[1] if named else None)


def _net(text: str) -> Event | None:
    if match := WATCHDOG.search(text):
        return trouble("timeout", text, device=match[1] or device_before(text, "NETDEV"))
    return trouble("timeout", text, device=device_before(text, "Detected"))


def _usb(text: str) -> Event | None:
    mark = next(mark for mark in USB if mark in text)
    return trouble("timeout", text, device=device_before(text, mark))


def _ata(text: str) -> Event | None:
    match = ATA.search(text)
    return trouble("timeout", text, device=match[1]) if match else None


def _block(text: str) -> Event | None:
    match = BLOCK.search(text)
    return trouble("io_failed", text, device=match[1]) if match else None


def _transfer(text: str) -> Event | None:
    mark = "ADMA error" if "ADMA error" in text else "["
    if mark == "[" and not AER.search(text):
        return None
    return trouble("io_failed", text, device=device_before(text, mark))


def _hung(text: str) -> Event | None:
    return trouble("hung", text) if "blocked for more than" in text else None


def _ring(text: str) -> Event | None:
    match = RING.search(text)
    if match is None:
        return None
    words = text[: match.start()].split()
    names = (match[1] for word in words if (match := VIRTIO.match(word)))
    return trouble("ring", text, device=next(names, None))


USB = ("Host System Error", "host controller not responding", "host not responding to")
FAMILIES = (
    Family((" timeout, ", "Device not ready; ", "will reset: CSTS", "after probe failure"), _nvme),
    Family(("Identify Controller failed",), _nvme),
    Family(("NETDEV WATCHDOG", "Detected Tx Unit Hang", "Detected Hardware Unit Hang"), _net),
    Family(USB, _usb),
    Family(("qc timeout", "host bus error", " frozen"), _ata),
    Family(("I/O error, dev ",), _block),
    Family(("ADMA error", "] CmpltTO", "] UnsupReq"), _transfer),
    Family(("INFO: task ",), _hung),
    Family((" out of range", " is not a head"), _ring),
)
