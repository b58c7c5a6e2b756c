"""F: does the host's SMMU let interrupts through, and are its event records read in time?"""

from __future__ import annotations

from collections.abc import Iterator

from topbit.recording import Recording
from topbit.rules.fault_cases import faults
from topbit.rules.finding import Finding
from topbit.rules.rule import rule, sees_faults
from topbit.rules.tables import at_doorbell
from topbit.rules.wording import address, device_name, evidence, evidence_of


def _a_doorbell(recording: Recording) -> str:
    if recording.platform.msi_doorbells:
        return ""
    return "nothing tells where the doorbell of message-signalled interrupts lies"


@rule(
    "F6",
    "A device reaches the doorbell of its message-signalled interrupts.",
    source="Linux 7.2 drivers/irqchip/irq-gic-v3-its.c:its_irq_get_msi_base (GITS_TRANSLATER, a "
    "plain address); Documentation/driver-api/vfio.rst",
    needs=[_a_doorbell, sees_faults],
)
def interrupts_arrive(recording: Recording) -> Iterator[Finding]:
    """Which devices' interrupts did stage 2 refuse?"""
    for fault in faults(recording):
        row = fault.row
        if not at_doorbell(recording.platform, row["address"]):
            continue
        yield Finding(
            "F6",
            "violation",
            "vmm",
            "the VMM did not map the MSI doorbell for the device: its interrupts are lost",
            device=device_name(recording, row["device"], row["sid"]),
            count=row["times"],
            seen=f"a write to {address(row['address'])}, the ITS's doorbell: {row['status']}",
            expected=f"a writable stage-2 mapping at {address(row['address'] & ~0xFFF)}",
            evidence=[evidence_of(row)],
            mend="map the page of GITS_TRANSLATER, at its plain address, for each stream",
        )


@rule(
    "F8",
    "The host takes event records out of the SMMU's queue before it is full.",
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
        "F8",
        "warning",
        "host",
        "the host lost event records of the SMMU: faults may be missing, counts may be too low",
        seen=rows["detail"][0] or "lost",
        expected="every record read before the queue was full",
        evidence=evidence(rows),
        mend="read the queue on its interrupt, or give it more entries",
    )
