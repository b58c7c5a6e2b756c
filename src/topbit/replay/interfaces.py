"""In which state was the interface of a device that the Realm may trust, at each moment?

The RMM tells it (`vdev`): nobody else knows for certain. An interface may make DMA from
RSI_VDEV_DMA_ENABLE on until the host takes it back, the Realm disables it, it fails, or the Realm
ends (DEN0137 2.0 beta 0, "Realm device assignment").
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import dataclass

from topbit.recording import Recording
from topbit.recording.recording import NUMBER
from topbit.recording.schema import DMA
from topbit.replay.kept import kept
from topbit.replay.replay import Row


@dataclass(frozen=True, slots=True)
class Interface:
    """What did the RMM tell of one interface?

    Attributes:
        rows: its `vdev` events, numbered, in order.
    """

    rows: tuple[Row, ...]

    def before(self, number: int) -> Row | None:
        """Which event tells its state when the event of this number came? None: none had come."""
        at = bisect_left([row[NUMBER] for row in self.rows], number)
        return self.rows[at - 1] if at else None

    def may_make_dma(self, number: int) -> bool:
        """May it make DMA when the event of this number comes?"""
        row = self.before(number)
        return row is not None and row["attrs"] == DMA

    def stopped_by(self, number: int) -> Row | None:
        """Which event, before this one, last took its DMA away? None: it never had any."""
        had, last = False, None
        for row in self.rows:
            if row[NUMBER] >= number:
                break
            if had and row["attrs"] != DMA:
                last = row
            had = row["attrs"] == DMA
        return last


@kept
def interfaces(recording: Recording) -> Mapping[int, Interface]:
    """Which interfaces does the RMM tell of? By StreamID."""
    found: dict[int, list[Row]] = {}
    for row in recording.scan("vdev").collect().iter_rows(named=True):
        if row["sid"] is not None:
            found.setdefault(row["sid"], []).append(row)
    return {sid: Interface(tuple(rows)) for sid, rows in found.items()}
