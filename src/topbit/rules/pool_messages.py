"""Which messages tell that a bounce pool was full, and how large was what they tell of?"""

from __future__ import annotations

import polars as pl

from topbit.recording import Recording
from topbit.replay.columns import as_read
from topbit.replay.kept import kept

SLOT = 2048
"""Bytes of a slot, 1 << IO_TLB_SHIFT (Linux include/linux/swiotlb.h)."""
LARGEST = 128 * SLOT
"""Largest contiguous request, IO_TLB_SEGSIZE slots (Linux include/linux/swiotlb.h)."""


@kept
def full_messages(recording: Recording) -> pl.DataFrame:
    """Which messages of a full pool are there, of the guest's or the host's own?

    Returns:
        their rows with `total` and `used` (slots; null where the kernel tells neither) and
        `too_large`: more was asked for than one bounce can ever hold.
    """
    rows = as_read(recording).of_kind("swiotlb_full")
    return rows.with_columns(
        total=pl.col("attrs").str.extract(r"total=(\d+)").cast(pl.Int64, strict=False),
        used=pl.col("attrs").str.extract(r"used=(\d+)").cast(pl.Int64, strict=False),
        too_large=pl.col("size").fill_null(0) > LARGEST,
    )
