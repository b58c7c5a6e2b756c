"""Which addresses does the VMM's table translate for every stream, whatever happens meanwhile?

The bounce pool is mapped once, and most of what devices use lies in it. What is asked about it
needs no replay.
"""

from __future__ import annotations

import polars as pl

from topbit.recording import Recording
from topbit.recording.recording import NUMBER
from topbit.recording.schema import ERROR
from topbit.replay.columns import PAGE
from topbit.replay.page_set import page_set
from topbit.replay.replay import TABLE_KINDS


def is_steady(recording: Recording, spans: pl.DataFrame) -> pl.Series:
    """Which of these accesses or mappings lie in pages that are mapped all the time?

    Args:
        recording: the recording.
        spans: `number`, `start` (the address at the SMMU) and `size` of each.

    Returns:
        for each whether, by the first of them, the whole range was mapped for every stream, and no
        unmap, and nothing that failed, ever touched it.
    """
    if spans.is_empty():
        return pl.Series(dtype=pl.Boolean)
    failed = pl.col("status").eq_missing(ERROR)
    unmapped = pl.col("event") == "iommu_unmap"
    whole_pages = (pl.col("address") % PAGE == 0) & (pl.col("size") % PAGE == 0)
    before = pl.col(NUMBER) < spans[NUMBER].min()
    changes = recording.scan(*TABLE_KINDS)
    made, lost = (
        page_set(changes.filter(which).select("size", start="address").collect())
        for which in (
            ~unmapped & ~failed & whole_pages & pl.col("sid").is_null() & before,
            unmapped | failed,
        )
    )
    starts, sizes = spans["start"].to_numpy(), spans["size"].fill_null(1).to_numpy()
    return pl.Series(made.holds(starts, sizes) & ~lost.touched_by(starts, sizes))
