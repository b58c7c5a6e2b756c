"""Which physical memory do the host's tables lead to, for any stream?"""

from __future__ import annotations

from topbit.recording.recording import NUMBER
from topbit.recording.schema import OK
from topbit.replay.intervals import IntervalMap
from topbit.replay.replay import Row


class HostTables:
    """Where do the host's tables lead, by physical address?

    A failed unmap leaves what was there, a failed map may have left something.
    """

    def __init__(self) -> None:
        self._by_stream: dict[tuple[int | None, int], IntervalMap[int]] = {}

    def apply(self, row: Row) -> None:
        """Take a map or an unmap into account."""
        sid, iova, size = row["sid"], row["address"], row["size"] or 0
        if row["event"] == "iommu_map":
            offset = iova - row["pa"]
            table = self._by_stream.setdefault((sid, offset), IntervalMap())
            table.set(row["pa"], size, row[NUMBER])
        elif row["status"] in (None, OK):
            for (stream, offset), table in self._by_stream.items():
                if sid is None or stream == sid:
                    table.clear(iova - offset, size)

    def leads_to(self, pa: int, size: int) -> int | None:
        """Which event, by number, made an entry that leads into this range? None: none is left."""
        for table in self._by_stream.values():
            for _, _, number in table.overlapping(pa, size):
                return number
        return None
