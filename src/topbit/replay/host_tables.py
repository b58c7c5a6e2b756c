"""Which physical memory do the host's tables lead to, for any stream?"""

from __future__ import annotations

from topbit.recording.recording import NUMBER
from topbit.recording.schema import OK
from topbit.replay.intervals import IntervalMap
from topbit.replay.replay import Row

Stream = int | None
Way = tuple[Stream, int]
"""Which stream's entries lead to memory, and how far from it are their input addresses?"""


class HostTables:
    """Where do the host's tables lead, by physical address?

    - What each stream (None: every stream) has is kept by input address, so that an unmap finds it.
    - Which streams lead to it is kept by physical address, so that a question finds it.

    A failed unmap leaves what was there, a failed map may have left something.
    """

    def __init__(self) -> None:
        self._offsets: dict[Stream, IntervalMap[int]] = {}
        self._ways: IntervalMap[frozenset[Way]] = IntervalMap()
        self._latest: dict[Way, int] = {}

    def apply(self, row: Row) -> None:
        """Take a map or an unmap into account."""
        sid, iova, size = row["sid"], row["address"], row["size"] or 0
        done = row["status"] in (None, OK)
        if row["event"] == "iommu_map":
            if done:
                self._unmap(sid, iova, size)
            way = (sid, iova - row["pa"])
            self._offsets.setdefault(sid, IntervalMap()).set(iova, size, way[1])
            self._latest[way] = row[NUMBER]
            self._change(row["pa"], size, add=way)
        elif done:
            for stream in list(self._offsets) if sid is None else [sid]:
                self._unmap(stream, iova, size)

    def _unmap(self, sid: Stream, iova: int, size: int) -> None:
        table = self._offsets.get(sid)
        if table is None:
            return
        for low, high, offset in list(table.overlapping(iova, size)):
            low, high = max(low, iova), min(high, iova + size)
            self._change(low - offset, high - low, remove=(sid, offset))
        table.clear(iova, size)

    def _change(
        self, pa: int, size: int, *, add: Way | None = None, remove: Way | None = None
    ) -> None:
        """Add a way, or remove one, that leads to each part of [pa, pa + size)."""
        added, removed = ({way} if way is not None else set() for way in (add, remove))
        at, end = pa, pa + size
        parts: list[tuple[int, int, frozenset[Way]]] = []
        for low, high, ways in self._ways.overlapping(pa, size):
            low, high = max(low, pa), min(high, end)
            parts += [(at, low, frozenset()), (low, high, ways)]
            at = high
        for low, high, ways in [*parts, (at, end, frozenset[Way]())]:
            after = (ways | added) - removed
            if after:
                self._ways.set(low, high - low, after)
            elif ways:
                self._ways.clear(low, high - low)

    def leads_to(self, pa: int, size: int) -> int | None:
        """Which event, by number, made an entry that leads into this range? None: none is left.

        Of several ways the one that was made or added to first.
        """
        for _, _, ways in self._ways.overlapping(pa, size):
            return min(self._latest[way] for way in ways)
        return None
