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
from topbit.replay.kept import kept
from topbit.replay.last_events import last_events
from topbit.replay.replay import Row
from topbit.rules.finding import Finding, Severity
from topbit.rules.wording import address, by_device, evidence

MAP, UNMAP, SYNC = "dma_map", "dma_unmap", "dma_sync"
SHORT = 0.01
"""Which part of a device's unmaps may lack their maps before the trace is taken to have gaps?"""
FEW = 4
"""So many may, however short the trace is."""

PAIR = (
    pl.col("address") * 0x9E3779B1
    + pl.col("size").fill_null(0) * 0x85EBCA6B
    + pl.col("direction").str.len_bytes().fill_null(0).cast(pl.UInt64) * 0xC2B2AE35
)
"""Expression: a number that a mapping and its unmap share. The directions differ in length."""


@kept
def last_of_each(recording: Recording) -> pl.DataFrame:
    """By which event was each address mapped, unmapped and synchronised last?"""
    return last_events(recording, MAP, UNMAP, SYNC)


def unmap_pairs(recording: Recording, live: pl.DataFrame) -> Iterator[Finding]:
    """Which unmaps do not fit the mapping that they end?

    Args:
        recording: the recording.
        live: the mappings that are known to be live at its end.
    """
    rows = _of_odd_addresses(recording, live)
    if not rows.is_empty():
        yield from _ill_fitting(rows)
    yield from _late_syncs(recording)


def _of_odd_addresses(recording: Recording, live: pl.DataFrame) -> pl.DataFrame:
    """Which maps and unmaps are of addresses whose maps and unmaps do not add up?

    Nearly always all add up, which two sums tell.
    """
    maps, unmaps = (recording.scan(kind).filter(given) for kind in (MAP, UNMAP))
    total, still, ended = (
        int(rows.select(PAIR.sum()).collect().item() or 0) for rows in (maps, live.lazy(), unmaps)
    )
    if (total - still - ended) % (1 << 64) == 0:
        return recording.rows([])
    sums = [
        rows.group_by("address").agg(PAIR.sum().alias(name))
        for rows, name in ((maps, MAP), (live.lazy(), SYNC), (unmaps, UNMAP))
    ]
    joined = sums[2].join(sums[0], on="address", how="left").join(sums[1], on="address", how="left")
    odd = joined.filter(
        pl.col(MAP).fill_null(0) - pl.col(SYNC).fill_null(0) != pl.col(UNMAP)
    ).select("address")
    addresses = odd.collect()["address"]
    wanted = given & pl.col("address").is_in(addresses.implode())
    return recording.scan(MAP, UNMAP).filter(wanted).collect()


def _ill_fitting(rows: pl.DataFrame) -> Iterator[Finding]:
    own = ["device", "address"]
    rows = rows.sort("address", NUMBER).with_columns(
        before=pl.col("event").shift().over(own),
        mapped_size=pl.col("size").shift().over(own),
        mapped_direction=pl.col("direction").shift().over(own),
        mapping=pl.col(NUMBER).shift().over(own),
    )
    ended = rows.filter(pl.col("event") == UNMAP)
    after_map = ended.filter(pl.col("before") == MAP)
    wrong_size = after_map.filter(pl.col("size") != pl.col("mapped_size"))
    turned = after_map.filter(pl.col("direction") != pl.col("mapped_direction"))
    twice = ended.filter(pl.col("before") == UNMAP)
    lone = ended.filter(pl.col("before").is_null())
    for found, message, column in (
        (wrong_size, "the driver unmaps another size than it mapped", "size"),
        (turned, "the driver unmaps in another direction than it mapped: what the device wrote "
         "is copied back only for FROM_DEVICE and BIDIRECTIONAL", "direction"),
        (twice, "the driver unmaps an address twice: the second time it is not mapped (any more)",
         ""),
    ):  # fmt: skip
        for device, group in by_device(found.sort(NUMBER)):
            theirs = pl.col("device").eq_missing(pl.lit(device))
            total, unmatched = len(ended.filter(theirs)), len(lone.filter(theirs)) + len(group)
            gaps = unmatched > max(FEW, total * SHORT)
            first = group.row(0, named=True)
            was = f", mapped as {column} {first[f'mapped_{column}']}" if column else ""
            now = f" {column} {first[column]}" if column else " again"
            yield _finding(
                device, group, message, f"dma_unmap of {address(first['address'])}{now}{was}", gaps
            )


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
    device: str | None, group: pl.DataFrame, message: str, seen: str, gaps: bool
) -> Finding:
    severity: Severity = "warning" if gaps else "violation"
    return Finding(
        "M7",
        severity,
        "guest",
        message,
        device=device,
        count=len(group),
        seen=seen + (" (the trace has gaps: maps may be missing from it)" if gaps else ""),
        expected="one dma_unmap_* for each dma_map_*, with its address, size and direction, and "
        "dma_sync_* in between",
        evidence=evidence(group),
        hint="look at what the driver keeps of a mapping until it ends it (DMA_API_DEBUG tells "
        "where it does)",
    )
