"""Recordings that rules about trusted devices must flag, and that they must not."""

from __future__ import annotations

from rule_events import BUFFER, Case, access, bad_ste, vdev
from topbit.events import Event

LOCKED = [vdev("UNLOCKED"), vdev("LOCKED")]
STARTED = [*LOCKED, vdev("STARTED")]
ENABLED = [*STARTED, vdev("STARTED", dma=True, detail="RSI_VDEV_DMA_ENABLE")]
REACHED = access(BUFFER, "ok", device="tdisp", sid=0x20, attrs="private")

CASES: dict[str, Case] = {
    "T1: accepted, but for its DMA": Case(
        "T1",
        "guest",
        bad=[*STARTED, bad_ste()],
        good=[*ENABLED, REACHED],
        device="tdisp",
        says="without enabling its DMA",
    ),
    "T1: not accepted": Case(
        "T1",
        "guest",
        bad=[*LOCKED, bad_ste(), *ENABLED],
        good=[*ENABLED, REACHED],
        device="tdisp",
        says="before it has accepted it",
    ),
    "T1: taken back": Case(
        "T1",
        "host",
        bad=[*ENABLED, vdev("STARTED", detail="RMI_VDEV_UNLOCK"), vdev("UNLOCKED"), bad_ste()],
        good=[*ENABLED, REACHED, vdev("STARTED", detail="RMI_VDEV_UNLOCK")],
        device="tdisp",
        says="RMI_VDEV_UNLOCK",
    ),
    "T2: an answer of somebody else": Case(
        "T2",
        "device",
        bad=[Event("rmm", "pdev", sid=0x20, status="ERROR", detail="the device has no key")],
        good=[Event("rmm", "pdev", sid=0x20, status="READY", detail="all was said")],
        device="tdisp",
        says="the device has no key",
    ),
    "T2: not what the guest knows": Case(
        "T2",
        "device",
        bad=[*LOCKED, Event("guest", "trouble", "tdisp", status="device_untrusted", detail="no")],
        good=[*LOCKED, Event("guest", "trouble", "tdisp", status="device_given_up", detail="no")],
        device="tdisp",
    ),
    "T2: nobody asks the device": Case(
        "T2",
        "host",
        bad=[*LOCKED, vdev("ERROR", detail="RMI_VDEV_ABORT")],
        good=ENABLED,
        device="tdisp",
        says="did not let the device prove",
    ),
}
