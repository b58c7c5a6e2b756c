"""Whose stream was it that an SMMU refused: one of the guest's devices, or one of the host's own?

A host's SMMU serves the host's devices as well. Plain VFIO gives a guest's device a stage-1 table
on the host (Linux 7.2 drivers/iommu/arm/arm-smmu-v3/arm-smmu-v3.c:
arm_smmu_domain_alloc_paging_flags), under the host's name of it: the stage and the name decide
nothing alone.
"""

from __future__ import annotations

from collections.abc import Iterator

from topbit.recording import Recording
from topbit.replay.columns import MAPS, lies_in
from topbit.replay.faults import ACCESS, Fault, faults, places_of
from topbit.replay.kept import kept
from topbit.rules.finding import Finding
from topbit.rules.rule import a_realm, any_event, rule, the_shared_bit
from topbit.rules.wording import address, device_name, evidence_of

OWN_MACHINES = ("model", "qemu")
"""Machines that have no host's devices beside the guest's."""


@kept
def guest_faults(recording: Recording) -> list[Fault]:
    """Which refused accesses are of the guest's own devices?"""
    return [fault for fault in faults(recording) if is_the_guests(recording, fault)]


def is_the_guests(recording: Recording, fault: Fault) -> bool:
    """Is it known that the refused stream is one of the guest's devices?

    It is of a device that the guest's log or trace names; of stage 2; at an address that the
    guest made; or nothing of the guest was given at all, so that the refusals are all that is
    asked about. If the user told the streams of all of its devices, it is one of those.
    """
    platform, row = recording.platform, fault.row
    if row["event"] == ACCESS or platform.machine in OWN_MACHINES or _is_named(recording, fault):
        return True
    if _is_anothers(recording, fault):
        return False
    if "s2" in (row["attrs"] or ""):
        return True
    value = row["address"]
    shared = value is not None and platform.has_shared_bit(value)
    if shared and (fault.live or lies_in(platform.protected(value), platform.pools)):
        return True
    return not _is_any_guest_known(recording)


def _is_named(recording: Recording, fault: Fault) -> bool:
    """Does the guest know a device of this name or StreamID?"""
    row = fault.row
    device = device_name(recording, row["device"], row["sid"])
    return device in recording.platform.devices or device in fault.mapped.traced


def _is_anothers(recording: Recording, fault: Fault) -> bool:
    """Is its stream none of those that the user told, one for each device of the guest's trace?"""
    platform, sid = recording.platform, fault.row["sid"]
    if sid is None or platform.device_of_sid(sid) is not None or not fault.mapped.traced:
        return False
    return all(platform.origins.get(f"stream {name}") == "option" for name in fault.mapped.traced)


def _is_any_guest_known(recording: Recording) -> bool:
    """Was a file of the guest's given?"""
    if recording.has(*MAPS):
        return True
    return any(file.role == "guest" for file in recording.platform.files)


@rule(
    "F13",
    "The refused streams are those of the guest's devices.",
    source="Linux 7.2 drivers/iommu/arm/arm-smmu-v3/arm-smmu-v3.c:"
    "arm_smmu_domain_alloc_paging_flags; IHI0070 7.3, S2",
    needs=[a_realm, the_shared_bit, any_event("smmu_event")],
)
def other_streams(recording: Recording) -> Iterator[Finding]:
    """Which refusals were not held against guest or VMM, since the stream is another's?"""
    for fault in faults(recording):
        if is_the_guests(recording, fault):
            continue
        row = fault.row
        used = "no address" if row["address"] is None else address(row["address"])
        another = _is_anothers(recording, fault)
        whose = (
            "another guest's, or the host's own (--stream told those of all of its devices)"
            if another
            else "the host's own tables (stage 1)"
        )
        yield Finding(
            "F13",
            "note",
            "host",
            f"the SMMU refused a stream that is none of this guest's: {whose}, nobody of this "
            "guest is held for it",
            device=device_name(recording, row["device"], row["sid"]),
            count=row["times"],
            seen=f"{used}: {row['status']}" + ("" if another else ", stage 1"),
            expected="one of the streams that were told"
            if another
            else "a device that the guest's log or trace names, a fault of stage 2, or an address "
            "that the guest made",
            evidence=[evidence_of(row)],
            hint="if it is a device of this guest, --stream 0xSID=DEVICE says so",
            judged=places_of(row),
        )
