"""A: did accesses that went through go where they may?

A device that is let through where it must not be raises no event: only a machine's own record of
each access shows it.
"""

from __future__ import annotations

from collections.abc import Iterator

from topbit.recording import Recording
from topbit.replay.columns import at_doorbell, devices_where
from topbit.replay.replay import MAPPING_KINDS, replay
from topbit.rules.finding import Finding
from topbit.rules.rule import a_realm, any_event, one_clock, rule
from topbit.rules.wording import address, evidence_of

LET_THROUGH = ("ok", "GPF")
"""How an access ended that the SMMU translated."""


@rule(
    "A1",
    "The SMMU uses no translation that the VMM has removed.",
    source="IHI0070 4.4: a translation may be used until it is invalidated (CMD_TLBI_*); DEN0137: "
    "a page must be unreachable before it becomes private",
    needs=[a_realm, one_clock, any_event("access"), any_event("iommu_map")],
)
def removed_translations_are_gone(recording: Recording) -> Iterator[Finding]:
    """Which accesses were translated although the device's stage 2 holds no such mapping?"""
    trusted = set(devices_where(recording.platform, trusted=True))
    kinds = ("iommu_map", "iommu_unmap")
    for row, state in replay(recording, "access", state_kinds=kinds):
        if row["status"] not in LET_THROUGH or row["device"] in trusted:
            continue
        tables = state.tables(row["sid"])
        if not tables or any(t.covers(row["address"], row["size"] or 1) for _, t in tables):
            continue
        yield Finding(
            "A1",
            "violation",
            "vmm",
            "the VMM unmapped a page and did not make the SMMU forget its translation",
            device=row["device"],
            seen=f"{address(row['address'])} was translated ({row['status']}); no mapping of it "
            "is left",
            expected="F_TRANSLATION",
            evidence=[evidence_of(row)],
            mend="send CMD_TLBI_S2_IPA (or CMD_TLBI_S12_VMALL) and CMD_SYNC after every unmap, "
            "before the page is given away",
        )


@rule(
    "A2",
    "A device touches memory only through addresses that the guest has mapped for it.",
    source="Linux 7.2 Documentation/core-api/dma-api.rst: no access after dma_unmap_*()",
    needs=[a_realm, one_clock, any_event("access"), any_event("dma_map", "dma_alloc")],
)
def reached_memory_is_mapped(recording: Recording) -> Iterator[Finding]:
    """Which accesses reached shared memory through an address that nobody had given out?

    The SMMU cannot stop them: a page stays mapped as long as it is shared, longer than any
    mapping of the guest.
    """
    if recording.platform.lost_events:
        return
    for row, state in replay(recording, "access", state_kinds=MAPPING_KINDS):
        if row["status"] != "ok":
            continue
        if state.mapping_at(row["address"]) is not None:
            continue
        if at_doorbell(recording.platform, row["address"]):
            continue
        verb = "wrote to" if row["direction"] == "w" else "read"
        yield Finding(
            "A2",
            "violation",
            "device",
            f"the device {verb} memory through an address that is not mapped for it (any more)",
            device=row["device"],
            seen=f"{row['size']} bytes at {address(row['address'])}, and the SMMU let it through",
            expected="no access after dma_unmap_*",
            evidence=[evidence_of(row)],
            mend="look at the device, and at how its driver ends transfers",
        )
