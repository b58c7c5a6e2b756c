"""M: does each address fit its device? What the kernel's own messages tell of it."""

from __future__ import annotations

from collections.abc import Iterator

import polars as pl

from topbit.events import Agent
from topbit.recording import Platform, Recording
from topbit.replay.columns import with_shared_bit
from topbit.replay.replay import Row
from topbit.rules.finding import Finding
from topbit.rules.troubles import bus_limit, of_trouble
from topbit.rules.wording import address, by_device, evidence, places, shared_bit_name

MASK_HINT = (
    "no pool helps: use a device or driver with a wider mask, or give the Realm an IPA space that "
    "the mask can carry"
)


def refused_addresses(recording: Recording) -> Iterator[Finding]:
    """Which addresses did the kernel find not to fit a device's mask or bus?"""
    rows = of_trouble(recording, "bounce_overflow", "dma_overflow").drop_nulls("address")
    if rows.is_empty():
        return
    failed = of_trouble(recording, "map_failed")
    rows = rows.with_columns(carried=_carries_the_bit(recording.platform))
    for _, same in rows.group_by("mask", "attrs", "carried", maintain_order=True):
        for device, group in by_device(same):
            row = group.row(0, named=True)
            agent, message, hint = _why(recording.platform, row)
            yield Finding(
                "M4",
                "warning",
                agent,
                message,
                device=device,
                count=len(group),
                seen=f"{address(row['address'])}+{row['size']}: overflow (mask "
                f"0x{row['mask'] or 0:x}, bus limit {bus_limit(row)})",
                expected="an address within both",
                evidence=evidence(group, 2),
                hint=hint,
                judged=places(group)
                | places(failed.filter(pl.col("device").eq_missing(pl.lit(device)))),
            )


def _carries_the_bit(platform: Platform) -> pl.Expr:
    if platform.space is None or not platform.realm:
        return pl.lit(False)
    return with_shared_bit(platform)


def _why(platform: Platform, row: Row) -> tuple[Agent, str, str]:
    """Who is it about, what is wrong, and what mends it?"""
    limit, mask = int(bus_limit(row), 16), row["mask"] or 0
    end = row["address"] + (row["size"] or 1) - 1
    over_bus = 0 < limit < end <= mask
    if row["carried"]:
        bit = shared_bit_name(platform)
        if over_bus:
            return (
                "vmm",
                f"the bus limit (dma-ranges, or the IORT's address size) leaves out {bit}: no "
                "shared memory can be reached on that bus",
                "let the VMM give the bus no dma-ranges, or some that hold the whole IPA space",
            )
        return "guest", f"the device's mask cannot carry {bit}: each bounce overflows", MASK_HINT
    if over_bus:
        return (
            "host" if row["agent"] == "host" else "vmm",
            "the bus limit (dma-ranges) is below the memory that was mapped",
            "mend dma-ranges (device tree, _DMA) or use memory below the limit",
        )
    return (
        row["agent"] if row["agent"] in ("guest", "host") else "guest",
        "the device's mask is too narrow for the memory that was mapped",
        "the driver must set a wider mask if the device can carry it (dma_set_mask()); else bounce "
        "through memory below it",
    )
