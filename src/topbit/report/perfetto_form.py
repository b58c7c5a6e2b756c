"""What is the recording as a trace for ui.perfetto.dev: devices as tracks, findings as instants?

Each boot is a group of tracks. A device has a track with an instant for each event of it and for
each finding on it, and a counter of how much of the bounce pools it has mapped; what concerns no
device stands on the track of the agent that did it, and the verdict on a track of its own. Where
the recording has no clock, an event is a microsecond.

Source: Perfetto protos/perfetto/trace/trace_packet.proto, track_event/track_event.proto,
track_descriptor.proto, debug_annotation.proto (v59); the numbers below are those of their fields.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import polars as pl

from topbit.errors import TopbitError, printable
from topbit.report.boot import BootReport
from topbit.report.cases import boot_name
from topbit.report.evidence_events import events_of, key_of
from topbit.report.protobuf import message, number, text
from topbit.report.sentence import verdict_sentence
from topbit.report.timeline import device_of, pool_change, positions, sort_of
from topbit.rules.finding import Finding, verdict_of
from topbit.rules.wording import describe

TRACE_PACKET = 1
TIMESTAMP, SEQUENCE, TRACK_EVENT, TRACK_DESCRIPTOR = 8, 10, 11, 60
UUID, NAME, PARENT, COUNTER, UNIT_NAME = 1, 2, 5, 8, 6
EVENT_TYPE, EVENT_TRACK, EVENT_CATEGORY, EVENT_NAME, EVENT_ANNOTATION = 9, 11, 22, 23, 4
COUNTER_VALUE = 30
INSTANT, COUNT = 3, 4
ANNOTATION_NAME, ANNOTATION_STRING = 10, 6
FINDINGS, VERDICT = "findings", "verdict"
NANOSECONDS = {True: 1e9, False: 1e3}
"""A unit of the axis: a second by the clock, or an event."""


def render(boots: Sequence[BootReport]) -> bytes:
    """What is the trace?"""
    tracks = _Tracks()
    times = [_times(boot) for boot in boots]
    first = min((time for of_boot in times for time in of_boot), default=0)
    verdict = verdict_of(boot.checked for boot in boots)
    packets = [
        _instant(tracks.of(VERDICT), first, printable(verdict_sentence(boots)), verdict, {}),
        *(
            packet
            for place, boot in enumerate(boots, 1)
            for packet in _boot(boot, boot_name(boots, place), tracks, times[place - 1])
        ),
    ]
    return b"".join(tracks.descriptors + packets)


def render_error(error: TopbitError) -> bytes:
    """What is the trace where there is no report: one instant that tells why?"""
    tracks = _Tracks()
    packet = _instant(tracks.of("topbit"), 0, printable(error.what), "error", {"why": str(error)})
    return b"".join([*tracks.descriptors, packet])


class _Tracks:
    """Which tracks are there? Each is described once, before all events."""

    def __init__(self) -> None:
        self.descriptors: list[bytes] = []
        self._known: dict[tuple[str, ...], int] = {}

    def of(self, *path: str, counter: str = "") -> int:
        """Which number has the track with this name, below those before it?"""
        if path in self._known:
            return self._known[path]
        parent = self.of(*path[:-1]) if path[1:] else 0
        self._known[path] = uuid = len(self._known) + 1
        content = number(UUID, uuid) + text(NAME, printable(path[-1]))
        if parent:
            content += number(PARENT, parent)
        if counter:
            content += message(COUNTER, text(UNIT_NAME, counter))
        self.descriptors.append(_packet(message(TRACK_DESCRIPTOR, content)))
        return uuid


def _packet(content: bytes) -> bytes:
    return message(TRACE_PACKET, content + number(SEQUENCE, 1))


def _instant(track: int, time: int, name: str, category: str, told: dict[str, str]) -> bytes:
    event = number(EVENT_TYPE, INSTANT) + number(EVENT_TRACK, track)
    event += text(EVENT_CATEGORY, category) + text(EVENT_NAME, name)
    for key, value in told.items():
        annotation = text(ANNOTATION_NAME, key) + text(ANNOTATION_STRING, printable(value))
        event += message(EVENT_ANNOTATION, annotation)
    return _packet(number(TIMESTAMP, time) + message(TRACK_EVENT, event))


def _counted(track: int, time: int, value: int) -> bytes:
    event = number(EVENT_TYPE, COUNT) + number(EVENT_TRACK, track) + number(COUNTER_VALUE, value)
    return _packet(number(TIMESTAMP, time) + message(TRACK_EVENT, event))


def _times(boot: BootReport) -> list[int]:
    """At which nanosecond does each event stand?"""
    clock, at = positions(boot.recording)
    times: list[int] = (at * NANOSECONDS[clock]).round().astype("uint64").tolist()
    return times


def _boot(boot: BootReport, name: str, tracks: _Tracks, times: Sequence[int]) -> Iterator[bytes]:
    recording = boot.recording
    rows = recording.frame.with_columns(
        track=pl.coalesce(device_of(recording), pl.col("agent").cast(pl.String)),
        sort=sort_of(),
        pool=pool_change(recording),
    )
    level: dict[str, int] = {}
    for row, time in zip(rows.iter_rows(named=True), times, strict=True):
        owner, change = row["track"], row["pool"]
        track = tracks.of(name, owner)
        yield _instant(track, time, row["event"], row["sort"], _told(row))
        if change:
            level[owner] = max(0, level.get(owner, 0) + change)
            yield _counted(tracks.of(name, f"{owner}: pool", counter="bytes"), time, level[owner])
    yield from _findings(boot, name, tracks, times)


def _told(row: dict[str, Any]) -> dict[str, str]:
    told = {"event": describe(row), "agent": row["agent"]}
    if row["source"]:
        told["place"] = f"{row['source']}:{row['line']}"
    return told


def _findings(
    boot: BootReport, name: str, tracks: _Tracks, times: Sequence[int]
) -> Iterator[bytes]:
    """Which instants are the findings? At the first event that shows it, else at the beginning."""
    findings = boot.checked.findings
    events = events_of(boot.recording, (piece for each in findings for piece in each.evidence))
    for finding in findings:
        numbers = [events[key_of(p)] for p in finding.evidence if key_of(p) in events]
        time = times[min(numbers)] if numbers else min(times, default=0)
        title = printable(f"{finding.rule} {finding.message}")
        told = _of_finding(finding)
        yield _instant(tracks.of(name, FINDINGS), time, title, finding.severity, told)
        if finding.device:
            yield _instant(tracks.of(name, finding.device), time, title, finding.severity, told)


def _of_finding(finding: Finding) -> dict[str, str]:
    told = {
        "agent": finding.agent,
        "device": finding.device or "",
        "count": str(finding.count),
        "seen": finding.seen,
        "expected": finding.expected,
        "hint": finding.hint,
        "source": finding.source,
    }
    return {key: value for key, value in told.items() if value}
