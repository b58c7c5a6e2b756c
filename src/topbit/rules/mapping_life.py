"""M: do the guest's mappings succeed, and does each of them end?"""

from __future__ import annotations

from collections.abc import Iterator

import polars as pl

from topbit.recording import Recording
from topbit.recording.recording import NUMBER
from topbit.recording.schema import DMA_MAPPING_ERROR, ERROR, TRUNCATED
from topbit.replay.columns import MAPS, given
from topbit.rules.finding import Evidence, Finding
from topbit.rules.gaps import gaps_of
from topbit.rules.rule import any_event, rule, whole_trace
from topbit.rules.troubles import bus_limit, of_device, of_trouble
from topbit.rules.unmap_pairs import last_of_each, unmap_pairs
from topbit.rules.wide_ipa import wide_ipa_devices
from topbit.rules.wording import address, by_device, evidence, places, shared_bit_name

MAP, UNMAP = "dma_map", "dma_unmap"
WRITTEN_BY_DEVICE = ("FROM_DEVICE", "BIDIRECTIONAL")

LEAK = 3
"""How many maps of one buffer, none ever unmapped, are a leak beyond doubt?"""


@rule(
    "M7",
    "Every streaming mapping is unmapped, once and as it was mapped: only then is bounced data "
    "copied back.",
    source="Linux 7.2 Documentation/core-api/dma-api.rst; kernel/dma/swiotlb.c:"
    "swiotlb_tbl_unmap_single copies back for FROM_DEVICE",
    needs=[whole_trace, any_event("dma_map"), any_event("dma_unmap")],
)
def maps_are_unmapped(recording: Recording) -> Iterator[Finding]:
    """Which buffers were mapped again and again without ever being unmapped?

    A mapping that is live when a trace ends is no leak in itself (a receive queue keeps its
    buffers mapped). It is one when the same buffer was mapped for reading again and again after
    it, and none of these mappings was ever unmapped.
    """
    open_ended = _never_unmapped(recording)
    yield from unmap_pairs(recording, open_ended)
    again = _written_again_and_lost(recording, open_ended)
    if again.is_empty():
        return
    damaged = _with_gaps(recording, again["device"].unique())
    for device, group in by_device(again):
        first = group.row(0, named=True)
        certain = (
            device not in damaged
            and not recording.platform.unparsed
            and not _is_reused(recording, group)
            and not gaps_of(recording, device)
        )
        yield Finding(
            "M7",
            "violation" if certain else "warning",
            "guest",
            "the driver maps the same buffer again and again and never unmaps it: what the device "
            "wrote is never copied back from the bounce buffer",
            device=device,
            count=len(group),
            seen=f"{len(group)} maps, the first of phys_addr={address(first['phys'])}, "
            "without an unmap"
            + ("" if certain else " (the trace has gaps: some unmaps may be missing from it)"),
            expected="a dma_unmap_* with the same address for each",
            evidence=evidence(group),
            hint="update the driver"
            + (
                " (NVMe with SGLs: commit a54afbc8a213)"
                if _driver(recording, device) == "nvme"
                else ""
            ),
        )


def _never_unmapped(recording: Recording) -> pl.DataFrame:
    """Which addresses are mapped for good, each by its last mapping?

    The k-th unmap of an address on a device ends the latest map before it: a map is live at the
    end if no unmap of its address follows. Where another map of the address follows, it was
    unmapped in between, while nobody traced.
    """
    ends = last_of_each(recording).filter(pl.col(MAP).is_not_null())
    open_ended = ends[UNMAP].is_null() | (ends[UNMAP] < ends[MAP])
    live = recording.rows(ends.filter(open_ended)[MAP].sort())
    ended, device = ends.filter(~open_ended), recording.frame["device"]
    by_another = ended.filter(device[ended[MAP]].ne_missing(device[ended[UNMAP]]))
    return pl.concat([live, _not_unmapped_by_its_own(recording, by_another)]).sort(NUMBER)


def _written_again_and_lost(recording: Recording, live: pl.DataFrame) -> pl.DataFrame:
    """Which of the mappings that are never unmapped does a device write to, again and again?

    A scatterlist's unmap is traced by buffer, not by DMA address, and not at all if it has more
    entries than an event holds, of which its map lists the first 128 (Linux 7.2
    include/trace/events/dma.h:DMA_TRACE_MAX_ENTRIES).
    """
    live = live.filter(pl.col("direction").is_in(WRITTEN_BY_DEVICE) & pl.col("phys").is_not_null())
    live = live.filter(pl.col("detail").ne_missing(TRUNCATED))
    again = live.filter(pl.len().over("device", "phys", "size") >= LEAK)
    if again.is_empty() or not recording.has("dma_unmap_sg"):
        return again
    theirs = pl.col("phys").is_in(again["phys"].unique().implode())
    unmapped = recording.scan("dma_unmap_sg").filter(theirs).select("device", "phys").unique()
    return again.join(unmapped.collect(), on=["device", "phys"], how="anti", nulls_equal=True)


def _not_unmapped_by_its_own(recording: Recording, ends: pl.DataFrame) -> pl.DataFrame:
    """Which of these last mappings, whose address another device unmapped last, are live?"""
    mapped = recording.rows(ends[MAP])
    unmaps = (
        recording.scan(UNMAP)
        .filter(given & pl.col("address").is_in(ends["address"].implode()))
        .group_by("device", "address")
        .agg(last=pl.max(NUMBER))
        .collect()
    )
    return (
        mapped.join(unmaps, on=["device", "address"], how="left", nulls_equal=True)
        .filter(pl.col("last").is_null() | (pl.col("last") < pl.col(NUMBER)))
        .drop("last")
    )


def _with_gaps(recording: Recording, devices: pl.Series) -> set[str | None]:
    """Of which devices is an unmap without its map traced, so that lines are missing?"""
    theirs = given & pl.col("device").is_in(devices.implode(), nulls_equal=True)
    maps, unmaps = (
        recording.scan(kind).filter(theirs).select("device", "address").unique()
        for kind in (MAP, UNMAP)
    )
    unmatched = unmaps.join(maps, on=["device", "address"], how="anti", nulls_equal=True)
    return set(unmatched.collect()["device"])


def _is_reused(recording: Recording, live: pl.DataFrame) -> bool:
    """Was an address of these mappings given out again while nothing tells that it was unmapped?

    No slot of a pool is given out twice: the unmap happened and is not in the trace, as with a
    filter by task, one CPU's file, or a scatterlist's unmap that is too long for an event.
    """
    device = live["device"][0]
    theirs = given & pl.col("device").eq_missing(pl.lit(device))
    counts = [
        recording.scan(kind).filter(theirs).group_by("address").agg(pl.len().alias(kind)).collect()
        for kind in (MAP, UNMAP)
    ]
    both = counts[0].join(counts[1], on="address", how="left").fill_null(0)
    return bool((both[MAP] > both[UNMAP] + 1).any())


def _driver(recording: Recording, device: str | None) -> str | None:
    facts = recording.platform.devices.get(device or "")
    return facts.driver if facts else None


@rule(
    "M9",
    "Mappings and coherent allocations succeed.",
    source="Linux 7.2 kernel/dma/direct.h:dma_direct_map_phys (DMA_MAPPING_ERROR), "
    "kernel/dma/direct.c:dma_coherent_ok",
    needs=[any_event(*MAPS)],
)
def maps_succeed(recording: Recording) -> Iterator[Finding]:
    """On which devices did mappings fail, and why?"""
    platform = recording.platform
    failed = recording.of_kind(
        *MAPS, where=(pl.col("address") == DMA_MAPPING_ERROR) | (pl.col("status") == ERROR)
    )
    if failed.is_empty():
        return
    wide = wide_ipa_devices(recording)
    too_high = of_trouble(recording, "bounce_overflow", "dma_overflow")
    full = recording.of_kind("swiotlb_full")
    masks = recording.scan("swiotlb_bounced", *MAPS).group_by("device").agg(pl.min("mask"))
    narrowest = dict(masks.collect().rows())
    space = platform.space
    for device, group in by_device(failed):
        facts = platform.devices.get(device or "")
        mask = narrowest.get(device)
        if mask is None and facts:
            mask = facts.dma_mask
        shown = evidence(group, 2)
        if device in wide:
            why, hint = "because of the wrong bit in their addresses (H7)", "see H7"
        elif not (lines := too_high.filter(of_device(device))).is_empty():
            row = lines.row(0, named=True)
            limits = f"mask 0x{row['mask'] or 0:x}, bus limit {bus_limit(row)}"
            why, hint = f"because an address did not fit the device ({limits})", "see M4"
            shown.append(Evidence(str(row["detail"]), row["source"] or "", row["line"], "guest"))
        elif mask is not None and platform.realm and space and space.in_par(mask):
            why = f"because the device's mask 0x{mask:x} cannot carry {shared_bit_name(platform)}"
            hint = "give the Realm an IPA space that fits the device's mask, or do not assign it"
        elif not (lines := full.filter(of_device(device))).is_empty():
            why, hint = "because the swiotlb pool was full", "see S1"
            row = lines.row(0, named=True)
            shown.append(Evidence(str(row["detail"]), row["source"] or "", row["line"], "guest"))
        else:
            why, hint = "and nothing recorded tells why", "look for swiotlb lines in the kernel log"
        yield Finding(
            "M9",
            "warning",
            "guest",
            f"mappings failed {why}",
            device=device,
            count=len(group),
            seen="DMA_MAPPING_ERROR, or no memory",
            expected="an address",
            evidence=shown,
            hint=hint,
            judged=places(of_trouble(recording, "map_failed", where=of_device(device))),
        )
