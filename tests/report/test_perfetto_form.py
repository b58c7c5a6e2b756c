"""The trace, as Perfetto's own package reads it."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from perfetto.protos.perfetto.trace.perfetto_trace_pb2 import (  # type: ignore[import-untyped]
    Trace,
    TrackEvent,
)

from report_kinds import KINDS, LOGS
from report_made import boot
from topbit.errors import InputError
from topbit.events import Event
from topbit.report.perfetto_form import render, render_error


def read(document: bytes) -> tuple[dict[int, Any], list[Any]]:
    """Which tracks are described, and which packets are events?"""
    trace = Trace.FromString(document)
    tracks = {
        packet.track_descriptor.uuid: packet.track_descriptor
        for packet in trace.packet
        if packet.HasField("track_descriptor")
    }
    events = [packet for packet in trace.packet if packet.HasField("track_event")]
    assert len(tracks) + len(events) == len(trace.packet)
    return tracks, events


@pytest.mark.parametrize("kind", KINDS)
def test_every_event_and_finding_is_an_instant_on_a_described_track(kind: str) -> None:
    tracks, packets = read(render(KINDS[kind]))
    for track in tracks.values():
        assert track.parent_uuid == 0 or track.parent_uuid in tracks
        assert track.name
    instants = [p for p in packets if p.track_event.type == TrackEvent.TYPE_INSTANT]
    assert all(packet.track_event.track_uuid in tracks for packet in packets)
    assert all(packet.trusted_packet_sequence_id == 1 for packet in packets)
    findings = [finding for boot in KINDS[kind] for finding in boot.checked.findings]
    names = Counter(tracks[p.track_event.track_uuid].name for p in instants)
    assert names["findings"] == len(findings)
    on_devices = sum(finding.device is not None for finding in findings)
    events = sum(len(boot.recording.frame) for boot in KINDS[kind])
    assert len(instants) == 1 + events + len(findings) + on_devices


def test_devices_have_tracks_and_a_counter_of_the_pool() -> None:
    tracks, packets = read(render(KINDS["violation"]))
    names = {uuid: track.name for uuid, track in tracks.items()}
    assert set(names.values()) == {"verdict", "boot", "nvme0", "nvme0: pool", "findings"}
    told = [(names[p.track_event.track_uuid], p.timestamp, p.track_event) for p in packets]
    events = [(time, e.name, e.categories[0]) for name, time, e in told if name == "nvme0"]
    assert events == [
        (0, "dma_map", "maps"),
        (1000, "smmu_event", "faults"),
        (2000, "dma_unmap", "unmaps"),
        (0, "F1 the VMM did not map the unprotected alias", "violation"),
    ]
    pool = [(time, e.counter_value) for name, time, e in told if name == "nvme0: pool"]
    assert pool == [(0, 64), (2000, 0)]
    (counter,) = [track.counter for track in tracks.values() if track.HasField("counter")]
    assert counter.unit_name == "bytes"


def test_a_finding_tells_all_that_it_has() -> None:
    tracks, packets = read(render(KINDS["violation"]))
    (first, *_) = [
        packet.track_event
        for packet in packets
        if tracks[packet.track_event.track_uuid].name == "findings"
    ]
    told = {each.name: each.string_value for each in first.debug_annotations}
    assert list(told) == ["agent", "device", "count", "seen", "expected", "hint", "source"]
    assert (told["agent"], told["count"], told["hint"]) == ("vmm", "16", "map it")


def test_boots_are_groups_of_their_own() -> None:
    tracks, _ = read(render(KINDS["two boots"]))
    groups = {uuid: track.name for uuid, track in tracks.items() if not track.parent_uuid}
    assert sorted(groups.values()) == ["boot-1", "boot-2", "verdict"]
    devices = [track for track in tracks.values() if track.name == "nvme0"]
    assert {groups[track.parent_uuid] for track in devices} == {"boot-1", "boot-2"}


@pytest.mark.parametrize(
    ("kind", "time", "said"),
    [
        ("violation", 0, "VIOLATION: the vmm broke F1"),
        ("inconclusive", 0, "INCONCLUSIVE: no violation, but 3 signs of trouble judged by no rule"),
        ("empty", 0, "OK: no violation"),
    ],
)
def test_the_verdict_is_said(kind: str, time: int, said: str) -> None:
    tracks, packets = read(render(KINDS[kind]))
    (uuid,) = [uuid for uuid, track in tracks.items() if track.name == "verdict"]
    (verdict,) = [packet for packet in packets if packet.track_event.track_uuid == uuid]
    assert verdict.track_event.name.lower().startswith(said.lower())
    assert verdict.timestamp == time


def test_the_verdict_stands_at_the_first_event() -> None:
    late = [Event("guest", "dma_map", device="nvme0", time=time) for time in (5.0, 6.0)]
    tracks, packets = read(render([boot(LOGS, recorded=late)]))
    times = {tracks[p.track_event.track_uuid].name: p.timestamp for p in reversed(packets)}
    assert times == {"verdict": 5_000_000_000, "nvme0": 5_000_000_000}


def test_an_error_is_one_instant() -> None:
    _, (packet,) = read(render_error(InputError("is empty", where="a")))
    assert packet.track_event.name == "is empty"
    assert packet.track_event.debug_annotations[0].string_value == "a: is empty"
