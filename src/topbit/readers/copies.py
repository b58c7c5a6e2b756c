"""Which events of a run are copies of others, so that each counts once?"""

from __future__ import annotations

from topbit.events import Event
from topbit.readers.boot import Boot


def without_copies(boot: Boot, copies: set[int]) -> list[Event]:
    """Which events of this file are not copies of those in another file of the run?

    Args:
        boot: what the file tells.
        copies: keys of what others told; this file's are added.
    """
    dropped: set[int] = set()
    mine: set[int] = set()
    for key, start, end in boot.keys:
        if key in copies or key in mine:
            dropped.update(range(start, end))
        mine.add(key)
    copies |= mine
    return [event for index, event in enumerate(boot.events) if index not in dropped]


def without_repeated_logs(events: list[Event]) -> list[Event]:
    """Which events are left when a kernel line that stands in two files counts once?"""
    seen: dict[tuple[str, float, str], str | None] = {}
    kept: list[Event] = []
    for event in events:
        if event.event in ("trouble", "swiotlb_full") and event.time is not None:
            key = (event.event, event.time, event.detail or "")
            if seen.setdefault(key, event.source) != event.source:
                continue
        kept.append(event)
    return kept
