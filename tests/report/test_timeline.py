"""What happened when: every event is counted once, in its lane and at its place."""

from __future__ import annotations

import dataclasses

import pytest

import topbit
from topbit.events import Event
from topbit.recording import DeviceFacts, Platform, Recording
from topbit.report.timeline import (
    CONVERTED,
    MAPPED,
    OTHER,
    OTHERS,
    REACHED,
    REFUSED,
    TABLES,
    UNMAPPED,
    positions,
    timeline,
)  # fmt: skip

S = 1 << 40
PLATFORM = Platform(
    realm=True, ipa_bits=41, pools=[(0x10000, 0x10000)], devices={"nvme0": DeviceFacts(sid=8)}
)


def mapped(offset: int, size: int, kind: str = "dma_map", **more: object) -> Event:
    event = Event("guest", kind, device="nvme0", address=S | 0x10000 + offset, size=size)
    return dataclasses.replace(event, **more)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("event", "sort"),
    [
        (mapped(0, 1), MAPPED),
        (mapped(0, 1, "dma_alloc"), MAPPED),
        (mapped(0, 1, "dma_free"), UNMAPPED),
        (Event("device", "access", device="nvme0", status="ok"), REACHED),
        (Event("device", "access", device="nvme0", status="F_TRANSLATION"), REFUSED),
        (Event("vmm", "vmm_dma", device="nvme0", status="private"), REFUSED),
        (Event("smmu", "smmu_event", sid=8), REFUSED),
        (Event("host", "trouble", sid=8, status="dmar"), REFUSED),
        (Event("host", "trouble", sid=8, status="timeout"), OTHER),
        (Event("vmm", "convert", device="nvme0", phys=1, status="shared"), CONVERTED),
        (Event("vmm", "iommu_unmap", sid=8), TABLES),
        (mapped(0, 1, "dma_sync"), OTHER),
    ],
)
def test_of_which_sort_an_event_is_and_whose_lane(event: Event, sort: str) -> None:
    (lane,) = timeline(Recording.of_events(PLATFORM, [event]), 3, 4).lanes
    assert (lane.name, lane.is_device) == ("nvme0", True)
    assert {sort: counts.tolist() for sort, counts in lane.counts.items()} == {sort: [1, 0, 0]}


def test_without_a_device_it_is_the_agents_lane_and_an_unknown_stream_has_its_own() -> None:
    events = [Event("vmm", "convert", phys=1), Event("smmu", "smmu_event", sid=0x10)]
    lanes = timeline(Recording.of_events(PLATFORM, events), 2, 4).lanes
    assert [(lane.name, lane.is_device) for lane in lanes] == [
        ("StreamID 0x10", True), ("vmm", False),
    ]  # fmt: skip


@pytest.mark.parametrize("places", [1, 7, 1000])
@pytest.mark.parametrize("most", [0, 1, 9])
def test_the_counts_add_up(places: int, most: int) -> None:
    recording = topbit.run("seed", settings={"vmm.smmu_map": "protected"})
    made = timeline(recording, places, most)
    assert made.events == len(recording.frame) == sum(lane.events for lane in made.lanes)
    devices = [lane.name for lane in made.lanes if lane.is_device]
    assert devices[most:] == ([OTHERS] if most < 4 else [])
    faults = sum(lane.total(REFUSED) for lane in made.lanes)
    assert faults == 32


def test_places_are_by_the_clock_where_most_events_tell_a_time() -> None:
    events = [mapped(0, 1, time=time) for time in (None, 1.0, 1.9, None, 3.0)]
    recording = Recording.of_events(PLATFORM, events)
    clock, at = positions(recording)
    assert (clock, at.tolist()) == (True, [1.0, 1.0, 1.9, 1.9, 3.0])
    made = timeline(recording, 2, 4)
    assert (made.start, made.end) == (1.0, 3.0)
    assert made.lanes[0].counts[MAPPED].tolist() == [4, 1]


def test_places_are_by_order_where_few_events_tell_a_time() -> None:
    recording = Recording.of_events(PLATFORM, [mapped(0, 1, time=t) for t in (5.0, None)])
    clock, at = positions(recording)
    assert (clock, at.tolist()) == (False, [0.0, 1.0])


def test_the_pool_is_what_was_mapped_of_it_at_most() -> None:
    events = [
        mapped(0, 100),
        mapped(100, 50),
        mapped(100, 50, "dma_unmap"),
        mapped(0, 7, "dma_sync"),
        mapped(0x10000, 4096),  # beyond the pool
        mapped(0, 100, "dma_unmap"),
        mapped(0, 10, status="error"),
        mapped(0, 5),
    ]
    (lane,) = timeline(Recording.of_events(PLATFORM, events), 4, 4).lanes
    assert lane.pool.tolist() == [150, 150, 100, 5]


def test_what_was_mapped_before_the_recording_began_is_known_by_its_unmap() -> None:
    events = [mapped(0, 10), mapped(50, 100, "dma_unmap"), mapped(0, 10, "dma_unmap")]
    (lane,) = timeline(Recording.of_events(PLATFORM, events), 3, 4).lanes
    assert lane.pool.tolist() == [110, 110, 10]


def test_an_empty_recording_has_no_lanes() -> None:
    made = timeline(Recording.of_events(Platform(), []), 5, 3)
    assert (made.lanes, made.events, made.places) == ((), 0, 5)
