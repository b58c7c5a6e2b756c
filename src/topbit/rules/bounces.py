"""M: is each bounced mapping what the bounce pool can have given?"""

from __future__ import annotations

from collections.abc import Iterator

import polars as pl

from topbit.recording import Recording
from topbit.recording.recording import NUMBER
from topbit.replay.bounce_pairs import unlike_pairs
from topbit.replay.columns import canonical, devices_where, given, in_ranges, shared_mappings
from topbit.rules.finding import Finding
from topbit.rules.gaps import is_out_of_order
from topbit.rules.pool_messages import LARGEST
from topbit.rules.releases import policy_of
from topbit.rules.rule import a_guest_of_shared_dma, a_realm, any_event, rule
from topbit.rules.wording import address, by_device, evidence

MAP, BOUNCED = "dma_map", "swiotlb_bounced"
SWIOTLB = "Linux 7.2 kernel/dma/swiotlb.c"
KEEPS_OFFSET = {"nvme": 0xFFF}
"""Driver -> the address bits that it needs kept (dma_set_min_align_mask(): Linux 7.2
drivers/nvme/host/pci.c, whose PRPs have the offset within a page of 4 KiB)."""
MOST_COMPARED = 100_000
"""Mappings whose order with their unmaps M6 looks at, address by address: a tenth of a second."""


def _was_bounced(recording: Recording) -> pl.Expr:
    """Expression: does a streaming map lead to another place than the driver's buffer?"""
    platform = recording.platform
    elsewhere = (canonical(platform) != pl.col("phys")).fill_null(False)
    if platform.pools:
        return elsewhere & in_ranges(canonical(platform), platform.pools)
    return elsewhere


@rule(
    "M3",
    "No bounced mapping is larger than the 256 KiB that a pool gives at once.",
    source=f"{SWIOTLB}:swiotlb_max_mapping_size (IO_TLB_SEGSIZE slots of 2 KiB), "
    "include/linux/swiotlb.h",
    needs=[a_guest_of_shared_dma, any_event(MAP)],
)
def bounces_fit_a_segment(recording: Recording) -> Iterator[Finding]:
    """Which bounced mappings are larger than any run of slots?"""
    rows = shared_mappings(
        recording, MAP, where=(pl.col("size") > LARGEST) & _was_bounced(recording)
    )
    for device, group in by_device(rows):
        first = group.row(0, named=True)
        yield Finding(
            "M3",
            "violation",
            "guest",
            f"a bounced mapping is larger than the {LARGEST >> 10} KiB of a pool's segment: the "
            "device reaches beyond its slots",
            device=device,
            count=len(group),
            seen=f"dma_addr={address(first['address'])} size={first['size']}",
            expected="DMA_MAPPING_ERROR for it",
            evidence=evidence(group),
            hint="the driver must keep to dma_max_mapping_size(); look at what mapped it",
        )


def _a_driver_that_needs_it(recording: Recording) -> str:
    if any(devices_where(recording.platform, driver=driver) for driver in KEEPS_OFFSET):
        return ""
    return "no device is known whose driver needs the low bits of its buffers kept"


@rule(
    "M5",
    "Bouncing keeps the low bits of a buffer's address that its driver needs.",
    source=f"{SWIOTLB}:swiotlb_find_slots, :swiotlb_align_offset (dma_get_min_align_mask())",
    needs=[a_guest_of_shared_dma, _a_driver_that_needs_it, any_event(MAP)],
)
def low_bits_are_kept(recording: Recording) -> Iterator[Finding]:
    """Which bounced mappings lost the offset that the device counts on?"""
    for driver, mask in KEEPS_OFFSET.items():
        names = devices_where(recording.platform, driver=driver)
        if not names:
            continue
        differs = ((pl.col("address") ^ pl.col("phys")) & mask) != 0
        wanted = pl.col("device").is_in(names) & differs & _was_bounced(recording)
        for device, group in by_device(shared_mappings(recording, MAP, where=wanted)):
            first = group.row(0, named=True)
            yield Finding(
                "M5",
                "violation",
                "guest",
                f"bouncing lost the low bits of the buffer's address, which {driver} needs: the "
                "device takes the offset from them and transfers to the wrong place",
                device=device,
                count=len(group),
                seen=f"dma_addr={address(first['address'])} for phys_addr={address(first['phys'])}",
                expected=f"the same bits under the mask 0x{mask:x} in both",
                evidence=evidence(group),
                hint="use a kernel whose driver sets dma_set_min_align_mask() and whose swiotlb "
                "keeps to it (5.12 and later; alignment mended again in 6.9)",
            )


@rule(
    "M8",
    "Each bounce belongs to the mapping that follows it, and is forced where the pool is.",
    source=f"{SWIOTLB}:swiotlb_map (trace event swiotlb_bounced, dev_addr = phys_to_dma of the "
    "buffer); arch/arm64/mm/init.c:arch_mm_preinit (SWIOTLB_FORCE up to 7.2)",
    needs=[a_guest_of_shared_dma, any_event(BOUNCED), any_event(MAP)],
)
def bounces_belong_to_maps(recording: Recording) -> Iterator[Finding]:
    """Which bounces are of another buffer than the map that follows, or not forced?"""
    yield from _of_other_buffers(recording)
    yield from _unforced(recording)


def _of_other_buffers(recording: Recording) -> Iterator[Finding]:
    """Which maps follow a bounce of another buffer, neither having a counterpart anywhere?"""
    pairs = unlike_pairs(recording)
    if pairs.is_empty() or len(pairs) * 2 > recording.scan(MAP).select(pl.len()).collect().item():
        return  # of most of them: dev_addr has bits that the buffers have not, as the C bit
    pairs = pairs.filter(~pl.col("own"))
    if pairs.is_empty():
        return
    key = ["device", "buffer", "size"]
    bounces, maps = (recording.rows(pairs[which]) for which in (NUMBER, "next"))
    buffer = canonical(recording.platform, "phys")
    bounces, maps = bounces.with_columns(buffer=buffer), maps.with_columns(buffer="phys")
    paired = [
        recording.scan(kind)
        .filter(given if kind == MAP else pl.lit(True))
        .with_columns(buffer=of)
        .join(lone.lazy().select(key), on=key, how="semi")
        .select(key)
        .unique()
        .collect()
        for kind, of, lone in ((MAP, pl.col("phys"), bounces), (BOUNCED, buffer, maps))
    ]
    lone_bounces = bounces.join(paired[0], on=key, how="anti")
    odd = maps.with_columns(
        bounce=pairs[NUMBER], device_before=bounces["device"], buffer_before=bounces["buffer"]
    ).join(paired[1], on=key, how="anti")
    odd = odd.filter(
        given
        & _was_bounced(recording)
        & pl.col("device").eq_missing(pl.col("device_before"))
        & pl.col("bounce").is_in(lone_bounces[NUMBER].implode())
    )
    for device, group in by_device(odd):
        first = group.row(0, named=True)
        yield Finding(
            "M8",
            "warning",
            "guest",
            "swiotlb_bounced tells of another buffer than the map that follows it",
            device=device,
            count=len(group),
            seen=f"dev_addr={address(first['buffer_before'])} before the map of "
            f"phys_addr={address(first['phys'])}",
            expected="one and the same buffer in both events",
            evidence=evidence(group.select(recording.frame.columns)),
            hint="look at what filled the bounce buffer: the device gets another buffer's data",
        )


def _unforced(recording: Recording) -> Iterator[Finding]:
    """Which bounces of a Realm were not forced although its kernel forces all?"""
    policy = policy_of(recording.platform)
    if a_realm(recording) or policy is None or policy.capable_by_attrs or not policy.realm_guest:
        return
    rows = recording.of_kind(BOUNCED, where=pl.col("status") == "NORMAL")
    for device, group in by_device(rows):
        yield Finding(
            "M8",
            "warning",
            "guest",
            "the Realm's pool does not force bouncing (NORMAL): what needs no bounce for its "
            "address alone would reach private memory",
            device=device,
            count=len(group),
            seen="swiotlb_bounced … NORMAL",
            expected=f"FORCE: up to Linux 7.2 a Realm's pool has SWIOTLB_FORCE (this is {policy})",
            evidence=evidence(group, 2),
            hint="look at the guest's command line (swiotlb=noforce) and at what created the pool",
        )


@rule(
    "M11",
    "Drivers leave the attributes of shared memory to the DMA API.",
    source="Linux 7.3 kernel/dma/mapping.c:dma_alloc_attrs (__DMA_ATTR_ALLOC_CC_SHARED is its own)",
    needs=[any_event(MAP)],
)
def internal_attributes_are_not_passed(recording: Recording) -> Iterator[Finding]:
    """Which mappings carry an attribute that only an allocation inside of the DMA API has?"""
    carries = pl.col("attrs").str.contains("ALLOC_CC_SHARED", literal=True)
    for device, group in by_device(recording.of_kind(MAP, where=carries)):
        yield Finding(
            "M11",
            "violation",
            "guest",
            "the driver passes ALLOC_CC_SHARED, which is the DMA API's own",
            device=device,
            count=len(group),
            seen=f"attrs={group['attrs'][0]}",
            expected="DMA_ATTR_CC_SHARED for memory that is shared already, or nothing",
            evidence=evidence(group),
            hint="pass DMA_ATTR_CC_SHARED (Linux 7.2 and later)",
        )


def _a_trace_of_all(recording: Recording) -> str:
    if recording.platform.lost_events or recording.platform.unparsed:
        return "the trace has gaps, in which an unmap may have been"
    if is_out_of_order(recording):
        return "the lines of the trace are not in the order of their times"
    return ""


def _few_enough(recording: Recording) -> str:
    if recording.scan(MAP).select(pl.len()).collect().item() <= MOST_COMPARED:
        return ""
    return f"there are more mappings than are compared one by one ({MOST_COMPARED})"


@rule(
    "M6",
    "No two live mappings share a slot of the bounce pool.",
    source=f"{SWIOTLB}:swiotlb_search_pool_area; CVE-2024-35814 (double allocation, 6.9)",
    needs=[
        a_guest_of_shared_dma,
        _a_trace_of_all,
        any_event(MAP),
        any_event("dma_unmap"),
        _few_enough,
    ],
)
def slots_are_given_once(recording: Recording) -> Iterator[Finding]:
    """Which address of the pool was given out twice, and then unmapped twice?

    An address that is mapped again without an unmap shows gaps of the trace, as a filter leaves
    them. If both mappings were ended after the second began, both were live.
    """
    order = (
        recording.scan(MAP, "dma_unmap")
        .filter(given)
        .select(NUMBER, "address", mapped=pl.col("event") == MAP)
        .sort("address", NUMBER)
        .collect()
    )
    near = {step: pl.col("mapped").shift(step) for step in (1, -1, -2)}
    one_address = (pl.col("address").shift(1) == pl.col("address")) & (
        pl.col("address").shift(-2) == pl.col("address")
    )
    twice = order.filter(pl.col("mapped") & near[1] & ~near[-1] & ~near[-2] & one_address)
    if twice.is_empty():
        return
    theirs = order.filter(pl.col("address").is_in(twice["address"].implode()))
    even = theirs.group_by("address").agg(pl.col("mapped").mean()).filter(pl.col("mapped") == 0.5)
    twice = twice.filter(pl.col("address").is_in(even["address"].implode()))
    rows = recording.rows(twice[NUMBER]).filter(_was_bounced(recording))
    for device, group in by_device(rows.sort(NUMBER)):
        first = group.row(0, named=True)
        yield Finding(
            "M6",
            "violation",
            "guest",
            "a slot of the bounce pool was given to two mappings at one time",
            device=device,
            count=len(group),
            seen=f"dma_addr={address(first['address'])} was mapped again while it was mapped, and "
            "both were unmapped later",
            expected="another slot for the second mapping",
            evidence=evidence(group),
            hint="use Linux 6.9 or later, or a stable kernel with CVE-2024-35814 mended",
        )


@rule(
    "M10",
    "The bounce pool stays shared as long as it is used.",
    source="Linux 7.3 kernel/dma/swiotlb.c:rmem_swiotlb_device_init, a7139dbbb1c6 (freeing from a "
    "restricted pool made its pages private)",
    needs=[a_realm, any_event("set_memory", "ripas"), any_event(MAP)],
)
def the_pool_stays_shared(recording: Recording) -> Iterator[Finding]:
    """Which part of a pool did the guest make private before a mapping that leads there?"""
    platform = recording.platform
    private = (pl.col("status") == "private") & in_ranges(pl.col("phys"), platform.pools)
    for row in recording.scan("set_memory").filter(private).collect().iter_rows(named=True):
        start, end = row["phys"], row["phys"] + (row["size"] or 1)
        inside = canonical(platform).is_between(start, end - 1)
        shared_again = recording.scan("set_memory").filter(
            (pl.col(NUMBER) > row[NUMBER])
            & (pl.col("status") == "shared")
            & (pl.col("phys") < end)
            & (pl.col("phys") + pl.col("size") > start)
        )
        until = shared_again.select(pl.min(NUMBER)).collect().item()
        later = (pl.col(NUMBER) > row[NUMBER]) & (pl.col(NUMBER) < (until or 1 << 32))
        maps = recording.scan(MAP).filter(given & inside & later).collect()
        for device, group in by_device(maps):
            yield Finding(
                "M10",
                "violation",
                "guest",
                "the guest made a part of its bounce pool private and went on to bounce there",
                device=device,
                count=len(group),
                seen=f"IPA {address(start)}, {end - start} bytes, became private; then "
                f"dma_addr={address(group['address'][0])}",
                expected="a pool that stays shared",
                evidence=evidence([row, *group.head(2).iter_rows(named=True)]),
                hint="use Linux 7.3, or no restricted-dma-pool (a7139dbbb1c6)",
            )
