"""Which DMA addresses carry an attribute of page tables, where no scheme puts one?

Under TDX, vTOM and Hyper-V a bit of page-table entries says shared or private, under pKVM, Secure
Execution and SVM no bit does: none of them is in a DMA address. A driver that takes a page-table
entry for an address hands its device the pool's address with such a bit on top.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import polars as pl

from topbit.addressing.scheme import without_top_bit
from topbit.recording import Platform, Recording
from topbit.replay.columns import MAPS, in_ranges, shared_mappings
from topbit.rules.finding import Finding
from topbit.rules.wording import address, bits_of, by_device, evidence

BITLESS = ("intel-tdx", "snp-vtom", "hyperv", "s390-pv", "power-svm", "arm-pkvm")
"""Schemes of guests that have no attribute in DMA addresses (Linux 7.2 include/linux/
mem_encrypt.h: the dma_addr_* helpers are the identity there)."""
LOW_MEMORY = 1 << 32


def can_be_seen(platform: Platform) -> bool:
    """Is it known where such a guest's right addresses lie?"""
    return platform.scheme in BITLESS and bool(platform.pools)


def with_a_bit_on_top(recording: Recording) -> Iterator[Finding]:
    """Which devices were given addresses of the bounce pool with one bit too many, and no other?

    An IOVA may look like one of them by accident, but not each that a device has.
    """
    platform = recording.platform
    if not can_be_seen(platform):
        return
    known = [*platform.ram, *platform.pools]
    high = (pl.col("address") >= LOW_MEMORY) & ~in_ranges(pl.col("address"), known)
    rows = shared_mappings(recording, where=high)
    if rows.is_empty():
        return
    rest = without_top_bit(rows["address"].to_numpy())
    rows = rows.with_columns(rest=pl.Series(np.asarray(rest, np.uint64)))
    counts = dict(shared_mappings(recording, *MAPS).group_by("device").len().rows())
    for device, group in by_device(rows.filter(in_ranges(pl.col("rest"), platform.pools))):
        if len(group) < counts[device]:
            continue
        value, right = group["address"][0], group["rest"][0]
        yield Finding(
            "H5",
            "violation",
            "guest",
            f"the device was given addresses with a bit that {platform.scheme} has in page tables "
            "alone",
            device=device,
            count=len(group),
            seen=f"dma_addr={address(value)}: {bits_of(value ^ right)} set",
            expected=f"dma_addr={address(right)}, in the bounce pool",
            evidence=evidence(group),
            hint="look for a driver that makes DMA addresses of page-table entries or of "
            "cc_mkdec() itself; --viommu DEVICE says that these are IOVAs",
        )
