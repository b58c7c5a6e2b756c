"""How is the timeline laid out on a page: which lanes, paths and pins?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from topbit.report.evidence_events import Key, key_of
from topbit.report.map_view import Pin, Shape, amount, gathered
from topbit.report.svg import area, bars, ticks
from topbit.report.timeline import CONVERTED, MAPPED, REFUSED, SORTS, TABLES, Floats, Lane, Timeline
from topbit.rules.finding import Finding

PLACES = 240
MOST_DEVICES = 10
TICKS = 5


@dataclass(frozen=True, slots=True)
class LaneView:
    """How is a lane shown? `counts`: sort and number, those that are there; they add up."""

    name: str
    events: int
    counts: tuple[tuple[str, int], ...]
    pool: str
    shapes: tuple[Shape, ...]


@dataclass(frozen=True, slots=True)
class TimelineView:
    """How is the timeline shown? `axis`: what stands below it, from its beginning to its end."""

    lanes: tuple[LaneView, ...]
    axis: tuple[str, ...]
    unit: str
    pins: tuple[Pin, ...]
    events: int


def timeline_view(
    made: Timeline, at: Floats, findings: Sequence[Finding], events: dict[Key, int]
) -> TimelineView:
    """How is the timeline laid out?

    Args:
        made: the timeline, of `PLACES` places.
        at: where on its axis each event stands.
        findings: whose pins are shown; numbered from 1.
        events: which event each piece of evidence is.
    """
    lanes = tuple(map(_lane, made.lanes))
    width = made.end - made.start
    steps = range(TICKS) if width else range(1)
    axis = tuple(_told(made.start + width * n / (TICKS - 1), made.seconds) for n in steps)
    placed = []
    for number, finding in enumerate(findings, 1):
        numbers = [events[key_of(p)] for p in finding.evidence if key_of(p) in events]
        if numbers:
            placed.append((100 * (at[min(numbers)] - made.start) / (width or 1.0), number))
    unit = "seconds, by the recording's clock" if made.seconds else "events, in their order"
    return TimelineView(lanes, axis, unit, gathered(sorted(placed)), made.events)


def _told(value: float, seconds: bool) -> str:
    return f"{value:.3f}" if seconds else f"{round(value):,}"


def _lane(lane: Lane) -> LaneView:
    """How is a lane drawn? Its tallest bar is its own: lanes differ by a thousand."""
    peak = max(int(lane.counts[sort].max()) for sort in lane.counts)
    most = int(lane.pool.max()) if len(lane.pool) else 0
    shapes = [Shape("pool-use", area(lane.pool, most) if most else "")]
    for sort, style in ((MAPPED, "maps"), (REFUSED, "faults")):
        if sort in lane.counts:
            shapes.append(Shape(style, bars(lane.counts[sort], peak)))
    for sort, style in ((CONVERTED, "conversions"), (TABLES, "tables")):
        if sort in lane.counts:
            shapes.append(Shape(style, ticks(lane.counts[sort], 14)))
    counts = tuple((sort, lane.total(sort)) for sort in SORTS if sort in lane.counts)
    pool = amount(most) if most else ""
    return LaneView(lane.name, lane.events, counts, pool, tuple(s for s in shapes if s.path))
