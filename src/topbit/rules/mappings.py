"""M: does the guest give devices the right addresses, and takes each back?"""

from __future__ import annotations

from collections.abc import Iterator

import polars as pl

from topbit.recording import Recording
from topbit.recording.schema import DMA_MAPPING_ERROR
from topbit.replay.columns import (
    MAPS,
    canonical,
    has_attr,
    in_ranges,
    shared_mappings,
    succeeded,
    with_shared_bit,
)
from topbit.rules.dma_helpers import wide_ipa_rows
from topbit.rules.finding import Evidence, Finding
from topbit.rules.rule import a_realm, any_event, rule, told_the_truth
from topbit.rules.wording import (
    address,
    bits_of,
    by_device,
    evidence,
    release_mend,
    shared_bit_name,
)

COVER_LETTER = 'cover letter of "arm64: realm: Fix DMA address for devices"'


def _bit_or_ram(recording: Recording) -> str:
    platform = recording.platform
    if platform.ipa_bits is None and not platform.ram:
        return (
            "neither the width of the IPA space (--ipa-bits N) nor the place of RAM "
            "(kernel log) is known"
        )
    return ""


@rule(
    "M1",
    "In a Realm every DMA address of an untrusted device has the shared bit set.",
    source=f"{COVER_LETTER}, patch 3/3 (7d953a062416; Linux 6.15, 6.14.2, 6.13.11)",
    needs=[a_realm, told_the_truth, _bit_or_ram, any_event(*MAPS)],
)
def shared_bit_is_set(recording: Recording) -> Iterator[Finding]:
    """Which devices were given plain (protected) addresses, or addresses beyond the IPA space?

    While ipa_bits is unknown, an address inside RAM is known to lack the bit all the same: RAM
    ends below it.
    """
    platform = recording.platform
    rows = shared_mappings(recording)
    wide = wide_ipa_rows(recording)
    if not wide.is_empty():
        rows = rows.join(wide.select("address").unique(), on="address", how="anti")
    space = platform.space
    if space is None:
        plain = in_ranges(pl.col("address"), platform.ram)
        beyond = pl.lit(False)
    else:
        plain = ~with_shared_bit(platform)
        beyond = pl.col("address") >= pl.lit(space.size, dtype=pl.UInt64)
    for device, group in by_device(rows.filter(plain & ~beyond)):
        first = group.row(0, named=True)
        yield Finding(
            "M1",
            "violation",
            "guest",
            "the guest gave the device plain (protected) addresses for shared memory",
            device=device,
            count=len(group),
            seen=f"dma_addr={address(first['address'])}: {shared_bit_name(platform)}, clear",
            expected=f"dma_addr={address(space.unprotected(first['address']))}"
            if space
            else f"{shared_bit_name(platform)}, set",
            evidence=evidence(group),
            mend=release_mend(platform),
        )
    for device, group in by_device(rows.filter(beyond)):
        first = group.row(0, named=True)
        yield Finding(
            "M1",
            "violation",
            "guest",
            f"the guest gave the device addresses beyond its {platform.ipa_bits}-bit IPA space",
            device=device,
            count=len(group),
            seen=f"dma_addr={address(first['address'])}: "
            f"{bits_of(first['address'] >> (platform.ipa_bits or 0) << (platform.ipa_bits or 0))}"
            " set",
            expected=f"no bit above {shared_bit_name(platform)}",
            evidence=evidence(group),
            mend="look for a wrong dma-ranges, or check that --ipa-bits is right",
        )


@rule(
    "M2",
    "In a Realm every streaming DMA mapping of private memory is bounced through shared memory.",
    source="Linux 7.2 kernel/dma/direct.h:dma_direct_map_phys, kernel/dma/swiotlb.c:swiotlb_map",
    needs=[a_realm, any_event("dma_map")],
)
def streaming_maps_bounce(recording: Recording) -> Iterator[Finding]:
    """Which maps let a device at the driver's own buffer instead of a bounce buffer?"""
    platform = recording.platform
    rows = shared_mappings(recording, "dma_map").filter(
        pl.col("phys").is_not_null()
        & ~has_attr("CC_SHARED")
        & (canonical(platform) == pl.col("phys"))
        & ~in_ranges(pl.col("phys"), platform.pools)
    )
    for device, group in by_device(rows):
        first = group.row(0, named=True)
        yield Finding(
            "M2",
            "violation",
            "guest",
            "a streaming mapping was not bounced: the device is pointed at private memory",
            device=device,
            count=len(group),
            seen=f"dma_addr={address(first['address'])} is the buffer at "
            f"phys_addr={address(first['phys'])} itself",
            expected="an address in a swiotlb pool"
            + (
                f" ({address(platform.pools[0][0])}-{address(sum(platform.pools[0]) - 1)})"
                if platform.pools
                else ""
            ),
            evidence=evidence(group),
            mend="map through the DMA API without bypass, or share the buffer first and map it "
            "with DMA_ATTR_CC_SHARED (Linux 7.2)",
        )


@rule(
    "M4",
    "A DMA address fits what the device and its bus can carry.",
    source="Linux include/linux/dma-direct.h:dma_capable",
    needs=[any_event(*MAPS)],
)
def addresses_fit_the_device(recording: Recording) -> Iterator[Finding]:
    """Which devices were given addresses that they cannot put on the bus?"""
    beyond_first = pl.col("size").fill_null(1).clip(1) - 1
    # Without a sum, which could wrap around.
    too_high = (pl.col("address") > pl.col("limit")) | (
        pl.col("limit") - pl.col("address") < beyond_first
    )
    rows = _with_masks(recording).filter(pl.col("limit").is_not_null() & too_high)
    for device, group in by_device(rows):
        first = group.row(0, named=True)
        yield Finding(
            "M4",
            "violation",
            "guest",
            "the device cannot carry the address that it was given",
            device=device,
            count=len(group),
            seen=f"dma_addr={address(first['address'])} size={first['size']}, "
            f"limit 0x{first['limit']:x}",
            expected="a failed mapping (DMA_MAPPING_ERROR), or an address below the limit",
            evidence=evidence(group),
            mend="give the Realm an IPA space that the device's mask can carry, or do not assign "
            "the device",
        )


def _with_masks(recording: Recording) -> pl.DataFrame:
    """Which limit (mask and bus limit together) held for each successful mapping?"""
    devices = recording.platform.devices
    masks = {name: d.dma_mask for name, d in devices.items() if d.dma_mask is not None}
    limits = {name: d.bus_dma_limit for name, d in devices.items() if d.bus_dma_limit is not None}
    maybe = pl.UInt64
    known = pl.col("device").replace_strict(masks, default=None, return_dtype=maybe)
    # swiotlb_bounced tells the mask of each streaming map that follows it on the same device.
    traced = pl.col("mask").forward_fill().over("device")
    limit = pl.col("device").replace_strict(limits, default=None, return_dtype=maybe)
    streaming = pl.col("event") == "dma_map"
    own = pl.col("mask")
    rows = recording.of_kind(*MAPS, "swiotlb_bounced").with_columns(
        limit=pl.min_horizontal(
            pl.when(streaming).then(traced.fill_null(known)).otherwise(own.fill_null(known)), limit
        )
    )
    return rows.filter(pl.col("event").is_in(MAPS) & pl.col("address").is_not_null() & succeeded)


def _whole_trace(recording: Recording) -> str:
    lost = recording.platform.lost_events
    return f"the trace lost {lost} events" if lost else ""


@rule(
    "M7",
    "Every streaming mapping is unmapped: only then is bounced data copied back.",
    source="Linux 7.2 Documentation/core-api/dma-api.rst; kernel/dma/swiotlb.c:"
    "swiotlb_tbl_unmap_single copies back for FROM_DEVICE",
    needs=[_whole_trace, any_event("dma_map"), any_event("dma_unmap")],
)
def maps_are_unmapped(recording: Recording) -> Iterator[Finding]:
    """Which buffers were mapped again and again without ever being unmapped?

    A mapping that is live when a trace ends is no leak in itself (a receive queue keeps its
    buffers mapped). It is one when the same buffer was mapped for reading again and again after
    it, and none of these mappings was ever unmapped.
    """
    rows = (
        recording.of_kind("dma_map", "dma_unmap")
        .with_row_index("n")
        .filter(pl.col("address").is_not_null() & succeeded)
    )
    # The k-th unmap of an address on a device ends the latest map before it: a map is live at
    # the end if no unmap of its address follows.
    last_unmap = (
        rows.filter(pl.col("event") == "dma_unmap")
        .group_by("device", "address")
        .agg(last=pl.col("n").max())
    )
    live = (
        rows.filter(
            (pl.col("event") == "dma_map")
            & pl.col("direction").is_in(["FROM_DEVICE", "BIDIRECTIONAL"])
            & pl.col("phys").is_not_null()
        )
        .join(last_unmap, on=["device", "address"], how="left", nulls_equal=True)
        .filter(pl.col("last").is_null() | (pl.col("last") < pl.col("n")))
        .sort("n")
    )
    # An address that is mapped again was unmapped in between, while nobody traced.
    remapped = (
        rows.filter(pl.col("event") == "dma_map").group_by("address").agg(latest=pl.col("n").max())
    )
    live = live.join(remapped, on="address").filter(pl.col("n") == pl.col("latest")).sort("n")
    if recording.has("dma_unmap_sg"):
        # Scatterlists are unmapped by buffer, not by DMA address.
        by_buffer = (
            recording.frame.with_row_index("m")
            .filter(pl.col("event") == "dma_unmap_sg")
            .group_by("device", "phys")
            .agg(sg=pl.col("m").len())
        )
        live = live.join(by_buffer, on=["device", "phys"], how="anti", nulls_equal=True)
    again = live.filter(pl.len().over("device", "phys", "size") >= LEAK)
    # Unmaps without their map show that lines are missing, so unmaps may be missing as well.
    unmatched = rows.filter(pl.col("event") == "dma_unmap").join(
        rows.filter(pl.col("event") == "dma_map"),
        on=["device", "address"],
        how="anti",
        nulls_equal=True,
    )
    damaged = set(unmatched["device"].to_list())
    for device, group in by_device(again):
        first = group.row(0, named=True)
        certain = device not in damaged and not recording.platform.unparsed
        yield Finding(
            "M7",
            "violation" if certain else "warning",
            "guest",
            "the driver maps the same buffer again and again and never unmaps it: what the device "
            "wrote is never copied back from the bounce buffer",
            device=device,
            count=len(group),
            seen=f"{len(group)} maps, the first of phys_addr={address(first['phys'])}, "
            "without an unmap",
            expected="a dma_unmap_* with the same address for each"
            + ("" if certain else " (the trace has gaps: some unmaps may be missing from it)"),
            evidence=evidence(group),
            mend="update the driver"
            + (
                " (NVMe with SGLs: commit a54afbc8a213)"
                if _driver(recording, device) == "nvme"
                else ""
            ),
        )


LEAK = 3
"""How many maps of one buffer, none ever unmapped, are a leak beyond doubt?"""


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
    failed = recording.of_kind(*MAPS).filter(
        (pl.col("address") == DMA_MAPPING_ERROR) | (pl.col("status") == "error")
    )
    space = platform.space
    wide = set(wide_ipa_rows(recording)["device"].to_list())
    full = recording.of_kind("swiotlb_full")
    masks = recording.of_kind("swiotlb_bounced", *MAPS).filter(pl.col("mask").is_not_null())
    for device, group in by_device(failed):
        facts = platform.devices.get(device or "")
        traced = masks.filter(pl.col("device").eq_missing(pl.lit(device)))["mask"].min()
        mask = traced if isinstance(traced, int) else (facts.dma_mask if facts else None)
        shown = evidence(group, 2)
        if device in wide:
            why, mend = "because of the wrong bit in their addresses (H7)", "see H7"
        elif mask is not None and platform.realm and space and space.in_par(mask):
            why = f"because the device's mask 0x{mask:x} cannot carry {shared_bit_name(platform)}"
            mend = "give the Realm an IPA space that fits the device's mask, or do not assign it"
        elif not (lines := full.filter(pl.col("device").eq_missing(pl.lit(device)))).is_empty():
            why, mend = "because the swiotlb pool was full", "see S1"
            row = lines.row(0, named=True)
            shown.append(Evidence(str(row["detail"]), row["source"] or "", row["line"], "guest"))
        else:
            why, mend = "and nothing recorded tells why", "look for swiotlb lines in the kernel log"
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
            mend=mend,
        )
