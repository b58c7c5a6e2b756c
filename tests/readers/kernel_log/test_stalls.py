"""Messages of devices that do not answer, and what is none."""

from __future__ import annotations

import pytest

from log_lines import events_of, one

MESSAGES: dict[str, tuple[str, str | None]] = {
    "nvme nvme0: I/O tag 4 (1004) opcode 0x6 (Admin Cmd) QID 0 timeout, disable controller": (
        "timeout",
        "nvme0",
    ),
    "nvme nvme1: I/O 4 QID 3 timeout, completion polled": ("timeout", "nvme1"),
    "nvme nvme0: controller is down; will reset: CSTS=0xffffffff, PCI_STATUS=0x10": (
        "timeout",
        "nvme0",
    ),
    "nvme nvme0: Device not ready; aborting initialisation, CSTS=0x0": ("device_given_up", "nvme0"),
    "nvme nvme0: Identify Controller failed (-4)": ("device_given_up", "nvme0"),
    "nvme 0000:01:00.0: Removing after probe failure status: -19": ("device_given_up", None),
    "NETDEV WATCHDOG: eth0 (virtio_net): transmit queue 0 timed out": ("timeout", "eth0"),
    "virtio_net virtio0 eth0: NETDEV WATCHDOG: CPU: 1: transmit queue 0 timed out 5120 ms": (
        "timeout",
        "eth0",
    ),
    "ixgbe 0000:01:00.0: Detected Tx Unit Hang": ("timeout", "0000:01:00.0"),
    "xhci_hcd 0000:00:14.0: xHCI host controller not responding, assume dead": ("timeout", None),
    "xhci_hcd 0000:00:14.0: WARNING: Host System Error": ("timeout", "WARNING"),
    "ata1.00: qc timeout after 5000 msecs (cmd 0xec)": ("timeout", "ata1.00"),
    "I/O error, dev vda, sector 0 op 0x0:(READ) flags 0x0 phys_seg 1 prio class 0": (
        "io_failed",
        "vda",
    ),
    "mmc0: sdhci: ADMA error: 0x02000000": ("io_failed", None),
    "ixgbe 0000:01:00.0:    [20] UnsupReq               (First)": ("io_failed", "0000:01:00.0"),
    "INFO: task kworker/u8:1:44 blocked for more than 120 seconds.": ("hung", None),
    "virtio_blk virtio3: requests.0:id 0 is not a head!": ("ring", "virtio3"),
    "virtio_net virtio0: input.0:id 61937 out of range": ("ring", "virtio0"),
}


@pytest.mark.parametrize(("text", "expected"), MESSAGES.items(), ids=MESSAGES.keys())
def test_messages(text: str, expected: tuple[str, str | None]) -> None:
    event = one(text)
    assert (event.event, event.status) == ("trouble", expected[0])
    assert event.device == expected[1] or expected[1] is None


@pytest.mark.parametrize(
    "text",
    [
        "I/O error, dev fd0, sector 0 op 0x0:(READ)",
        "I/O error, dev sr0, sector 0",
        "INFO: task swapper/0 is on cpu 1",
        "pcieport 0000:00:01.0:    [ 0] RxErr                  (First)",
        "clk: rate 100 out of range",
        "watchdog: timeout, pretimeout 30",
        "ata1: SATA link up 6.0 Gbps (SStatus 133 SControl 300)",
        "zram: I/O scheduler frozen",
    ],
)
def test_what_tells_of_no_stall(text: str) -> None:
    assert events_of(text) == []
