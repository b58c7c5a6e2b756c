"""V: does the VMM convert a page only together with its device mapping?"""

from __future__ import annotations

from collections.abc import Iterator

import polars as pl

from topbit.recording import Recording
from topbit.recording.recording import NUMBER
from topbit.recording.schema import ERROR, PRIVATE, SHARED
from topbit.replay.intervals import IntervalMap
from topbit.replay.page_set import numbers_near, pages_of
from topbit.replay.replay import TABLE_KINDS, Row
from topbit.rules.finding import Finding
from topbit.rules.rule import any_event, rule
from topbit.rules.wording import address, device_name, evidence_of


@rule(
    "V7",
    "A failed device map or unmap fails the page conversion.",
    source='NVIDIA/QEMU pull 40, "vfio: fail closed on Realm DMA map errors"',
    needs=[any_event("iommu_map", "iommu_unmap"), any_event("convert")],
)
def conversion_fails_closed(recording: Recording) -> Iterator[Finding]:
    """Which pages were converted although the device mapping could not follow?"""
    platform = recording.platform
    errors = recording.of_kind(*TABLE_KINDS, where=pl.col("status") == ERROR)
    near = pages_of(platform, errors)
    failed: IntervalMap[int] = IntervalMap()  # IOVA -> row of the event
    last: dict[int, Row] = {}
    kinds = (*TABLE_KINDS, "convert")
    for row in recording.rows(numbers_near(recording, near, *kinds)).iter_rows(named=True):
        start, size = row["phys"] if row["event"] == "convert" else row["address"], row["size"] or 1
        pairs: list[tuple[Row, Row]] = []
        if row["event"] == "convert":
            last[start] = row
            halves = {start, platform.unprotected(start)}
            held = (failed.overlapping(half, size) for half in halves)
            for number in sorted({number for pieces in held for _, _, number in pieces}):
                mapping = recording.row(number)
                failed.clear(mapping["address"], mapping["size"] or 1)
                if row["status"] == _target(mapping):
                    pairs.append((mapping, row))
        elif row["status"] == ERROR:
            before = last.get(platform.protected(start))
            if before is not None and before["status"] == _target(row):
                # The conversion was already reported as done when the mapping failed.
                pairs.append((row, before))
            else:
                failed.set(start, size, row[NUMBER])
        else:
            failed.clear(start, size)
        for mapping, conversion in pairs:
            verb = "map" if mapping["event"] == "iommu_map" else "unmap"
            yield Finding(
                "V7",
                "violation",
                "vmm",
                f"the VMM made a page {conversion['status']} although the device {verb} failed",
                device=device_name(recording, mapping["device"], mapping["sid"]),
                seen=f"IPA {address(conversion['phys'])} became {conversion['status']}; "
                f"{mapping['event']} at {address(mapping['address'])} had failed",
                expected="the conversion refused",
                evidence=[evidence_of(mapping), evidence_of(conversion)],
                hint="fail closed: return the error of the device mapping to the Realm",
            )


def _target(row: Row) -> str:
    return SHARED if row["event"] == "iommu_map" else PRIVATE
