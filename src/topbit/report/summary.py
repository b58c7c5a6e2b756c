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


@dataclass(frozen=True, slots=True)
class Summary:
    """How much of what was recorded?

    Attributes:
        events: rows of the event table.
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
    # A driver may free what it never got: dma_free of address 0.
    given = recording.of_kind(*ADDRESSES).filter((pl.col("address") != 0) & succeeded)
    maps = recording.of_kind("dma_map")
    good = maps.filter(pl.col("address").is_not_null() & succeeded)
    bounced = good.filter(
        (canonical(platform) != pl.col("phys")) | in_ranges(canonical(platform), platform.pools)
    )
    known = platform.space is not None
    accesses = recording.of_kind("access")
    return Summary(
        events=len(recording.frame),
        dma_addresses=len(given),
        with_shared_bit=len(given.filter(with_shared_bit(platform))) if known else None,
        streaming_maps=len(good),
        bounced=len(bounced),
        failed_maps=len(maps.filter(pl.col("address") == DMA_MAPPING_ERROR)),
        smmu_events=len(recording.of_kind("smmu_event")),
        accesses=len(accesses),
        refused=len(accesses.filter(pl.col("status") != "ok")),
        transfers=transfers(recording),
        kinds=dict(kinds.rows()),
    )
