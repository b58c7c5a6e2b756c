"""What may a record of the SMMU be about that was over when it was taken out of the queue?

A record is stamped when it is collected, up to `LATE` after the access: what the guest had mapped
at the access may have been unmapped before the record.
"""

from __future__ import annotations

import polars as pl

from topbit.recording import Recording
from topbit.recording.recording import NUMBER
from topbit.replay.columns import PAGE, input_address
from topbit.replay.faults import fault_rows
from topbit.replay.intervals import IntervalMap
from topbit.replay.kept import kept
from topbit.replay.page_set import numbers_near, pages_of
from topbit.replay.refusals import LATE
from topbit.replay.replay import Row

RECORD = "smmu_event"
ENDS = ("dma_unmap", "dma_free")


def may_precede_unmap(recording: Recording, row: Row) -> bool:
    """May a refused access have come before the unmap that its record follows?

    `row`: of `fault_rows`. Where the access itself was recorded, its place in the order is exact.
    """
    end = _last_ends(recording).get(row[NUMBER])
    if end is None:
        return False
    now, then = row["time"], recording.row(end)["time"]
    return now is None or then is None or bool(now - then <= LATE)


def was_never_mapped(recording: Recording, row: Row) -> bool:
    """Had the VMM mapped no page there up to a record, though the guest had given and ended it?

    A device is refused there whenever it comes, before the guest's unmap as after it. What the VMM
    maps must be known; a map that failed may have left something.
    """
    if row[NUMBER] not in _last_ends(recording) or not recording.has("convert", "iommu_map"):
        return False
    return row[NUMBER] not in _ever_mapped(recording)


@kept
def _last_ends(recording: Recording) -> dict[int, int]:
    """By which event was a mapping in the page of each record (at either address) ended last?"""
    platform = recording.platform
    rows = _records(recording)
    if not platform.one_clock or rows.is_empty():
        return {}
    numbers = numbers_near(recording, pages_of(platform, rows), *ENDS)
    both = pl.concat([recording.rows(numbers), recording.rows(rows[NUMBER])]).sort(NUMBER)
    ended: IntervalMap[int] = IntervalMap()
    found: dict[int, int] = {}
    for number, kind, address, size in both.select(NUMBER, "event", "address", "size").rows():
        if kind in ENDS:
            ipa = platform.protected(input_address(platform, address))
            ended.set(ipa, size or 1, number)
        elif near := list(ended.overlapping(platform.protected(address) & -PAGE, PAGE)):
            found[number] = max(end for _, _, end in near)
    return found


@kept
def _ever_mapped(recording: Recording) -> frozenset[int]:
    """At the pages of which records had the VMM mapped anything for the stream before?"""
    platform = recording.platform
    rows = _records(recording)
    numbers = numbers_near(recording, pages_of(platform, rows), "iommu_map")
    both = pl.concat([recording.rows(numbers), recording.rows(rows[NUMBER])]).sort(NUMBER)
    mapped: dict[int | None, IntervalMap[int]] = {}
    found: set[int] = set()
    for row in both.iter_rows(named=True):
        sid, number = row["sid"], row[NUMBER]
        if row["event"] == "iommu_map":
            mapped.setdefault(sid, IntervalMap()).set(row["address"], row["size"] or 1, number)
            continue
        page = row["address"] & -PAGE
        tables = [mapped[each] for each in mapped if sid is None or each in (None, sid)]
        if any(list(table.overlapping(page, PAGE)) for table in tables):
            found.add(number)
    return frozenset(found)


def _records(recording: Recording) -> pl.DataFrame:
    rows = fault_rows(recording)
    return rows.filter((pl.col("event") == RECORD) & pl.col("address").is_not_null())
