"""P: does the host leave the Realm the pages that it holds?"""

from __future__ import annotations

from collections.abc import Iterator

import polars as pl

from topbit.recording import Recording
from topbit.replay.intervals import IntervalMap
from topbit.replay.replay import RAM, UNPROTECTED
from topbit.rules.finding import Finding
from topbit.rules.rule import a_realm, any_event, rule
from topbit.rules.wording import address, evidence_of

DESTROYED = "DESTROYED"
"""RIPAS of a page that the host took away (DEN0137, RmiRipas)."""
DEV = "DEV"
"""RIPAS of the registers of a device that the Realm accepted."""
RIPAS_CHANGE = "RIPAS_CHANGE"
"""Reason of the exit by which the Realm asks for another RIPAS (DEN0137, RmiRecExitReason)."""


@rule(
    "P10",
    "The host destroys no page that the Realm holds as its RAM.",
    former="P5",
    source="DEN0137 1.0, RIPAS DESTROYED: only RMI_DATA_DESTROY of RAM, which the Realm did not "
    "ask for, leads there",
    needs=[any_event("ripas")],
)
def ram_is_not_destroyed(recording: Recording) -> Iterator[Finding]:
    """Which pages did the host take away that the Realm had not given up?"""
    registers: IntervalMap[bool] = IntervalMap()
    told = recording.of_kind("ripas", where=pl.col("attrs").is_in([DESTROYED, DEV]))
    for row in told.iter_rows(named=True):
        if row["attrs"] == DEV:
            registers.set(row["phys"], row["size"], True)
            continue
        if any(registers.overlapping(row["phys"], row["size"])):
            registers.clear(row["phys"], row["size"])  # of a device that was taken back: no RAM
            continue
        yield Finding(
            "P10",
            "violation",
            "host",
            "the host destroyed a page of the Realm's RAM",
            seen=f"IPA {address(row['phys'])}, {row['size']} bytes: RIPAS DESTROYED",
            expected="RIPAS RAM until the Realm asks for another (RSI_IPA_STATE_SET)",
            evidence=[evidence_of(row)],
            hint="look at what the host reclaims (guest_memfd, ballooning); the Realm cannot go on "
            "without the page's content",
        )


@rule(
    "P11",
    "A page that the Realm shares stays mapped for it.",
    former="P6",
    source="DEN0137 1.0, RMI_RTT_UNMAP_UNPROTECTED; Linux arch/arm64/kvm: a page turns private "
    "only when the Realm asks for RIPAS RAM",
    needs=[a_realm, any_event("rmm_exit"), any_event("rtt_unmap")],
)
def shared_pages_stay_mapped(recording: Recording) -> Iterator[Finding]:
    """Which shared pages did the host unmap although the Realm had not taken them back?"""
    wanted: IntervalMap[str] = IntervalMap()
    unmap = (pl.col("event") == "rtt_unmap") & (pl.col("attrs") == UNPROTECTED)
    ask = (pl.col("event") == "rmm_exit") & (pl.col("status") == RIPAS_CHANGE)
    rows = recording.of_kind("rtt_unmap", "rmm_exit", where=unmap | ask)
    for row in rows.iter_rows(named=True):
        if row["phys"] is None or not row["size"]:
            continue
        if row["event"] == "rmm_exit":
            wanted.set(row["phys"], row["size"], row["attrs"] or "")
            continue
        asked = wanted.overlapping(row["phys"], row["size"])
        if all(state == RAM for _, _, state in asked):
            continue
        yield Finding(
            "P11",
            "violation",
            "host",
            "the host unmapped a page that the Realm shares",
            seen=f"IPA {address(row['address'])}, {row['size']} bytes, unmapped; the Realm had "
            "not asked for it as RAM",
            expected="mapped until the Realm takes it back (RSI_IPA_STATE_SET to RAM)",
            evidence=[evidence_of(row)],
            hint="look at what the host reclaims; the Realm's CPUs get an external abort there",
        )
