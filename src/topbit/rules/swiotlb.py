"""S: is the swiotlb pool big enough, and is a "full" pool really full?"""

from __future__ import annotations

from collections.abc import Iterator

import polars as pl

from topbit.recording import Recording
from topbit.rules.dma_helpers import wide_ipa_rows
from topbit.rules.finding import Finding
from topbit.rules.rule import rule
from topbit.rules.wording import by_device, evidence

SLOT = 2048
"""Bytes of a slot, 1 << IO_TLB_SHIFT (Linux include/linux/swiotlb.h)."""
USUAL_POOL = 64 << 20
"""Bytes of the pool that a Realm gets without swiotlb= (Linux include/linux/swiotlb.h:
IO_TLB_DEFAULT_SIZE)."""
LARGEST = 128 * SLOT
"""Largest contiguous request, IO_TLB_SEGSIZE slots (Linux include/linux/swiotlb.h)."""


@rule(
    "S1",
    "The swiotlb pool holds what the drivers map at one time.",
    source="Linux 7.2 kernel/dma/swiotlb.c:swiotlb_tbl_map_single "
    "(the message), :swiotlb_find_slots",
)
def pool_is_large_enough(recording: Recording) -> Iterator[Finding]:
    """On which devices was the pool full, was it really, and what would help?"""
    rows = recording.of_kind("swiotlb_full")
    if rows.is_empty():
        return
    rows = rows.with_columns(
        total=pl.col("attrs").str.extract(r"total=(\d+)").cast(pl.Int64),
        used=pl.col("attrs").str.extract(r"used=(\d+)").cast(pl.Int64),
    )
    wide = set(wide_ipa_rows(recording)["device"].to_list())
    too_large = pl.col("size") > LARGEST
    empty = (pl.col("used") == 0) & ~too_large
    for device, group in by_device(rows.filter(too_large)):
        asked, _, _ = _largest(group)
        yield Finding(
            "S1",
            "warning",
            "guest",
            f"a driver asked for more than the {LARGEST >> 10} KiB that one bounce can ever hold",
            device=device,
            count=len(group),
            seen=f"sz: {asked} bytes",
            expected="requests up to dma_max_mapping_size()",
            evidence=evidence(group, 2),
            hint="the driver must keep to dma_max_mapping_size(); a larger pool does not help",
        )
    for device, group in by_device(rows.filter(empty)):
        known = device in wide
        yield Finding(
            "S1",
            "note" if known else "warning",
            "guest",
            'the pool is reported "full" while it is empty: no slot has a usable address'
            + (", a consequence of the wrong bit in DMA addresses (H7)" if known else ""),
            device=device,
            count=len(group),
            seen="used 0 (slots)",
            expected="a free slot",
            evidence=evidence(group, 2),
            hint="see H7"
            if known
            else "look at the device's mask, segment boundary and alignment; more pool does not "
            "help",
        )
    for device, group in by_device(rows.filter(~too_large & ~empty)):
        asked, used, slots = _largest(group)
        total = slots * SLOT
        yield Finding(
            "S1",
            "warning",
            "guest",
            f"the swiotlb pool of {_amount(total)} is too small for the load; "
            "the addresses are not at fault",
            device=device,
            count=len(group),
            seen=f"used {used} of {slots} slots of 2 KiB when {asked} bytes were asked for",
            expected="free slots for what the drivers map at one time",
            evidence=evidence(group, 2),
            hint=_pool_hint(recording, total),
        )


def _largest(group: pl.DataFrame) -> tuple[int, int, int]:
    """What are the largest request, use and total among these messages?"""
    asked, used, slots = group.select(pl.col("size", "used", "total").max().fill_null(0)).row(0)
    return int(asked), int(used), int(slots)


def _amount(size: int) -> str:
    return f"{size >> 20} MiB" if size >= 1 << 20 else f"{size >> 10} KiB"


def _pool_hint(recording: Recording, total: int) -> str:
    platform = recording.platform
    ram = sum(size for _, size in platform.ram)
    # Linux 7.3 arch/arm64/mm/init.c:arch_mm_preinit sizes the pool RAM/1024 when no RAM lies
    # above the DMA limit, and 7.2 leaves Realms at 64 MiB.
    shrunk = ram and total == ram >> 10 and total < USUAL_POOL
    if shrunk:
        return (
            f"Linux {platform.kernel or '7.3'} shrank it to RAM/1024 because all RAM lies below "
            "the DMA limit, and swiotlb= does not raise it there; more RAM, or a kernel before 7.3 "
            "(64 MiB), gives a larger one"
        )
    return "raise it with swiotlb=SLOTS on the guest's command line"
