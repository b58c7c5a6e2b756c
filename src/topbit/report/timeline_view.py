"""How is the timeline laid out on a page: which lanes, paths and pins?"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from topbit.report.evidence_events import Key, key_of
from topbit.report.map_view import Pin, Shape, amount, gathered
from topbit.report.svg import area, bars, ticks
from topbit.report.timeline import (
    CONVERTED,
    MAPPED,
    OTHER,
    REFUSED,
    SORTS,
    TABLES,
    Floats,
    Lane,
    Timeline,
)
from topbit.rules.finding import Finding

PLACES = 240
MOST_DEVICES = 10
TICKS = 5


@dataclass(frozen=True, slots=True)
class LaneView:
    """How is a lane shown?

    Attributes:
        name: the device's, or the agent's.
        is_device: it is a device's.
        events: how many there are.
        counts: sort and number, those that are there; they add up.
        pool: the most that was mapped of the bounce pools at one time; empty for nothing.
        shapes: what is drawn.
    """

    name: str
    is_device: bool
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

    @property
    def styles(self) -> frozenset[str]:
        """Which styles are drawn, and need a legend?"""
        return frozenset(shape.style for lane in self.lanes for shape in lane.shapes)


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
    digits = _digits(width / (TICKS - 1)) if made.seconds else 0
    axis = tuple(f"{made.start + width * n / (TICKS - 1):,.{digits}f}" for n in steps)
    placed = []
    for number, finding in enumerate(findings, 1):
        numbers = [events[key_of(p)] for p in finding.evidence if key_of(p) in events]
        if numbers:
            placed.append((100 * (at[min(numbers)] - made.start) / (width or 1.0), number))
    unit = "seconds, by the recording's clock" if made.seconds else "events, in their order"
    return TimelineView(lanes, axis, unit, gathered(sorted(placed)), made.events)


def _digits(step: float) -> int:
    """How many decimals tell numbers apart that are so far from each other? Three at least."""
    return min(9, max(3, 1 - math.floor(math.log10(step)))) if step else 3


def _lane(lane: Lane) -> LaneView:
    """How is a lane drawn? Its tallest bar is its own: lanes differ by a thousand."""
    peak = max(int(lane.counts[sort].max()) for sort in lane.counts)
    most = int(lane.pool.max()) if len(lane.pool) else 0
    shapes = [Shape("pool-use", area(lane.pool, most) if most else "")]
    for sort, style in ((MAPPED, "maps"), (REFUSED, "faults")):
        if sort in lane.counts:
            shapes.append(Shape(style, bars(lane.counts[sort], peak)))
    for sort, style in ((OTHER, "others"), (CONVERTED, "conversions"), (TABLES, "tables")):
        if sort in lane.counts:
            shapes.append(Shape(style, ticks(lane.counts[sort], 19 if sort == OTHER else 14)))
    counts = tuple((sort, lane.total(sort)) for sort in SORTS if sort in lane.counts)
    pool = amount(most) if most else ""
    drawn = tuple(shape for shape in shapes if shape.path)
    return LaneView(lane.name, lane.is_device, lane.events, counts, pool, drawn)
