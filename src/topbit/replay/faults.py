"""Which device accesses were refused, and what had the guest mapped there at that time?"""

from __future__ import annotations

from dataclasses import dataclass
from weakref import WeakKeyDictionary

import polars as pl

from topbit.recording import Recording
from topbit.recording.schema import DMA_MAPPING_ERROR
from topbit.replay.columns import input_address
from topbit.replay.intervals import IntervalMap
from topbit.replay.replay import MAPPING_KINDS, Row, replay

FAULT_KINDS = ("access", "smmu_event")
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
    "F_ADDR_SIZE",
)


def fault_rows(recording: Recording) -> pl.DataFrame:
    """Which refused accesses are there, each once, with how often it came (`times`)?

    Events that differ only within a 4 KiB page are one: a failing burst is reported piecewise.
    Where refused accesses of a stream were recorded, its SMMU events say the same again.
    """
    rows = recording.of_kind(*FAULT_KINDS).filter(
        pl.col("status").str.starts_with("F_") | pl.col("status").is_in(CONFIGURATION)
    )
    accesses = rows.filter(pl.col("event") == "access")
    rows = rows.filter(
        (pl.col("event") == "access")
        | ~pl.col("sid").is_in(accesses["sid"].unique().implode(), nulls_equal=True)
    )
    # Configuration faults have no address.
    rows = rows.filter(pl.col("address").is_not_null() | pl.col("status").is_in(CONFIGURATION))
    page = (pl.col("address") // 4096).alias("page")
    key = ["sid", "device", page, "status", "direction"]
    return (
        rows.group_by(key, maintain_order=True)
        .agg(pl.all().exclude("sid", "device", "status", "direction").first(), times=pl.len())
        .drop("page")
        .select(*recording.frame.columns, "times")
    )


class Mapped:
    """What did the guest map, over the whole recording?

    Attributes:
        traced, allocated: devices with any mapping, and with an allocation, in the recording.
    """

    def __init__(self, recording: Recording) -> None:
        self.recording = recording
        self.ever: IntervalMap[int] = IntervalMap()
        self.rows: list[Row] = []
        self.buffers: IntervalMap[int] = IntervalMap()
        self.traced: set[str] = set()
        self.allocated: set[str] = set()
        for number, row in enumerate(
            recording.of_kind("dma_map", "dma_alloc").iter_rows(named=True)
        ):
            self.rows.append(row)
            if row["device"]:
                self.traced.add(row["device"])
                if row["event"] == "dma_alloc":
                    self.allocated.add(row["device"])
            if row["address"] not in (None, DMA_MAPPING_ERROR) and row["status"] != "error":
                arrives = input_address(recording.platform, row["address"])
                self.ever.set(arrives, row["size"] or 1, number)
            if row["phys"] is not None and row["event"] == "dma_map":
                self.buffers.set(row["phys"], row["size"] or 1, number)

    def at(self, value: int) -> Row | None:
        """Which mapping ever covered this address at the SMMU, or its page?"""
        number = self.ever.at(value)
        if number is None:
            # Translation works on pages: a fault next to a buffer is a fault of its page.
            pages = list(self.ever.overlapping(value & ~0xFFF, 4096))
            number = pages[0][2] if pages else None
        return None if number is None else self.rows[number]

    def buffer_at(self, phys: int) -> Row | None:
        """Which mapping's own (unbounced) buffer covers this guest address?"""
        number = self.buffers.at(phys)
        return None if number is None else self.rows[number]


@dataclass(frozen=True, slots=True)
class Fault:
    """What is known about one refused access?

    Attributes:
        row: its event, with the column `times`.
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


_known: WeakKeyDictionary[Recording, list[Fault]] = WeakKeyDictionary()


def faults(recording: Recording) -> list[Fault]:
    """Which refused accesses are there? Several rules ask; the answer is kept."""
    if recording not in _known:
        _known[recording] = _faults(recording)
    return _known[recording]


def _faults(recording: Recording) -> list[Fault]:
    rows = fault_rows(recording)
    if rows.is_empty():
        return []
    platform, mapped = recording.platform, Mapped(recording)
    if not platform.one_clock:
        return [
            Fault(row, mapped.at(value), mapped.at(platform.unprotected(value)), False, mapped)
            if (value := row["address"]) is not None
            else Fault(row, None, None, False, mapped)
            for row in rows.iter_rows(named=True)
        ]
    waiting = {key_of(row): row for row in rows.iter_rows(named=True)}
    found: list[Fault] = []
    for row, state in replay(recording, *FAULT_KINDS, state_kinds=MAPPING_KINDS):
        first = waiting.pop(key_of(row), None)
        if first is not None:
            value = first["address"]
            live = None if value is None else state.mapping_at(value)
            alias = None if value is None else state.mapping_at(platform.unprotected(value))
            found.append(Fault(first, live, alias, True, mapped))
        if not waiting:
            break
    return found


def key_of(row: Row) -> tuple[object, ...]:
    """What do refused accesses have in common that `fault_rows` takes for one?"""
    page = None if row["address"] is None else row["address"] >> 12
    return row["sid"], row["device"], page, row["status"], row["direction"]
