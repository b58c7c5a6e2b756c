"""M: does each unmap and each sync belong to a live mapping, with its size and direction?

A bounced mapping is copied back by its own size and direction (Linux 7.2 kernel/dma/swiotlb.c:
swiotlb_tbl_unmap_single): an unmap that names others loses data, or copies over what is another's.
"""

from __future__ import annotations

from collections.abc import Iterator

import polars as pl

from topbit.recording import Recording
from topbit.recording.recording import NUMBER
from topbit.replay.columns import given
from topbit.replay.given_addresses import GivenAddresses
from topbit.replay.kept import kept
from topbit.replay.last_events import last_events
from topbit.replay.replay import Row
from topbit.replay.unmap_terms import LONE, TWICE, WRONG_SIZE, WRONG_WAY
from topbit.replay.unmaps import Unmaps, unmaps
from topbit.rules.finding import Finding, Severity
from topbit.rules.wording import FEW as SHOWN
from topbit.rules.wording import address, by_device, evidence

MAP, UNMAP, SYNC = "dma_map", "dma_unmap", "dma_sync"
SHORT = 0.01
"""Which part of a device's unmaps may lack their maps before the trace is taken to have gaps?"""
FEW = 4
"""So many may, however short the trace is."""


@kept
def _addresses(recording: Recording) -> GivenAddresses:
    return GivenAddresses(recording, MAP, UNMAP, SYNC)


@kept
def last_of_each(recording: Recording) -> pl.DataFrame:
    """By which event was each address mapped, unmapped and synchronised last?"""
    return last_events(recording, _addresses(recording))


def unmap_pairs(recording: Recording, live: pl.DataFrame) -> Iterator[Finding]:
    """Which unmaps do not fit the mapping that they end?

    Args:
        recording: the recording.
        live: the mappings that are known to be live at its end.
    """
    yield from _ill_fitting(recording, unmaps(recording, _addresses(recording), live))
    yield from _late_syncs(recording)


def _ill_fitting(recording: Recording, told: Unmaps) -> Iterator[Finding]:
    for bit, message, column in (
        (WRONG_SIZE, "the driver unmaps another size than it mapped", "size"),
        (WRONG_WAY, "the driver unmaps in another direction than it mapped: what the device wrote "
         "is copied back only for FROM_DEVICE and BIDIRECTIONAL", "direction"),
        (TWICE, "the driver unmaps an address twice: the second time it is not mapped (any more)",
         ""),
    ):  # fmt: skip
        for device, group in by_device(told.misfits.filter((pl.col("does") & bit) != 0)):
            theirs = told.counts.filter(pl.col("device").eq_missing(pl.lit(device)))
            lone = int(theirs.filter(pl.col("does") == LONE)["len"].sum())
            gaps = lone + len(group) > max(FEW, int(theirs["len"].sum()) * SHORT)
            shown = recording.rows(group[NUMBER].head(SHOWN))
            first, was, now = shown.row(0, named=True), "", " again"
            if column:
                was = f", mapped as {column} {recording.row(group['mapping'][0])[column]}"
                now = f" {column} {first[column]}"
            seen = f"dma_unmap of {address(first['address'])}{now}{was}"
            yield _finding(device, shown, len(group), message, seen, gaps)


def _late_syncs(recording: Recording) -> Iterator[Finding]:
    """Which addresses were synchronised after their last unmap, while nothing covers them?"""
    if not recording.has(SYNC):
        return
    late = (pl.col(SYNC) > pl.col(UNMAP)) & (pl.col(UNMAP) > pl.col(MAP).fill_null(0))
    rows = recording.rows(last_of_each(recording).filter(late)[SYNC].sort())
    if rows.is_empty():
        return
    below = given & (pl.col("address") <= rows["address"].max())
    spans = recording.scan(MAP, UNMAP, "dma_alloc", "dma_free").filter(below)
    known = spans.select(NUMBER, "event", "device", "address", "size").collect()
    late_ones = [row[NUMBER] for row in rows.iter_rows(named=True) if not _is_covered(known, row)]
    for device, group in by_device(rows.filter(pl.col(NUMBER).is_in(late_ones))):
        first = group.row(0, named=True)
        yield _finding(
            device,
            group,
            len(group),
            "the driver synchronises a buffer after it was unmapped",
            f"dma_sync of {address(first['address'])}, which is not mapped (any more)",
            len(group) > FEW,
        )


def _is_covered(spans: pl.DataFrame, row: Row) -> bool:
    """Is the address of a sync within any mapping that began below it and was not ended before?"""
    at, number = row["address"], row[NUMBER]
    over = spans.filter(
        (pl.col("address") < at)
        & (pl.lit(at, dtype=pl.UInt64) - pl.col("address") < pl.col("size"))
        & (pl.col(NUMBER) < number)
    )
    latest = over.group_by("device", "address").agg(pl.col("event").last())
    return bool(latest["event"].is_in([MAP, "dma_alloc"]).any())


def _finding(
    device: str | None, rows: pl.DataFrame, count: int, message: str, seen: str, gaps: bool
) -> Finding:
    """`rows`: the first of them, `count`: of all."""
    severity: Severity = "warning" if gaps else "violation"
    return Finding(
        "M7",
        severity,
        "guest",
        message,
        device=device,
        count=count,
        seen=seen + (" (the trace has gaps: maps may be missing from it)" if gaps else ""),
        expected="one dma_unmap_* for each dma_map_*, with its address, size and direction, and "
        "dma_sync_* in between",
        evidence=evidence(rows),
        hint="look at what the driver keeps of a mapping until it ends it (DMA_API_DEBUG tells "
        "where it does)",
    )
