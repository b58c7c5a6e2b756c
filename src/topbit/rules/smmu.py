"""F: does the SMMU translate what its tables hold, let interrupts through, and lose no record?"""

from __future__ import annotations

from collections.abc import Iterator

from topbit.recording import Recording
from topbit.replay.columns import PAGE, at_doorbell
from topbit.replay.faults import PERMISSION
from topbit.replay.refusals import nothing_lost, refusals, was_translated
from topbit.rules.finding import Finding
from topbit.rules.rule import a_realm, any_event, one_clock, rule, sees_faults
from topbit.rules.streams import guest_faults
from topbit.rules.wording import (
    address,
    device_name,
    evidence,
    evidence_of,
    places,
    refused_access,
)


def _a_doorbell(recording: Recording) -> str:
    if recording.platform.msi_doorbells:
        return ""
    return "nothing tells where the doorbell of message-signalled interrupts lies"


@rule(
    "F10",
    "A device reaches the doorbell of its message-signalled interrupts.",
    former="F6",
    source="Linux 7.2 drivers/irqchip/irq-gic-v3-its.c:its_irq_get_msi_base (GITS_TRANSLATER, a "
    "plain address); Documentation/driver-api/vfio.rst",
    needs=[_a_doorbell, sees_faults],
)
def interrupts_arrive(recording: Recording) -> Iterator[Finding]:
    """Which devices' interrupts did stage 2 refuse?"""
    for fault in guest_faults(recording):
        row = fault.row
        if not at_doorbell(recording.platform, row["address"]):
            continue
        if was_translated(recording, fault):  # F11
            continue
        yield Finding(
            "F10",
            "violation",
            "vmm",
            "the VMM did not map the MSI doorbell for the device: its interrupts are lost",
            device=device_name(recording, row["device"], row["sid"]),
            count=row["times"],
            seen=f"a write to {address(row['address'])}, the ITS's doorbell: {row['status']}",
            expected=f"a writable stage-2 mapping at {address(row['address'] & -PAGE)}",
            evidence=[evidence_of(row)],
            hint="map the page of GITS_TRANSLATER, at its plain address, for each stream",
        )


@rule(
    "F11",
    "The SMMU translates what the stream's own table holds.",
    former="F7",
    source="IHI0070 5.2, STE.S2TTB, S2T0SZ and S2SL0; 7.3.13 F_TRANSLATION, 7.3.16 F_PERMISSION; "
    "DDI0487 D8.2, concatenated translation tables",
    needs=[a_realm, one_clock, nothing_lost, any_event("iommu_map", "rtt_map"), sees_faults],
)
def tables_are_walked(recording: Recording) -> Iterator[Finding]:
    """Which accesses were refused although guest, VMM and RMM had done their part?

    F_ADDR_SIZE and F_ACCESS are left to F9: no event tells the output size or the access flag.
    """
    for refusal in refusals(recording).values():
        row, entry = refusal.row, refusal.entry
        if row is None or entry is None:
            continue
        table = "the VMM's table" if entry["event"] == "iommu_map" else "the Realm's own table"
        does = "permits" if row["status"] == PERMISSION else "translates"
        shown = [row, entry, *([refusal.mapping] if refusal.mapping else [])]
        yield Finding(
            "F11",
            "violation",
            "smmu",
            f"the SMMU refused an access that {table} {does}",
            device=device_name(recording, row["device"], row["sid"]),
            count=refusal.times,
            seen=refused_access(recording, row),
            expected=f"the page that {table} holds at {address(row['address'] & -PAGE)}",
            evidence=evidence(shown),
            hint="compare the stream's STE with that table: S2TTB with its root, S2T0SZ and S2SL0 "
            "with its size and root level (CMD_CFGI_STE after every change); look whether the "
            "SMMU sees the table's bytes as they were written, and whether it can walk "
            "concatenated root tables (QEMU's cannot: docs/qemu-deviations.md, Q7)",
        )


@rule(
    "F12",
    "The host takes event records out of the SMMU's queue before it is full.",
    former="F8",
    source="IHI0070 7.4, event queue overflow; Linux 7.2 drivers/iommu/arm/arm-smmu-v3/"
    "arm-smmu-v3.c:arm_smmu_evtq_thread",
    needs=[sees_faults],
)
def no_record_is_lost(recording: Recording) -> Iterator[Finding]:
    """Were event records lost, so that faults may be missing here, or counted too low?"""
    rows = recording.of_kind("smmu_lost")
    if rows.is_empty():
        return
    yield Finding(
        "F12",
        "warning",
        "host",
        "the host lost event records of the SMMU: faults may be missing, counts may be too low",
        seen=rows["detail"][0] or "lost",
        expected="every record read before the queue was full",
        evidence=evidence(rows),
        hint="read the queue on its interrupt, or give it more entries",
        judged=places(rows),
    )
