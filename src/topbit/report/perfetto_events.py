"""How do the events of a recording stand in a trace for ui.perfetto.dev, in their order?

An event is an instant; one that changes how much of the bounce pools its device has mapped is
followed by the new level. Those that differ in their numbers alone are written together.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from topbit.recording import Recording
from topbit.recording.recording import NUMBER
from topbit.report.packets import (
    DECIMAL,
    HEXADECIMAL,
    U64,
    VARINT,
    Bytes,
    Form,
    Number,
    begins_of,
    digits,
    varint_bytes,
)
from topbit.report.perfetto_packets import Tracks, counted, instant
from topbit.report.timeline import device_of, pool_change, sort_of
from topbit.rules.wording import describe

ADDRESSES, DECIMALS = ("address", "phys", "pa"), ("size", "line")
IN_WORDS = ("trouble", "log", "step")
"""Kinds of events whose `detail` is told."""
SAME = ("agent", "event", "device", "sid", "direction", "status", "attrs", "mask", "source")
FEWEST = 8
"""So few events are written one by one."""
MOST = (1 << 64) - 1
SURELY = float(1 << 62)
"""Sums below this one fit into 64 bits."""


def packets_of(recording: Recording, name: str, tracks: Tracks, times: U64) -> bytes:
    """Which packets are the events?

    Args:
        recording: what happened.
        name: of the group of tracks.
        tracks: all tracks; those that are needed are added.
        times: of each event, in nanoseconds.
    """
    rows = recording.frame.with_columns(
        track=pl.coalesce(device_of(recording), pl.col("agent").cast(pl.String)),
        sort=sort_of(),
        pool=pool_change(recording),
    )
    owners = _owners(rows, name, tracks)
    changes = np.flatnonzero(rows["pool"].to_numpy())
    levels = _levels(rows["track"].gather(changes), rows["pool"].gather(changes))
    instants = _Messages(len(rows))
    for row, numbers, values in _alike(rows, times):
        instants.add(_instant_of(owners[row["track"]][0], row), numbers, values)
    counts = _Messages(len(changes))
    for track, numbers, values in _counters(rows, changes, levels, times):
        counts.add(_count_of(owners[track][1]), numbers, values)
    lengths = np.zeros((len(rows), 2), np.int64)
    lengths[:, 0], lengths[changes, 1] = instants.lengths, counts.lengths
    begins, size = begins_of(lengths.reshape(-1))
    out = np.zeros(size, np.uint8)
    begins = begins.reshape(-1, 2)
    instants.into(out, begins[:, 0])
    counts.into(out, begins[changes, 1])
    return out.tobytes()


class _Messages:
    """Messages of several forms, which have an order."""

    def __init__(self, count: int) -> None:
        self.lengths = np.zeros(count, np.int64)
        self._forms: list[tuple[NDArray[np.int64], Form]] = []
        self._alone: list[tuple[int, Bytes]] = []

    def add(self, write: Any, numbers: NDArray[np.int64], values: dict[str, Number]) -> None:
        """Add those of these places, which `write` writes, given what they differ in."""
        form = None
        if len(numbers) >= FEWEST:
            try:
                form = Form(write, values)
            except ValueError:
                form = None
        if form is not None:
            self.lengths[numbers] = len(form)
            self._forms.append((numbers, form))
            return
        for at, number in enumerate(numbers.tolist()):
            one = write({name: int(value.values[at]) for name, value in values.items()})
            self.lengths[number] = len(one)
            self._alone.append((number, np.frombuffer(one, np.uint8)))

    def into(self, out: Bytes, begins: NDArray[np.int64]) -> None:
        """Write all to where each begins."""
        for numbers, form in self._forms:
            form.into(out, begins[numbers])
        for number, one in self._alone:
            out[begins[number] : begins[number] + len(one)] = one


def _owners(rows: pl.DataFrame, name: str, tracks: Tracks) -> dict[str, tuple[int, int]]:
    """Which tracks have the events of each owner, and its counter (0: none)? As they come."""
    numbered = rows.select("track", "pool").with_row_index(NUMBER)
    first = numbered.group_by("track", maintain_order=True).agg(
        pl.first(NUMBER), pool=pl.col(NUMBER).filter(pl.col("pool") != 0).first()
    )
    comes = [(number, False, owner) for owner, number, _ in first.rows()]
    comes += [(number, True, owner) for owner, _, number in first.rows() if number is not None]
    found: dict[str, tuple[int, int]] = {}
    for _, counter, owner in sorted(comes):
        if counter:
            count = tracks.of(name, f"{owner}: pool", counter="bytes")
            found[owner] = found[owner][0], count
        else:
            found[owner] = tracks.of(name, owner), 0
    return found


def _levels(owners: pl.Series, changes: pl.Series) -> U64:
    """How much has each owner mapped after each change? Never less than nothing."""
    levels = np.zeros(len(changes), np.uint64)
    told = pl.DataFrame({"owner": owners, "change": changes}).with_row_index(NUMBER)
    for _, group in told.group_by("owner"):
        steps = group["change"].to_numpy()
        if np.abs(steps.astype(np.float64)).sum() < SURELY:
            sums = np.cumsum(steps)
            levels[group[NUMBER].to_numpy()] = sums - np.minimum(np.minimum.accumulate(sums), 0)
            continue
        level = 0
        for number, step in zip(group[NUMBER].to_list(), steps.tolist(), strict=True):
            level = min(max(0, level + step), MOST)
            levels[number] = level
    return levels


def _alike(
    rows: pl.DataFrame, times: U64
) -> Iterator[tuple[dict[str, Any], NDArray[np.int64], dict[str, Number]]]:
    """Which events differ in their numbers alone: the first of them, all of them, the numbers?"""
    widths = {
        **{name: rows[name].is_not_null().cast(pl.Int64) * 16 for name in ADDRESSES},
        **{
            name: pl.Series(digits(rows[name].fill_null(0).to_numpy().astype(np.uint64)))
            * rows[name].is_not_null().cast(pl.Int64)
            for name in DECIMALS
        },
        "time": pl.Series(varint_bytes(times)),
    }
    detail = pl.when(pl.col("event").cast(pl.String).is_in(IN_WORDS)).then("detail")
    keys = rows.select(
        *SAME, "track", "sort", detail, **{f"width of {n}": width for n, width in widths.items()}
    )
    groups = keys.with_row_index(NUMBER).group_by(keys.columns, maintain_order=True)
    values = {name: rows[name].fill_null(0).to_numpy() for name in (*ADDRESSES, *DECIMALS)}
    values["time"] = times
    for group in groups.agg(NUMBER).iter_rows(named=True):
        numbers = np.array(group[NUMBER], np.int64)
        told = {
            name: Number(
                HEXADECIMAL if name in ADDRESSES else VARINT if name == "time" else DECIMAL,
                group[f"width of {name}"],
                column[numbers].astype(np.uint64),
            )
            for name, column in values.items()
            if group[f"width of {name}"]
        }
        yield rows.row(int(numbers[0]), named=True), numbers, told


def _instant_of(track: int, row: dict[str, Any]) -> Any:
    def write(numbers: Mapping[str, int]) -> bytes:
        this = {**row, **numbers}
        told = {"event": describe(this), "agent": this["agent"]}
        if this["source"]:
            told["place"] = f"{this['source']}:{this['line']}"
        return instant(track, numbers["time"], this["event"], this["sort"], told)

    return write


def _counters(
    rows: pl.DataFrame, changes: NDArray[np.int64], levels: U64, times: U64
) -> Iterator[tuple[str, NDArray[np.int64], dict[str, Number]]]:
    """Which levels differ in their numbers alone: whose they are, which, and the numbers?"""
    at = times[changes]
    keys = pl.DataFrame(
        {
            "track": rows["track"].gather(changes),
            "time": varint_bytes(at),
            "level": varint_bytes(levels),
        }
    )
    groups = keys.with_row_index(NUMBER).group_by(keys.columns, maintain_order=True)
    for track, of_time, of_level, told in groups.agg(NUMBER).iter_rows():
        numbers = np.array(told, np.int64)
        yield (
            track,
            numbers,
            {
                "time": Number(VARINT, of_time, at[numbers]),
                "level": Number(VARINT, of_level, levels[numbers]),
            },
        )


def _count_of(track: int) -> Any:
    def write(numbers: Mapping[str, int]) -> bytes:
        return counted(track, numbers["time"], numbers["level"])

    return write
