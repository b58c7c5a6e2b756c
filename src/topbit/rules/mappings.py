"""M: does the guest give devices the right addresses?"""

from __future__ import annotations

from collections.abc import Iterator

import polars as pl

from topbit.recording import Recording
from topbit.replay.columns import (
    MAPS,
    beyond_ipa_space,
    canonical,
    given,
    has_attr,
    in_ranges,
    shared_mappings,
    with_c_bit,
    with_shared_bit,
)
from topbit.replay.page_set import HIGHEST
from topbit.rules.finding import Finding
from topbit.rules.limits import refused_addresses
from topbit.rules.rule import a_guest_of_shared_dma, any_event, rule, told_the_truth
from topbit.rules.wide_ipa import wide_ipa_rows
from topbit.rules.wording import (
    address,
    bits_of,
    by_device,
    evidence,
    gives_no_alias,
    release_hint,
    shared_bit_name,
)

C_BIT = ("amd-sev", "amd-sev-es", "amd-sev-snp")
"""Schemes whose guests have a C bit, set for private memory, and never in a DMA address."""
MASK_TOLD = "swiotlb_bounced"
"""The kind of event that tells a device's mask (Linux include/trace/events/swiotlb.h)."""

COVER_LETTER = 'cover letter of "arm64: realm: Fix DMA address for devices"'


def _bit_or_ram(recording: Recording) -> str:
    platform = recording.platform
    if platform.scheme in C_BIT:
        return "" if platform.c_bit is not None else "the position of the C bit is not known"
    if platform.scheme != "arm-cca":
        return f"the scheme is {platform.scheme}, which has no shared bit in DMA addresses"
    if platform.ipa_bits is None and not platform.ram:
        return (
            "neither the width of the IPA space (--ipa-bits N) nor the place of RAM "
            "(kernel log) is known"
        )
    return ""


def _private_addresses(recording: Recording) -> Iterator[Finding]:
    """Which devices of an SEV guest were given addresses that carry the C bit: private memory?"""
    platform = recording.platform
    carries = with_c_bit(platform)
    for device, group in by_device(shared_mappings(recording, where=carries)):
        value = group["address"][0]
        yield Finding(
            "M1",
            "violation",
            "guest",
            "the guest gave the device private (encrypted) addresses for shared memory",
            device=device,
            count=len(group),
            seen=f"dma_addr={address(value)}: bit {platform.c_bit}, the C bit, set",
            expected=f"dma_addr={address(platform.without_c_bit(value))}",
            evidence=evidence(group),
            hint="look for a driver that does not use the DMA API: the C bit is one of page "
            "tables, and an SEV guest's devices reach shared memory alone",
        )


@rule(
    "M1",
    "An untrusted device's DMA address says shared: the Realm's bit, no C bit.",
    source=f"{COVER_LETTER}, patch 3/3 (7d953a062416; Linux 6.15, 6.14.2, 6.13.11)",
    needs=[a_guest_of_shared_dma, told_the_truth, _bit_or_ram, any_event(*MAPS)],
)
def shared_bit_is_set(recording: Recording) -> Iterator[Finding]:
    """Which devices were given plain (protected) addresses, or addresses beyond the IPA space?

    While ipa_bits is unknown, an address inside RAM is known to lack the bit all the same: RAM
    ends below it.
    """
    platform = recording.platform
    if platform.scheme in C_BIT:
        yield from _private_addresses(recording)
        return
    space = platform.space
    plain = ~with_shared_bit(platform)
    if space is None:
        plain = in_ranges(pl.col("address"), platform.ram)
    beyond = beyond_ipa_space(platform)
    rows = shared_mappings(recording, where=plain | beyond)
    wide = wide_ipa_rows(recording)
    if not wide.is_empty():
        rows = rows.join(wide.select("address").unique(), on="address", how="anti")
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
            hint=release_hint(platform, no_alias=gives_no_alias(recording)),
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
            hint="look for a wrong dma-ranges, or check that --ipa-bits is right",
        )


@rule(
    "M2",
    "In a confidential guest streaming DMA of private memory is bounced through shared memory.",
    source="Linux 7.2 kernel/dma/direct.h:dma_direct_map_phys, kernel/dma/swiotlb.c:swiotlb_map",
    needs=[a_guest_of_shared_dma, any_event("dma_map")],
)
def streaming_maps_bounce(recording: Recording) -> Iterator[Finding]:
    """Which maps let a device at the driver's own buffer instead of a bounce buffer?"""
    platform = recording.platform
    rows = shared_mappings(
        recording,
        "dma_map",
        where=pl.col("phys").is_not_null()
        & (canonical(platform) == pl.col("phys"))
        & ~in_ranges(pl.col("phys"), platform.pools),
    )
    # Asked last: words of every mapping take longer to look at than numbers.
    for device, group in by_device(rows.filter(~has_attr("CC_SHARED"))):
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
            hint="map through the DMA API without bypass, or share the buffer first and map it "
            "with DMA_ATTR_CC_SHARED (Linux 7.2)",
        )


@rule(
    "M4",
    "A DMA address fits what the device and its bus can carry.",
    source="Linux include/linux/dma-direct.h:dma_capable",
    needs=[any_event(*MAPS, "trouble")],
)
def addresses_fit_the_device(recording: Recording) -> Iterator[Finding]:
    """Which devices were given addresses that they cannot put on the bus, or refused them?"""
    yield from refused_addresses(recording)
    for device, group in by_device(_too_high(recording)):
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
            hint="give the Realm an IPA space that the device's mask can carry, or do not assign "
            "the device",
        )


def _too_high(recording: Recording) -> pl.DataFrame:
    """Which successful mappings end beyond the `limit` (mask and bus limit together) they had?"""
    narrow = _narrow_devices(recording)
    rows = recording.of_kind(
        *MAPS, MASK_TOLD, where=pl.col("device").is_in(narrow, nulls_equal=True)
    )
    masks, bus_limits = _facts(recording, "dma_mask"), _facts(recording, "bus_dma_limit")
    maybe = pl.UInt64
    known = pl.col("device").replace_strict(masks, default=None, return_dtype=maybe)
    # swiotlb_bounced tells the mask that its own map has: a driver may change it in between.
    bounced = pl.when(
        *(pl.col(name).shift().over("device") == pl.col(name) for name in ("phys", "size"))
    ).then(pl.col("mask").shift().over("device"))
    traced = pl.coalesce("mask", bounced)
    bus_limit = pl.col("device").replace_strict(bus_limits, default=None, return_dtype=maybe)
    mask = pl.when(pl.col("event") == "dma_map").then(traced).otherwise(pl.col("mask"))
    beyond_first = pl.col("size").fill_null(1).clip(1) - 1
    # Without a sum, which could wrap around.
    too_high = (pl.col("address") > pl.col("limit")) | (
        pl.col("limit") - pl.col("address") < beyond_first
    )
    return rows.with_columns(limit=pl.min_horizontal(mask.fill_null(known), bus_limit)).filter(
        pl.col("event").is_in(MAPS) & given & pl.col("limit").is_not_null() & too_high
    )


def _narrow_devices(recording: Recording) -> list[str | None]:
    """Which devices have any limit below the highest address that was given to any device?"""
    highest, largest = (
        recording.scan(*MAPS)
        .filter(given)
        .select(pl.max("address"), pl.max("size"))
        .collect()
        .row(0)
    )
    if highest is None:
        return []
    end = highest + max(largest or 1, 1) - 1
    low = pl.col("mask").is_not_null() if end > HIGHEST else pl.col("mask") < end
    traced = recording.scan(*MAPS, MASK_TOLD).filter(low).select("device").unique().collect()
    facts = (_facts(recording, which) for which in ("dma_mask", "bus_dma_limit"))
    known = [name for limits in facts for name, limit in limits.items() if limit < end]
    return [*traced["device"], *known]


def _facts(recording: Recording, which: str) -> dict[str, int]:
    """What is known by device of this fact, where anything is?"""
    devices = recording.platform.devices
    known = {name: getattr(device, which) for name, device in devices.items()}
    return {name: value for name, value in known.items() if value is not None}
