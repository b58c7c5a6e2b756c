"""What was recorded, in numbers: addresses, their shared bit, bounced maps, faults?"""

from __future__ import annotations

from dataclasses import dataclass, field

import polars as pl

from topbit.recording import Recording
from topbit.recording.schema import DMA_MAPPING_ERROR
from topbit.replay.columns import (
    ADDRESSES,
    canonical,
    in_ranges,
    succeeded,
    usable,
    with_shared_bit,
)
from topbit.report.transfers import Transfers, transfers
from topbit.rules.rule import a_guest_of_shared_dma


@dataclass(frozen=True, slots=True)
class Summary:
    """How much of what was recorded?

    Attributes:
        events: those that a rule could use.
        dma_addresses: DMA addresses in mappings, allocations, syncs and unmaps (failed ones not
            counted).
        with_shared_bit: how many of them have the shared bit set; None while it is unknown.
        streaming_maps: streaming mappings that succeeded.
        bounced: how many of them lead to a bounce buffer, not to the driver's own.
        failed_maps: streaming mappings that failed.
        smmu_events: SMMU event records.
        accesses, refused: device accesses, and how many of them were not let through.
        transfers: which data went between guest and devices, and how it arrived.
        kinds: how many events of each kind there are, by name.
    """

    events: int
    dma_addresses: int
    with_shared_bit: int | None
    streaming_maps: int
    bounced: int
    failed_maps: int
    smmu_events: int
    accesses: int
    refused: int
    transfers: tuple[Transfers, ...]
    kinds: dict[str, int] = field(default_factory=dict)


def summarise(recording: Recording) -> Summary:
    """What does the recording hold, in numbers?"""
    platform = recording.platform
    kinds = recording.frame.group_by("event").len().sort("event")
    recording = usable(recording)
    known = platform.space is not None
    address = pl.col("address")
    # A driver may free what it never got: dma_free of address 0.
    given = (address != 0) & succeeded
    shared = given & with_shared_bit(platform) if known else given
    addresses = _counts(recording, ADDRESSES, given=given, shared=shared)
    good = address.is_not_null() & succeeded
    elsewhere = in_ranges(canonical(platform), platform.pools)
    if not a_guest_of_shared_dma(recording) or recording.has("swiotlb_bounced"):
        # Elsewhere an IOMMU, or a bus with addresses of its own, leads to another place as well.
        elsewhere |= canonical(platform) != pl.col("phys")
    failed = address == DMA_MAPPING_ERROR
    maps = _counts(recording, ("dma_map",), good=good, bounced=good & elsewhere, failed=failed)
    accesses = _counts(
        recording, ("access",), all=pl.col("event").is_not_null(), refused=pl.col("status") != "ok"
    )
    return Summary(
        events=recording.told,
        dma_addresses=addresses["given"],
        with_shared_bit=addresses["shared"] if known else None,
        streaming_maps=maps["good"],
        bounced=maps["bounced"],
        failed_maps=maps["failed"],
        smmu_events=len(recording.of_kind("smmu_event")),
        accesses=accesses["all"],
        refused=accesses["refused"],
        transfers=transfers(recording),
        kinds=dict(kinds.rows()),
    )


def _counts(recording: Recording, kinds: tuple[str, ...], **which: pl.Expr) -> dict[str, int]:
    """For how many events of these kinds is each of these true? None of them is copied."""
    counted = [wanted.cast(pl.UInt32).sum().alias(name) for name, wanted in which.items()]
    rows = recording.scan(*kinds)
    return dict(rows.select(counted).collect(engine="streaming").row(0, named=True))
