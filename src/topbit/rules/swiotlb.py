"""S: is the bounce pool big enough, and is a "full" pool really full?"""

from __future__ import annotations

from collections.abc import Iterator

import polars as pl

from topbit.recording import Recording
from topbit.rules.finding import Finding
from topbit.rules.pool_advice import advice, amount
from topbit.rules.pool_messages import LARGEST, SLOT, full_messages
from topbit.rules.rule import rule
from topbit.rules.troubles import of_device, of_trouble
from topbit.rules.wide_ipa import wide_ipa_devices
from topbit.rules.wording import by_device, evidence, places

NEARLY = 0.95
"""Which part of a pool's slots is in use when it is nearly full?"""
LEAKED = 3
"""How many messages in a row of a pool that is used to the last slot may tell of a leak?"""


@rule(
    "S1",
    "The bounce pool holds what the drivers map at one time.",
    source="Linux 7.2 kernel/dma/swiotlb.c:swiotlb_tbl_map_single "
    "(the message), :swiotlb_find_slots",
)
def pool_is_large_enough(recording: Recording) -> Iterator[Finding]:
    """On which devices was the pool full, was it really, and what would help?"""
    rows = full_messages(recording)
    total, used, too_large = pl.col("total"), pl.col("used"), pl.col("too_large")
    none = (total == 0).fill_null(False)
    empty = (used == 0).fill_null(False) & ~none & ~too_large
    yield from _no_pool(recording, rows.filter(none))
    yield from _too_large(rows.filter(too_large & ~none))
    yield from _empty(recording, rows.filter(empty))
    yield from _full(recording, rows.filter(~too_large & ~empty & ~none))
    for device, group in by_device(of_trouble(recording, "bounce_failed")):
        yield _finding(
            "the bounce pool was full, or too small: a buffer could not be bounced",
            device,
            group,
            seen=str(group["detail"][0]),
            hint=advice(recording, _most(group, "size"), None, None),
        )


def _no_pool(recording: Recording, rows: pl.DataFrame) -> Iterator[Finding]:
    told = of_trouble(recording, "pool_missing")
    for device, group in by_device(rows):
        yield _finding(
            "there is no bounce pool at all, and a buffer needs one",
            device,
            group,
            seen="total 0 (slots)",
            hint="look for swiotlb=off or swiotlb=noforce, a failed allocation at boot, or an "
            "IOMMU driver that freed the pool (AMD: mended by 121660bba631); swiotlb=force keeps "
            "it",
            more=told,
        )
    if rows.is_empty() and not told.is_empty():
        yield _finding(
            "a bounce pool could not be had, or was needed and is not there",
            None,
            told,
            seen=str(told["detail"][0]),
            hint="ask for a pool that fits into low memory (swiotlb=SLOTS of 2 KiB), or give the "
            "machine more memory below 4 GiB",
        )


def _too_large(rows: pl.DataFrame) -> Iterator[Finding]:
    for device, group in by_device(rows):
        asked, used, slots = (_most(group, name) for name in ("size", "used", "total"))
        full = used is not None and slots is not None and used > slots * NEARLY
        yield _finding(
            f"a driver asked for more than the {LARGEST >> 10} KiB that one bounce can ever hold",
            device,
            group,
            seen=f"sz: {asked} bytes"
            + (f"; the pool is nearly full as well: {used} of {slots} slots" if full else ""),
            expected="requests up to dma_max_mapping_size()",
            hint="the driver must keep to dma_max_mapping_size(), or use coherent memory; a larger "
            "pool does not help",
        )


def _empty(recording: Recording, rows: pl.DataFrame) -> Iterator[Finding]:
    wide = wide_ipa_devices(recording)
    for device, group in by_device(rows):
        known = device in wide
        finding = _finding(
            'the pool is reported "full" while it is empty: no slot has a usable address'
            + (", a consequence of the wrong bit in DMA addresses (H7)" if known else ""),
            device,
            group,
            seen="used 0 (slots)",
            expected="a free slot",
            hint="see H7"
            if known
            else "look at the device's mask, segment boundary and alignment, and in a Realm of 51 "
            "IPA bits or more (--ipa-bits) at H7; more pool does not help",
        )
        finding.severity = "note" if known else "warning"
        yield finding


def _full(recording: Recording, rows: pl.DataFrame) -> Iterator[Finding]:
    for device, group in by_device(rows):
        asked, used, slots = (_most(group, name) for name in ("size", "used", "total"))
        if slots is None:
            yield _finding(
                "the bounce pool was full; this kernel tells neither its size nor its use: it is "
                "too small, or a driver does not give back what it maps",
                device,
                group,
                seen=f"sz: {asked} bytes",
                hint=advice(recording, asked, None, None),
            )
            continue
        leak = _is_a_leak(group)
        yield _finding(
            f"the swiotlb pool of {amount(slots * SLOT)} is "
            + ("used to the last slot, and stays so: a driver may not give back what it maps"
               if leak else "too small for the load; the addresses are not at fault"),
            device,
            group,
            seen=f"used {used} of {slots} slots of 2 KiB when {asked} bytes were asked for"
            + _over_time(group),
            hint=("look at M7 with a trace of the dma events, and at io_tlb_used in debugfs while "
                  "the devices are idle; else " if leak else "")
            + advice(recording, asked, used, slots),
        )  # fmt: skip


def _is_a_leak(group: pl.DataFrame) -> bool:
    """Was the pool used to its last slot in every one of several messages?"""
    return len(group) >= LEAKED and bool((group["used"] == group["total"]).all())


def _over_time(group: pl.DataFrame) -> str:
    """Between which times did it last?"""
    times = group["time"].drop_nulls().sort().to_list()
    if len(times) < 2 or times[0] == times[-1]:
        return ""
    return f"; {len(group)} messages from {times[0]:.6f} to {times[-1]:.6f} s"


def _most(group: pl.DataFrame, column: str) -> int | None:
    """What is the largest of these values, if any is told?"""
    value = group[column].max()
    return None if value is None else int(str(value))


def _finding(
    message: str,
    device: str | None,
    group: pl.DataFrame,
    *,
    seen: str,
    hint: str,
    expected: str = "free slots for what the drivers map at one time",
    more: pl.DataFrame | None = None,
) -> Finding:
    judged = places(group) | (set() if more is None else places(more.filter(of_device(device))))
    if more is not None:
        judged |= places(more.filter(pl.col("device").is_null()))
    return Finding(
        "S1",
        "warning",
        "host" if group["agent"][0] == "host" else "guest",
        message,
        device=device,
        count=len(group),
        seen=seen,
        expected=expected,
        evidence=evidence(group, 2),
        hint=hint,
        judged=judged,
    )
