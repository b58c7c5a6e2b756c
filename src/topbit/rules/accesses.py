"""A: did accesses that went through go where they may?

A device that is let through where it must not be raises no event: only a machine's own record of
each access shows it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import polars as pl

from topbit.recording import Recording
from topbit.recording.recording import NUMBER
from topbit.recording.schema import GPF, OK
from topbit.replay.columns import at_doorbell, devices_where
from topbit.replay.page_set import ipa_of, page_set
from topbit.replay.replay import MAPPING_KINDS, TABLE_KINDS, replay, states_at
from topbit.replay.steady import is_steady
from topbit.rules.finding import Finding
from topbit.rules.rule import a_realm, any_event, one_clock, rule
from topbit.rules.wording import address, evidence_of

LET_THROUGH = (OK, GPF)
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
    trusted = devices_where(recording.platform, trusted=True)
    by_untrusted = ~pl.col("device").fill_null("").is_in(trusted)
    accesses = (
        recording.scan("access")
        .filter(pl.col("status").is_in(LET_THROUGH) & by_untrusted)
        .select(NUMBER, "size", start="address", ipa=ipa_of(recording.platform))
        .collect()
    )
    accesses = accesses.filter(~is_steady(recording, accesses))
    pages = page_set(accesses.select("size", start="ipa"))
    known = _tables_known_since(recording)
    for row, state in states_at(recording, accesses[NUMBER], pages, *TABLE_KINDS):
        if row[NUMBER] < known(row["sid"]):
            continue
        if state.stage2.is_mapped(row["sid"], row["address"], row["size"] or 1):
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
            hint="send CMD_TLBI_S2_IPA (or CMD_TLBI_S12_VMALL) and CMD_SYNC after every unmap, "
            "before the page is given away",
        )


def _tables_known_since(recording: Recording) -> Callable[[int | None], float]:
    """From which event on is anything known of a stream's table (None: of any table)?"""
    firsts = recording.scan(*TABLE_KINDS).group_by("sid").agg(pl.min(NUMBER)).collect()
    since: dict[int | None, int] = dict(firsts.rows())

    def known(sid: int | None) -> float:
        numbers = [
            number for stream, number in since.items() if sid is None or stream in (sid, None)
        ]
        return min(numbers, default=math.inf)

    return known


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
    went_through = pl.col("status") == OK
    for row, state in replay(recording, "access", where=went_through, state_kinds=MAPPING_KINDS):
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
            hint="look at the device, and at how its driver ends transfers",
        )
