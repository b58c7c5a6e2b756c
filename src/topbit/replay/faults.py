"""Which device accesses were refused, and what had the guest mapped there at that time?"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import polars as pl

from topbit.recording import Recording
from topbit.recording.recording import NUMBER
from topbit.replay.columns import MAPS, PAGE, PAGE_SHIFT, input_address, succeeded
from topbit.replay.intervals import IntervalMap
from topbit.replay.kept import kept
from topbit.replay.page_set import PageSet, numbers_near, pages_of
from topbit.replay.replay import MAPPING_KINDS, Row, states_at

ACCESS = "access"
FAULT_KINDS = (ACCESS, "smmu_event")
TRANSLATION, PERMISSION = "F_TRANSLATION", "F_PERMISSION"
CONFIGURATION = (
    "C_BAD_STREAMID",
    "F_STE_FETCH",
    "C_BAD_STE",
    "F_STREAM_DISABLED",
    "C_BAD_SUBSTREAMID",
    "F_CD_FETCH",
    "C_BAD_CD",
    "F_WALK_EABT",
    "F_ACCESS",
)
"""Events of tables that are not as they must be, whatever the address was (IHI0070 7.3)."""


@kept
def fault_rows(recording: Recording) -> pl.DataFrame:
    """Which refused accesses are there, each once, with how often (`times`) and where (`places`)?

    Events that differ only within a 4 KiB page are one: a failing burst is reported piecewise.
    Where refused accesses of a stream were recorded, its SMMU events say the same again.

    Returns:
        the first of each, with its `number`.
    """
    configuration = pl.col("status").is_in(CONFIGURATION)
    rows = (
        recording.scan(*FAULT_KINDS)
        .filter(pl.col("status").str.starts_with("F_") | configuration)
        .collect()
    )
    accesses = rows.filter(pl.col("event") == ACCESS)
    rows = rows.filter(
        (pl.col("event") == ACCESS)
        | ~pl.col("sid").is_in(accesses["sid"].unique().implode(), nulls_equal=True)
    )
    # Configuration faults have no address.
    rows = rows.filter(pl.col("address").is_not_null() | configuration)
    page = (pl.col("address") // PAGE).alias("page")
    key = ["sid", "device", page, "status", "direction"]
    return (
        rows.group_by(key, maintain_order=True)
        .agg(
            pl.all().exclude("sid", "device", "status", "direction").first(),
            times=pl.len(),
            places=pl.struct("source", "line"),
        )
        .select(NUMBER, *recording.frame.columns, "times", "places")
    )


def places_of(row: Row) -> set[tuple[str, int]]:
    """At which (file, line) stand all the events that a row of `fault_rows` is the first of?"""
    told = [(place["source"], place["line"]) for place in row["places"]]
    return {(source, line) for source, line in told if source and line is not None}


def key_of(row: Row) -> tuple[object, ...]:
    """What do refused accesses have in common that `fault_rows` takes for one?"""
    page = None if row["address"] is None else row["address"] >> PAGE_SHIFT
    return row["sid"], row["device"], page, row["status"], row["direction"]


class Mapped:
    """What did the guest map, over the whole recording?

    Args:
        recording: the recording.
        pages: the ones that will be asked about.
    """

    def __init__(self, recording: Recording, pages: PageSet) -> None:
        self._recording = recording
        self._ever: IntervalMap[int] = IntervalMap()
        self._buffers: IntervalMap[int] = IntervalMap()
        for number, address, size in self._ranges(pages, "address", succeeded, *MAPS):
            self._ever.set(input_address(recording.platform, address), size or 1, number)
        for number, phys, size in self._ranges(pages, "phys", pl.lit(True), "dma_map"):
            self._buffers.set(phys, size or 1, number)

    def _ranges(
        self, pages: PageSet, column: str, where: pl.Expr, *kinds: str
    ) -> list[tuple[int, int, int | None]]:
        """Which (event's number, start, size) of a column touch the pages, each range's last?"""
        start = None if column == "address" else pl.col(column)
        rows = self._recording.rows(numbers_near(self._recording, pages, *kinds, start=start))
        return (
            rows.filter(where)
            .unique([column, "size"], keep="last", maintain_order=True)
            .select(NUMBER, column, "size")
            .rows()
        )

    def _row(self, number: int | None) -> Row | None:
        return None if number is None else self._recording.row(number)

    def at(self, value: int) -> Row | None:
        """Which mapping ever covered this address at the SMMU, or its page?"""
        number = self._ever.at(value)
        if number is None:
            # Translation works on pages: a fault next to a buffer is a fault of its page.
            beside = self._ever.overlapping(value & -PAGE, PAGE)
            number = next((number for _, _, number in beside), None)
        return self._row(number)

    def exactly_at(self, value: int) -> Row | None:
        """Which mapping ever covered this very address at the SMMU?"""
        return self._row(self._ever.at(value))

    def buffer_at(self, phys: int) -> Row | None:
        """Which mapping's own (unbounced) buffer covers this guest address?"""
        return self._row(self._buffers.at(phys))

    @cached_property
    def traced(self) -> frozenset[str]:
        """Which devices have any mapping in the recording?"""
        return self._devices(*MAPS)

    @cached_property
    def allocated(self) -> frozenset[str]:
        """Which devices have an allocation in the recording?"""
        return self._devices("dma_alloc")

    def _devices(self, *kinds: str) -> frozenset[str]:
        names = self._recording.scan(*kinds).select(pl.col("device").unique()).collect()
        return frozenset(names["device"]) - {None, ""}


@dataclass(frozen=True, slots=True)
class Fault:
    """What is known about one refused access?

    Attributes:
        row: its event, with the columns `times` and `places`.
        live: the guest's mapping of that address: at that moment if the order of events is
            known, else at any time.
        alias: the same for the address with the shared bit set.
        ordered: the order of events is known.
        mapped: everything that the guest mapped.
    """

    row: Row
    live: Row | None
    alias: Row | None
    ordered: bool
    mapped: Mapped


@kept
def faults(recording: Recording) -> list[Fault]:
    """Which refused accesses are there?"""
    rows = fault_rows(recording)
    if rows.is_empty():
        return []
    pages = pages_of(recording.platform, rows)
    mapped = Mapped(recording, pages)
    if recording.platform.one_clock:
        return _in_order(recording, rows, pages, mapped)
    platform = recording.platform
    return [
        Fault(row, mapped.at(value), mapped.at(platform.unprotected(value)), False, mapped)
        if (value := row["address"]) is not None
        else Fault(row, None, None, False, mapped)
        for row in rows.iter_rows(named=True)
    ]


def _in_order(
    recording: Recording, rows: pl.DataFrame, pages: PageSet, mapped: Mapped
) -> list[Fault]:
    columns = rows.select(NUMBER, "times", "places").rows()
    told = {number: (times, places) for number, times, places in columns}
    found: list[Fault] = []
    for row, state in states_at(recording, rows[NUMBER], pages, *MAPPING_KINDS):
        row["times"], row["places"] = told[row[NUMBER]]
        live = alias = None
        if row["address"] is not None:
            live = state.mapping_at(row["address"])
            alias = state.mapping_at(recording.platform.unprotected(row["address"]))
        live_row = None if live is None else recording.row(live)
        alias_row = None if alias is None else recording.row(alias)
        found.append(Fault(row, live_row, alias_row, True, mapped))
    return found
