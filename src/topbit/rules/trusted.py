"""T: is a device that the Realm trusts one that it accepted, as long as it uses it?"""

from __future__ import annotations

from collections.abc import Iterator

import polars as pl

from topbit.events import Agent
from topbit.recording import Recording
from topbit.recording.recording import NUMBER
from topbit.replay.faults import fault_rows
from topbit.replay.interfaces import Interface, interfaces
from topbit.replay.replay import Row
from topbit.rules.finding import Finding
from topbit.rules.refused import refusal
from topbit.rules.rule import any_event, one_clock, rule, sees_faults
from topbit.rules.wording import device_name, evidence_of

BAD_STE = "C_BAD_STE"
UNTRUSTED = "device_untrusted"
STARTED, FAILED = "STARTED", "ERROR"
_BY_HOST = ("RMI_", "the host ")


def is_interfaces(recording: Recording, row: Row) -> bool:
    """Was the access refused because the Realm stream of a device of the Realm's is invalid?"""
    return row["status"] == BAD_STE and row["sid"] in interfaces(recording)


def _host_did(row: Row) -> bool:
    """Did the host bring a device into this state, going by what led there?"""
    return (row["detail"] or "").startswith(_BY_HOST)


@rule(
    "T1",
    "A trusted device is used from the moment on that the Realm lets it make DMA, until it stops.",
    source="DEN0137 2.0 beta 0, RSI_VDEV_DMA_ENABLE, RMI_VDEV_UNLOCK; Linux, ARM CCA Device "
    "Assignment support (2025), drivers/virt/coco/arm-cca-guest",
    needs=[one_clock, any_event("vdev"), sees_faults],
)
def used_while_accepted(recording: Recording) -> Iterator[Finding]:
    """Which accesses of trusted devices were refused for want of a valid stream, and by whom?"""
    for row in fault_rows(recording).iter_rows(named=True):
        if not is_interfaces(recording, row):
            continue
        agent, message, expected, hint, shown = _why(interfaces(recording)[row["sid"]], row)
        yield refusal(
            recording, row, "T1", agent, message, expected=expected, hint=hint, mapping=shown
        )


def _why(interface: Interface, row: Row) -> tuple[Agent, str, str, str, Row | None]:
    """Who is at fault, in which words: agent, message, expected, hint, and what shows it?"""
    now, stopped = interface.before(row[NUMBER]), interface.stopped_by(row[NUMBER])
    state = now["status"] if now is not None else "not assigned"
    if stopped is not None and (_host_did(stopped) or _is_aborted(now)):
        return (
            "host",
            "the host took a trusted device back while the guest used it",
            "the interface locked and started until the Realm disables its DMA",
            "look at why the host unlocked the interface (RMI_VDEV_UNLOCK, RMI_*_ABORT)",
            stopped,
        )
    if state == FAILED:
        return (
            "device",
            "the device is not trusted any more: it failed",
            "an interface in STARTED",
            "look at what the device answered (TDISP, SPDM)",
            now,
        )
    if stopped is not None:
        return (
            "guest",
            "the guest uses a device whose DMA it has disabled",
            "no access after RSI_VDEV_DMA_DISABLE",
            "stop the driver first",
            stopped,
        )
    if state == STARTED:
        return (
            "guest",
            "the guest uses a device that it accepted without enabling its DMA",
            "RSI_VDEV_DMA_ENABLE before the driver's first transfer",
            "enable DMA as the last step of accepting the device",
            now,
        )
    return (
        "guest",
        "the guest uses a trusted device before it has accepted it",
        "the device accepted (RSI_VDEV_VALIDATE_MAPPING, start, RSI_VDEV_DMA_ENABLE) before its "
        "driver's first transfer",
        f"bind the driver when the device is accepted; its interface is {state}",
        now,
    )


def _is_aborted(row: Row | None) -> bool:
    return row is not None and row["status"] == FAILED and _host_did(row)


@rule(
    "T2",
    "A device that is to be trusted proves what it is, and is what the guest expects.",
    source="DEN0137 2.0 beta 0, PDEV and VDEV states; DMTF DSP0274; PCI-SIG TDISP",
    needs=[any_event("pdev", "vdev")],
)
def devices_are_genuine(recording: Recording) -> Iterator[Finding]:
    """Which devices did the RMM or the guest find not to be trusted?"""
    failed = (pl.col("event") != "trouble") & (pl.col("status") == FAILED)
    refused = (pl.col("event") == "trouble") & (pl.col("status") == UNTRUSTED)
    rows = recording.of_kind("pdev", "vdev", "trouble", where=failed | refused)
    for row in rows.iter_rows(named=True):
        agent, message, expected, hint = _BY_THE_HOST if _host_did(row) else _BY_THE_DEVICE
        yield Finding(
            "T2",
            "violation",
            agent,
            message,
            device=device_name(recording, row["device"], row["sid"]),
            seen=row["detail"] or row["status"],
            expected=expected,
            evidence=[evidence_of(row)],
            hint=hint,
        )


_BY_THE_HOST: tuple[Agent, str, str, str] = (
    "host",
    "the host did not let the device prove what it is",
    "messages and answers carried to the end",
    "look at how the host carries them (RMI_PDEV_COMMUNICATE, RMI_VDEV_COMMUNICATE)",
)
_BY_THE_DEVICE: tuple[Agent, str, str, str] = (
    "device",
    "the device is not one that the Realm may trust",
    "the answers of a device with the key of its certificate; fresh measurements, the known ones",
    "give this device no private memory; compare its firmware with what is known of it",
)
