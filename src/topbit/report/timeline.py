"""What happened when, device by device: how many events of each sort, and how much was mapped?

A recording may hold a million events; a picture has some hundred places. Every event is counted
in exactly one place of one lane, so that the counts of a timeline add up to the events.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from topbit.recording import Recording
from topbit.recording.schema import OK
from topbit.recording.trouble import TROUBLES
from topbit.replay.columns import MAPS, canonical, given, in_ranges

Counts = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

MAPPED, UNMAPPED, REACHED, REFUSED = "maps", "unmaps", "reached", "faults"
CONVERTED, TABLES, OTHER = "conversions", "table changes", "other events"
SORTS = (MAPPED, UNMAPPED, REACHED, REFUSED, CONVERTED, TABLES, OTHER)
"""Of which sort an event is, in the order in which they are told."""
_OF_KIND = {
    **dict.fromkeys(MAPS, MAPPED),
    **dict.fromkeys(("dma_unmap", "dma_unmap_sg", "dma_free"), UNMAPPED),
    **dict.fromkeys(("access", "vmm_dma"), REACHED),
    "smmu_event": REFUSED,
    **dict.fromkeys(("convert", "set_memory", "ripas"), CONVERTED),
    **dict.fromkeys(("iommu_map", "iommu_unmap", "rtt_map", "rtt_unmap"), TABLES),
}
_REFUSED_TROUBLE = [name for name, trouble in TROUBLES.items() if trouble.refused]
OTHERS = "other devices"


@dataclass(frozen=True, slots=True)
class Lane:
    """What happened on one device, or was done by one agent and concerned no device?

    Attributes:
        name: the device's name, the agent's, or `OTHERS`.
        is_device: it is a device's.
        counts: sort -> how many events in each place of the axis; absent sorts have none.
        pool: the most bytes of a bounce pool that were mapped at once in each place; empty if no
            pool is known or nothing of it was mapped.
    """

    name: str
    is_device: bool
    counts: dict[str, Counts]
    pool: Counts

    def total(self, sort: str) -> int:
        """How many events of this sort are there?"""
        return int(self.counts[sort].sum()) if sort in self.counts else 0

    @property
    def events(self) -> int:
        """How many events are there?"""
        return sum(self.total(sort) for sort in self.counts)


@dataclass(frozen=True, slots=True)
class Timeline:
    """What happened when?

    Attributes:
        seconds: the axis is the recording's clock; else it is the order of the events.
        start, end: its ends, in seconds or in numbers of events.
        places: into how many places it is divided.
        lanes: devices first, those with refused accesses first of all; then agents.
        events: how many events the recording has.
    """

    seconds: bool
    start: float
    end: float
    places: int
    lanes: tuple[Lane, ...]
    events: int


def positions(recording: Recording) -> tuple[bool, Floats]:
    """Where does each event stand: by the clock if most events tell a time, else by its order?

    An event without a time stands where the one before it does.

    Returns:
        whether it is the clock, and a number for each event.
    """
    times = recording.frame["time"]
    if 2 * times.null_count() < len(times):
        return True, times.fill_null(strategy="forward").fill_null(strategy="backward").to_numpy()
    return False, np.arange(len(times), dtype=np.float64)


def timeline(recording: Recording, places: int, most: int) -> Timeline:
    """What happened when, on an axis of so many places?

    Args:
        recording: what happened.
        places: into how many places the axis is divided.
        most: devices beyond so many share one lane.
    """
    seconds, at = positions(recording)
    start, end = (float(at.min()), float(at.max())) if len(at) else (0.0, 0.0)
    width = (end - start) / places or 1.0
    place = np.minimum((at - start) / width, places - 1).astype(np.int64)
    rows = recording.frame.select(
        "device",
        pl.col("agent").cast(pl.String),
        sort=sort_of(),
        sid="sid",
        pool=pool_change(recording),
    ).with_columns(place=pl.Series(place))
    rows = rows.with_columns(device=device_of(recording))
    order = _order(rows)
    rows = rows.with_columns(
        device=pl.when(pl.col("device").is_in(order[most:]))
        .then(pl.lit(OTHERS))
        .otherwise(pl.col("device"))
    )
    lanes = tuple(_lanes(rows, [*order[:most], OTHERS], places))
    return Timeline(seconds, start, end, places, lanes, len(at))


def sort_of() -> pl.Expr:
    """Expression: of which sort is an event?"""
    kind, status = pl.col("event").cast(pl.String), pl.col("status").cast(pl.String)
    refused = kind.is_in(["access", "vmm_dma"]) & status.ne_missing(OK)
    refused |= (kind == "trouble") & status.is_in(_REFUSED_TROUBLE)
    of_kind = kind.replace_strict(_OF_KIND, default=OTHER, return_dtype=pl.String)
    return pl.when(refused).then(pl.lit(REFUSED)).otherwise(of_kind)


def device_of(recording: Recording) -> pl.Expr:
    """Expression: which device is an event about, by its name or else by its StreamID?"""
    names = {
        facts.sid: name
        for name, facts in recording.platform.devices.items()
        if facts.sid is not None
    }
    by_sid = pl.col("sid").replace_strict(names, default=None, return_dtype=pl.String)
    unnamed = "StreamID 0x" + pl.col("sid").map_elements("{:x}".format, return_dtype=pl.String)
    device = pl.col("device").cast(pl.String).replace("", None)
    return pl.coalesce(device, by_sid, unnamed)


def pool_change(recording: Recording) -> pl.Expr:
    """Expression: by how many bytes does an event change what is mapped of the bounce pools?"""
    platform = recording.platform
    inside = given & in_ranges(canonical(platform), platform.pools)
    size = pl.col("size").fill_null(0).cast(pl.Int64, strict=False).fill_null(0)
    kind = pl.col("event").cast(pl.String)
    return (
        pl.when(inside & (kind == "dma_map"))
        .then(size)
        .when(inside & (kind == "dma_unmap"))
        .then(-size)
        .otherwise(0)
    )


def _order(rows: pl.DataFrame) -> list[str]:
    """In which order are the devices told? Most refused accesses first, then most events."""
    counted = (
        rows.filter(pl.col("device").is_not_null())
        .group_by("device")
        .agg(refused=(pl.col("sort") == REFUSED).sum(), events=pl.len())
        .sort(["refused", "events", "device"], descending=[True, True, False])
    )
    return counted["device"].to_list()


def _lanes(rows: pl.DataFrame, devices: list[str], places: int) -> Iterator[Lane]:
    counted = rows.group_by("device", "agent", "sort", "place").len()
    of_device = counted.filter(pl.col("device").is_not_null())
    for name in devices:
        own = of_device.filter(pl.col("device") == name)
        if not own.is_empty():
            used = rows.filter((pl.col("device") == name) & (pl.col("pool") != 0))
            yield Lane(name, True, _counts(own, places), _pool(used, places))
    rest = counted.filter(pl.col("device").is_null())
    for agent in rest["agent"].unique().sort():
        own = rest.filter(pl.col("agent") == agent)
        yield Lane(agent, False, _counts(own, places), _pool(rows.clear(), places))


def _counts(counted: pl.DataFrame, places: int) -> dict[str, Counts]:
    made: dict[str, Counts] = {}
    for sort in SORTS:
        own = counted.filter(pl.col("sort") == sort)
        if not own.is_empty():
            made[sort] = np.zeros(places, dtype=np.int64)
            np.add.at(made[sort], own["place"].to_numpy(), own["len"].to_numpy())
    return made


def _pool(changes: pl.DataFrame, places: int) -> Counts:
    """How much was mapped at most in each place?

    What was mapped before the recording began shows by being unmapped in it: the sum of all
    changes is never below zero.
    """
    if changes.is_empty():
        return np.zeros(0, dtype=np.int64)
    level = np.cumsum(changes["pool"].to_numpy())
    before = max(0, -int(level.min()))
    place = changes["place"].to_numpy()
    most = np.full(places, -1, dtype=np.int64)
    np.maximum.at(most, place, level + before)
    # What is mapped at the end of a place is still mapped at the beginning of the next.
    last = np.full(places, -1, dtype=np.int64)
    last[place] = level + before
    held = before
    for number in range(places):
        most[number] = max(most[number], held)
        held = last[number] if last[number] >= 0 else held
    return most
