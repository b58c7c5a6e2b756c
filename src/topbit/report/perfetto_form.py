"""What is the recording as a trace for ui.perfetto.dev: devices as tracks, findings as instants?

Each boot is a group of tracks. A device has a track with an instant for each event of it and for
each finding on it, and a counter of how much of the bounce pools it has mapped; what concerns no
device stands on the track of the agent that did it, and the verdict on a track of its own. Where
the recording has no clock, an event is a microsecond.

How a packet is written: `topbit.report.perfetto_packets`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from topbit.errors import TopbitError, printable
from topbit.report.boot import BootReport
from topbit.report.cases import boot_name
from topbit.report.evidence_events import events_of, key_of
from topbit.report.packets import U64
from topbit.report.perfetto_events import packets_of
from topbit.report.perfetto_packets import Tracks, instant
from topbit.report.sentence import verdict_sentence
from topbit.report.timeline import positions
from topbit.rules.finding import Finding, verdict_of

FINDINGS, VERDICT = "findings", "verdict"
NANOSECONDS = {True: 1e9, False: 1e3}
"""A unit of the axis: a second by the clock, or an event."""


def render(boots: Sequence[BootReport]) -> bytes:
    """What is the trace?"""
    tracks = Tracks()
    times = [_times(boot) for boot in boots]
    first = min((int(of_boot.min()) for of_boot in times if len(of_boot)), default=0)
    verdict = verdict_of(boot.checked for boot in boots)
    packets = [instant(tracks.of(VERDICT), first, printable(verdict_sentence(boots)), verdict, {})]
    for place, (boot, of_boot) in enumerate(zip(boots, times, strict=True), 1):
        name = boot_name(boots, place)
        packets.append(packets_of(boot.recording, name, tracks, of_boot))
        packets += _findings(boot, name, tracks, of_boot)
    return b"".join(tracks.descriptors + packets)


def render_error(error: TopbitError) -> bytes:
    """What is the trace where there is no report: one instant that tells why?"""
    tracks = Tracks()
    packet = instant(tracks.of("topbit"), 0, printable(error.what), "error", {"why": str(error)})
    return b"".join([*tracks.descriptors, packet])


def _times(boot: BootReport) -> U64:
    """At which nanosecond does each event stand?"""
    clock, at = positions(boot.recording)
    times: U64 = (at * NANOSECONDS[clock]).round().astype(np.uint64)
    return times


def _findings(boot: BootReport, name: str, tracks: Tracks, times: U64) -> Iterator[bytes]:
    """Which instants are the findings? At the first event that shows it, else at the beginning."""
    findings = boot.checked.findings
    events = events_of(boot.recording, (piece for each in findings for piece in each.evidence))
    start = int(times.min()) if len(times) else 0
    for finding in findings:
        numbers = [events[key_of(p)] for p in finding.evidence if key_of(p) in events]
        time = int(times[min(numbers)]) if numbers else start
        title = printable(f"{finding.rule} {finding.message}")
        told = _of_finding(finding)
        yield instant(tracks.of(name, FINDINGS), time, title, finding.severity, told)
        if finding.device:
            yield instant(tracks.of(name, finding.device), time, title, finding.severity, told)


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
