"""One packet of the trace, as Perfetto's own package reads it."""

from __future__ import annotations

from perfetto.protos.perfetto.trace.perfetto_trace_pb2 import (  # type: ignore[import-untyped]
    Trace,
    TrackEvent,
)

from topbit.report.perfetto_packets import Tracks, counted, instant


def test_an_instant_tells_what_it_is_given() -> None:
    (packet,) = Trace.FromString(instant(3, 7, "name", "sort", {"a": "b\n", "c": ""})).packet
    event = packet.track_event
    assert (packet.timestamp, packet.trusted_packet_sequence_id) == (7, 1)
    assert (event.type, event.track_uuid) == (TrackEvent.TYPE_INSTANT, 3)
    assert (event.name, list(event.categories)) == ("name", ["sort"])
    told = [(each.name, each.string_value) for each in event.debug_annotations]
    assert told == [("a", "b\\n"), ("c", "")]


def test_a_counter_has_a_value() -> None:
    (packet,) = Trace.FromString(counted(2, 9, 1 << 40)).packet
    event = packet.track_event
    assert (packet.timestamp, event.type) == (9, TrackEvent.TYPE_COUNTER)
    assert (event.track_uuid, event.counter_value) == (2, 1 << 40)


def test_a_track_is_described_once_and_below_its_parent() -> None:
    tracks = Tracks()
    assert tracks.of("boot", "disk") == 2
    assert tracks.of("boot", "disk: pool", counter="bytes") == 3
    assert tracks.of("boot", "disk") == 2
    trace = Trace.FromString(b"".join(tracks.descriptors))
    told = [packet.track_descriptor for packet in trace.packet]
    assert [(track.uuid, track.name, track.parent_uuid) for track in told] == [
        (1, "boot", 0),
        (2, "disk", 1),
        (3, "disk: pool", 1),
    ]
    assert [track.counter.unit_name for track in told] == ["", "", "bytes"]
