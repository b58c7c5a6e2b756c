"""F: which refused accesses came, in one ordered trace, after their address was given back?

A trace that holds the mappings of a device, their ends and the IOMMU's faults tells their order by
itself, whatever machine and scheme it is of.
"""

from __future__ import annotations

from collections.abc import Iterator

import polars as pl

from topbit.recording import Recording
from topbit.recording.recording import NUMBER
from topbit.recording.trouble import TROUBLES
from topbit.replay.columns import MAPS, PAGE, as_read, given
from topbit.replay.faults import TRANSLATION
from topbit.replay.replay import Row
from topbit.rules.finding import Finding
from topbit.rules.rule import a_realm, any_event, rule, the_shared_bit
from topbit.rules.wording import address, evidence_of, places

ENDS = ("dma_unmap", "dma_free")
REFUSED = [name for name, trouble in TROUBLES.items() if trouble.refused]


@rule(
    "F14",
    "A device that is behind an IOMMU uses no address after it was unmapped or freed.",
    source="Linux 7.2 Documentation/core-api/dma-api.rst: no access after dma_unmap_*() or "
    "dma_free_*()",
    needs=[any_event("trouble", "smmu_event")],
)
def freed_addresses_are_not_used(recording: Recording) -> Iterator[Finding]:
    """Which devices of a machine that is no Realm used an address that they had given back?

    Of a Realm F3 tells it.
    """
    if not a_realm(recording) and not the_shared_bit(recording):
        return
    whole = as_read(recording)
    refused = _refused(whole)
    for (device, _), group in refused.group_by("device", "page", maintain_order=True):
        if device is None:
            continue
        for row in group.iter_rows(named=True):
            if (pair := _ended_before(whole, row)) is None:
                continue
            mapping, end = pair
            after = ""
            if row["time"] is not None and end["time"] is not None:
                after = f" {(row['time'] - end['time']) * 1e3:.3g} ms after it"
            yield Finding(
                "F14",
                "violation",
                "device",
                "the device used an address after it was unmapped or freed (as F3 says of a Realm)",
                device=str(device),
                count=len(group),
                seen=f"{address(row['address'])} was refused{after} was given back",
                expected="no access after dma_unmap_* or dma_free_*",
                evidence=[evidence_of(each) for each in (row, mapping, end)],
                hint="look at the device and its firmware, and at how its driver stops it before "
                "it frees its memory",
                judged=places(group),
            )
            break


def _refused(recording: Recording) -> pl.DataFrame:
    """Which accesses with an address were refused, by page?"""
    fault = (pl.col("event") == "smmu_event") & (pl.col("status") == TRANSLATION)
    rows = recording.scan("smmu_event", "trouble").filter(
        (fault | pl.col("status").is_in(REFUSED)) & pl.col("address").is_not_null()
    )
    return rows.with_columns(page=pl.col("address") // PAGE).collect()


def _ended_before(recording: Recording, row: Row) -> tuple[Row, Row] | None:
    """Which mapping held the address, and which event ended it, before it was refused?"""
    held = (pl.col("address") <= row["address"]) & (
        pl.lit(row["address"], dtype=pl.UInt64) - pl.col("address") < pl.col("size")
    )
    same = (pl.col("source") == row["source"]) & (pl.col("device") == row["device"])
    rows = recording.scan(*MAPS, *ENDS).filter(given & held & same & (pl.col(NUMBER) < row[NUMBER]))
    found = rows.collect()
    if len(found) < 2 or found["event"][-1] not in ENDS:
        return None
    mappings = found.filter(pl.col("event").is_in(MAPS))
    if mappings.is_empty():
        return None
    return mappings.row(-1, named=True), found.row(-1, named=True)
