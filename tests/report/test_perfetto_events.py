"""Events that are written together stand in the trace as if they were written one by one."""

from __future__ import annotations

import random

import numpy as np
import pytest
from perfetto.protos.perfetto.trace.perfetto_trace_pb2 import Trace  # type: ignore[import-untyped]

from rule_events import (
    FAILED,
    HOST,
    PAGE,
    POOL,
    REALM,
    S,
    access,
    bounced,
    dma_map,
    dma_unmap,
    helper,
    iommu_map,
    set_memory,
    smmu_event,
    trouble,
)
from topbit.events import Event
from topbit.recording import Recording
from topbit.report import perfetto_events as module
from topbit.report.perfetto_events import packets_of
from topbit.report.perfetto_packets import Tracks
from topbit.rules.wording import describe

HUGE = (1 << 63) - 1


def written(events: list[Event], times: list[int]) -> tuple[bytes, list[bytes]]:
    tracks = Tracks()
    recording = Recording.of_events(REALM, events)
    packets = packets_of(recording, "boot", tracks, np.array(times, np.uint64))
    return packets, tracks.descriptors


def many() -> list[Event]:
    """Events of many forms, several of each."""
    rng = random.Random(3)
    made: list[Event] = []
    for number in range(300):
        slot = (POOL | S) + rng.randrange(64) * 0x800
        made += rng.choice(
            [
                [bounced(rng.randrange(1 << 32)), dma_map(slot, phys=rng.randrange(1 << 34))],
                [dma_map(slot, "nic", size=rng.choice([9, 10, 99, 1500, None]))],
                [dma_unmap(slot, size=rng.choice([64, 100]))],
                [dma_map(FAILED, status="error", phys=None)],
                [smmu_event(slot), access(slot)],
                [iommu_map(slot, HOST + number * PAGE), set_memory(POOL, "shared")],
                [trouble("leaked", detail=f"line {number % 3}"), trouble("leaked", device=None)],
                [helper("phys_to_dma", 0x4000_0000, slot, "disk")],
                [Event("guest", "step", status="begin", detail=f"step {number % 2}")],
            ]
        )
    for line, event in enumerate(made):
        if line % 3:
            event.source, event.line = rng.choice(["a", "b\n"]), rng.choice([9, line, None])
    return made


def test_together_as_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    events = many()
    times = [at * 10 ** (at % 9) for at in range(len(events))]
    together = written(events, times)
    monkeypatch.setattr(module, "FEWEST", len(events) + 1)
    assert together == written(events, times)
    packets = Trace.FromString(together[0]).packet
    instants = [p for p in packets if p.track_event.type == 3]
    assert [packet.timestamp for packet in instants] == times
    rows = Recording.of_events(REALM, events).frame.iter_rows(named=True)
    told = [packet.track_event.debug_annotations[0].string_value for packet in instants]
    assert told == [describe(row) for row in rows]


def test_tracks_are_described_as_they_come() -> None:
    events = [dma_unmap(device="nic", address=S), dma_map(), dma_map(device="nic")]
    _, descriptors = written(events, [0, 1, 2])
    names = [p.track_descriptor.name for p in Trace.FromString(b"".join(descriptors)).packet]
    assert names == ["boot", "nic", "disk", "disk: pool", "nic: pool"]


@pytest.mark.parametrize("count", [1, 20])
@pytest.mark.parametrize(
    ("events", "levels"),
    [
        ([dma_map(), dma_map(), dma_unmap()], [64, 128, 64]),
        ([dma_unmap(), dma_map(), dma_unmap(size=100), dma_map()], [0, 64, 0, 64]),
        ([dma_map(), dma_map(device="nic"), dma_unmap()], [64, 64, 0]),
        ([dma_map(size=HUGE)] * 3, [HUGE, 2 * HUGE, (1 << 64) - 1]),
    ],
)
def test_the_level_of_the_pool_is_never_below_nothing(
    events: list[Event], levels: list[int], count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "FEWEST", count)
    packets, _ = written(events, list(range(len(events))))
    told = [p for p in Trace.FromString(packets).packet if p.track_event.type == 4]
    assert [p.track_event.counter_value % (1 << 64) for p in told] == levels
    assert [p.timestamp for p in told] == list(range(len(events)))
