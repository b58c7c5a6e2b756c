"""What do findings about refused accesses have in common?"""

from __future__ import annotations

from topbit.events import Agent
from topbit.recording import Recording
from topbit.replay.columns import devices_where
from topbit.replay.faults import Fault, places_of
from topbit.replay.late_records import was_never_mapped
from topbit.replay.replay import Row
from topbit.rules.finding import Finding, Severity
from topbit.rules.wording import device_name, evidence_of, refused_access


def refusal(
    recording: Recording,
    row: Row,
    rule_id: str,
    agent: Agent,
    message: str,
    *,
    expected: str,
    hint: str,
    mapping: Row | None = None,
    severity: Severity = "violation",
) -> Finding:
    """Which finding tells of a refused access (a row of `fault_rows`), and of its mapping?"""
    shown = [row] if mapping is None else [row, mapping]
    return Finding(
        rule_id,
        severity,
        agent,
        message,
        device=device_name(recording, row["device"], row["sid"]),
        count=row["times"],
        seen=refused_access(recording, row),
        expected=expected,
        evidence=[evidence_of(each) for each in shown],
        hint=hint,
        judged=places_of(row),
    )


def by_trusted_device(recording: Recording, row: Row) -> bool:
    """Is the device of a refused access one that the Realm trusts?"""
    device = device_name(recording, row["device"], row["sid"])
    return device in devices_where(recording.platform, trusted=True)


def is_never_mapped(recording: Recording, row: Row) -> bool:
    """Had the VMM never mapped what an untrusted device's record is about (`was_never_mapped`)?"""
    return was_never_mapped(recording, row) and not by_trusted_device(recording, row)


def is_traced(recording: Recording, fault: Fault) -> bool:
    """Did the guest's trace cover this device from its probe on (so that it tells everything)?"""
    if recording.platform.lost_events:
        return False
    if recording.platform.one_clock:
        return bool(fault.mapped.traced)
    row = fault.row
    return device_name(recording, row["device"], row["sid"]) in fault.mapped.allocated
