"""What was mapped, shared and backed at each moment? The state that a recording's events make.

`Replay` applies the events in order; rules look at the state when an event of theirs comes.
It holds what the agents *said*, not what hardware did.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from topbit.recording import Platform, Recording
from topbit.recording.schema import DMA_MAPPING_ERROR
from topbit.replay.columns import input_address
from topbit.replay.intervals import IntervalMap

Row = dict[str, Any]

STATE_KINDS = (
    "dma_map",
    "dma_unmap",
    "dma_alloc",
    "dma_free",
    "iommu_map",
    "iommu_unmap",
    "convert",
    "set_memory",
)


MAPPING_KINDS = ("dma_map", "dma_unmap", "dma_alloc", "dma_free")
TABLE_KINDS = ("iommu_map", "iommu_unmap")


@dataclass(frozen=True, slots=True)
class Translation:
    """Where does a stage-2 mapping lead, and what does it permit?

    Attributes:
        offset: physical address minus IOVA.
        permissions: "r", "w", "r|w"; "" means both.
    """

    offset: int
    permissions: str


@dataclass(slots=True)
class Replay:
    """Which state holds after the events so far?

    Attributes:
        platform: the platform, for what its bus does to addresses.
        live: address at the SMMU -> row of the guest's live mapping.
        stage2: stream (None: every stream) -> IOVA -> translation.
        shared: IPA -> "shared" or "private", as the VMM converted it.
        backing: IPA -> physical address minus IPA of shared pages, where known.
        guest: IPA -> "shared" or "private", as the guest asked.
    """

    platform: Platform
    live: IntervalMap[int] = field(default_factory=IntervalMap)
    rows: dict[int, Row] = field(default_factory=dict)
    stage2: dict[int | None, IntervalMap[Translation]] = field(default_factory=dict)
    shared: IntervalMap[str] = field(default_factory=IntervalMap)
    backing: IntervalMap[int] = field(default_factory=IntervalMap)
    guest: IntervalMap[str] = field(default_factory=IntervalMap)

    def apply(self, number: int, row: Row) -> None:
        """Take one event into the state."""
        kind, size = row["event"], row["size"] or 0
        if kind in ("dma_map", "dma_alloc"):
            if row["address"] in (None, DMA_MAPPING_ERROR) or row["status"] == "error":
                return
            self.live.set(input_address(self.platform, row["address"]), size or 1, number)
            self.rows[number] = row
        elif kind in ("dma_unmap", "dma_free"):
            if row["address"] is not None:
                self.live.clear(input_address(self.platform, row["address"]), size or 1)
        elif kind == "iommu_map":
            if row["status"] != "error" and row["address"] is not None and row["pa"] is not None:
                table = self.stage2.setdefault(row["sid"], IntervalMap())
                translation = Translation(row["pa"] - row["address"], row["attrs"] or "")
                table.set(row["address"], size, translation)
        elif kind == "iommu_unmap":
            if row["status"] != "error" and row["address"] is not None:
                self.stage2.setdefault(row["sid"], IntervalMap()).clear(row["address"], size)
        elif kind == "convert":
            if row["status"] in ("shared", "private"):
                self.shared.set(row["phys"], size, row["status"])
                if row["status"] == "shared" and row["pa"] is not None:
                    self.backing.set(row["phys"], size, row["pa"] - row["phys"])
                else:
                    self.backing.clear(row["phys"], size)
        elif kind == "set_memory" and row["status"] in ("shared", "private"):
            self.guest.set(row["phys"], size, row["status"])

    def tables(self, sid: int | None) -> list[tuple[int | None, IntervalMap[Translation]]]:
        """Which stage-2 tables can a stream's access walk? All of them for an unknown stream."""
        if sid is None:
            return list(self.stage2.items())
        return [(s, table) for s, table in self.stage2.items() if s in (sid, None)]

    def mapping_at(self, address: int) -> Row | None:
        """Which live mapping of the guest covers this address at the SMMU?"""
        number = self.live.at(address)
        return None if number is None else self.rows[number]


def replay(
    recording: Recording, *watched: str, state_kinds: tuple[str, ...] = STATE_KINDS
) -> Iterator[tuple[Row, Replay]]:
    """What was the state when each event of the watched kinds came (before it took effect)?

    Args:
        recording: what to replay.
        watched: kinds whose events are wanted.
        state_kinds: kinds that the wanted state depends on; fewer is faster.
    """
    state = Replay(recording.platform)
    kinds = dict.fromkeys((*state_kinds, *watched))
    for number, row in enumerate(recording.of_kind(*kinds).iter_rows(named=True)):
        if row["event"] in watched:
            yield row, state
        state.apply(number, row)
