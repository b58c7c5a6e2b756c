"""What was mapped, shared and backed at each moment? The state that a recording's events make.

`Replay` applies the events in order; rules look at the state when an event of theirs comes.
It holds what the agents *said*, not what hardware did. Where what was said leaves a doubt, an
entry of a table says so: who asks whether a page *is* mapped needs certainty, who asks whether it
is *not* must take a doubtful entry for one.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import polars as pl

from topbit.recording import Platform, Recording
from topbit.recording.recording import NUMBER
from topbit.recording.schema import DMA_MAPPING_ERROR, ERROR, OK, PRIVATE, SHARED
from topbit.replay.columns import input_address
from topbit.replay.intervals import IntervalMap
from topbit.replay.page_set import PageSet, ipa_of, numbers_near, page_set
from topbit.replay.tables import Certainty, Entry, StreamTables, Table, latest

Row = dict[str, Any]

MAPPING_KINDS = ("dma_map", "dma_unmap", "dma_alloc", "dma_free")
TABLE_KINDS = ("iommu_map", "iommu_unmap")
REALM_TABLE_KINDS = ("rtt_map", "rtt_unmap", "ripas")
STATE_KINDS = (*MAPPING_KINDS, *TABLE_KINDS, *REALM_TABLE_KINDS, "convert", "set_memory")

UNPROTECTED = "unprotected"
"""`attrs` of an entry of the Realm's own table at the half that it shares."""
RAM = "RAM"
"""RIPAS of a page that the Realm uses as its memory (DEN0137, RmiRipas)."""


class Replay:
    """Which state holds after the events so far?

    Attributes:
        platform: the platform, for what its bus does to addresses.
        live: address at the SMMU -> row of the event that made the guest's live mapping.
        stage2: what the VMM's tables hold for each stream.
        realm: what the Realm's own table holds, by IPA with the shared bit of its half.
        ram: IPA -> row of the event that made the page's RIPAS RAM.
        shared: IPA -> "shared" or "private", as the VMM converted it.
        backing: IPA -> physical address minus IPA of shared pages, where known.
        guest: IPA -> "shared" or "private", as the guest asked.
    """

    def __init__(self, platform: Platform) -> None:
        self.platform = platform
        self.live: IntervalMap[int] = IntervalMap()
        self.stage2 = StreamTables()
        self.realm: Table = IntervalMap()
        self.ram: IntervalMap[int] = IntervalMap()
        self.shared: IntervalMap[str] = IntervalMap()
        self.backing: IntervalMap[int] = IntervalMap()
        self.guest: IntervalMap[str] = IntervalMap()

    def apply(self, row: Row) -> None:
        """Take one event, numbered as by `Recording.scan`, into the state."""
        kind = row["event"]
        if kind in MAPPING_KINDS:
            self._apply_mapping(row)
        elif kind in TABLE_KINDS:
            self._apply_table(row)
        elif kind in REALM_TABLE_KINDS:
            self._apply_realm_table(row)
        elif kind in ("convert", "set_memory") and row["status"] in (SHARED, PRIVATE):
            self._apply_conversion(row)

    def _apply_mapping(self, row: Row) -> None:
        address, size = row["address"], row["size"] or 1
        if address is None:
            return
        if row["event"] in ("dma_unmap", "dma_free"):
            self.live.clear(input_address(self.platform, address), size)
        elif address != DMA_MAPPING_ERROR and row["status"] != ERROR:
            self.live.set(input_address(self.platform, address), size, row[NUMBER])

    def _apply_table(self, row: Row) -> None:
        sid, address, size = row["sid"], row["address"], row["size"] or 0
        if address is None:
            return
        mapped = row["event"] == "iommu_map"
        if row["status"] == ERROR:
            left = Certainty.PERHAPS if mapped else Certainty.IN_PART
            self.stage2.doubt(sid, address, size, left)
        elif mapped:
            offset = None if row["pa"] is None else row["pa"] - address
            entry = Entry(row[NUMBER], offset, row["attrs"] or "")
            self.stage2.map(sid, address, size, entry)
        else:
            self.stage2.unmap(sid, address, size)

    def _apply_realm_table(self, row: Row) -> None:
        kind, size = row["event"], row["size"] or 0
        start = row["phys"] if kind == "ripas" else row["address"]
        if start is None:
            return
        if kind == "rtt_map":
            offset = None if row["pa"] is None else row["pa"] - start
            entry = Entry(row[NUMBER], offset, needs_ram=row["attrs"] != UNPROTECTED)
            self.realm.set(start, size, entry)
        elif kind == "rtt_unmap":
            self.realm.clear(start, size)
        elif row["attrs"] == RAM and row["status"] == OK:
            self.ram.set(start, size, row[NUMBER])
        else:
            self.ram.clear(start, size)

    def _apply_conversion(self, row: Row) -> None:
        ipa, size, status = row["phys"], row["size"] or 0, row["status"]
        if row["event"] == "set_memory":
            self.guest.set(ipa, size, status)
            return
        self.shared.set(ipa, size, status)
        if status == SHARED and row["pa"] is not None:
            self.backing.set(ipa, size, row["pa"] - ipa)
        else:
            self.backing.clear(ipa, size)

    def mapping_at(self, address: int) -> int | None:
        """Which event, by its row, made the guest's live mapping of this address at the SMMU?"""
        return self.live.at(address)

    def realm_entry(self, address: int, size: int) -> Entry | None:
        """Which event made the whole range translate in the Realm's own table: the latest?

        A protected page is valid for hardware only while its RIPAS is RAM (DEN0137, HIPAS and
        RIPAS of an RTT entry).
        """
        if not self.realm.covers(address, size):
            return None
        entry = latest([entry for _, _, entry in self.realm.overlapping(address, size)])
        if not entry.needs_ram:
            return entry
        if not self.ram.covers(address, size):
            return None
        since = max(number for _, _, number in self.ram.overlapping(address, size))
        return entry._replace(number=max(entry.number, since))


def replay(
    recording: Recording,
    *watched: str,
    where: pl.Expr | None = None,
    state_kinds: tuple[str, ...] = STATE_KINDS,
    near: PageSet | None = None,
) -> Iterator[tuple[Row, Replay]]:
    """What was the state when each event of the watched kinds came (before it took effect)?

    Args:
        recording: what to replay.
        watched: kinds whose events are wanted.
        where: only those for which this is true.
        state_kinds: kinds that the wanted state depends on; fewer is faster.
        near: the pages whose state is wanted, and only events that touch them; if left out, the
            pages of all events that are wanted.

    Yields:
        the event by column, with its `number`, and the state, which changes as this goes on: it
        is right for the pages that are meant, and knows no others.
    """
    if near is None:
        wanted = recording.scan(*watched).filter(True if where is None else where)
        spans = wanted.select(NUMBER, start=ipa_of(recording.platform), size="size").collect()
        yield from states_at(recording, spans[NUMBER], page_set(spans), *state_kinds)
    else:
        numbers = numbers_near(recording, near, *watched, where=where)
        yield from states_at(recording, numbers, near, *state_kinds)


def states_at(
    recording: Recording, numbers: pl.Series, pages: PageSet, *state_kinds: str
) -> Iterator[tuple[Row, Replay]]:
    """What was the state of these pages when each of the numbered events came? As `replay`."""
    others = numbers_near(recording, pages, *state_kinds)
    rows = recording.rows(pl.concat([numbers, others]).unique().sort())
    rows = rows.with_columns(wanted=pl.col(NUMBER).is_in(numbers.implode()))
    state = Replay(recording.platform)
    for row in rows.iter_rows(named=True):
        if row.pop("wanted"):
            yield row, state
        if row["event"] in state_kinds:
            state.apply(row)
