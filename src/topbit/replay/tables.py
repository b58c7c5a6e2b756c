"""Which translation does the VMM's table hold for a stream, since which event, and certainly?"""

from __future__ import annotations

from collections.abc import Iterator
from enum import IntEnum
from typing import NamedTuple

from topbit.replay.intervals import IntervalMap


class Certainty(IntEnum):
    """How certain is it that an entry is still there?"""

    PERHAPS = 0
    """A map in its place failed, or a stream's unmap met an entry of every stream."""
    IN_PART = 1
    """An unmap of it failed: nothing, or only a part of it, was taken away."""
    CERTAIN = 2


class Entry(NamedTuple):
    """Which translation does a table hold, and since which event?

    Attributes:
        number: row of the event in the recording.
        offset: physical address minus input address; None if the event does not tell.
        permissions: "r", "w", "r|w"; "" means both.
        needs_ram: it is valid only while the page's RIPAS is RAM.
        certainty: how certain it is that it is still there.
    """

    number: int
    offset: int | None
    permissions: str = ""
    needs_ram: bool = False
    certainty: Certainty = Certainty.CERTAIN

    @property
    def certain(self) -> bool:
        """Is it certain that all of it is still there?"""
        return self.certainty is Certainty.CERTAIN

    def permits(self, direction: str | None) -> bool:
        """Does it allow accesses in this direction ("r", "w"; None: any)?"""
        return direction is None or direction in (self.permissions or "r|w")


Table = IntervalMap[Entry]


class StreamTables:
    """What does the VMM's table hold, by stream (None: for every stream) and IOVA?

    - What is mapped without a stream is there for all of them; an unmap without one clears all.
    - A stream's own unmap leaves what every stream has to the others, and perhaps to it.
    - A failed map or unmap leaves what was there, but not certainly all of it.
    """

    def __init__(self) -> None:
        self._by_stream: dict[int | None, Table] = {None: IntervalMap()}

    def __iter__(self) -> Iterator[tuple[int | None, Table]]:
        """Which streams have a table, and what does it hold of their own?"""
        return iter(self._by_stream.items())

    def own(self, sid: int | None) -> Table:
        """What is held for this stream, leaving out what is held for every stream?"""
        return self._by_stream.get(sid, IntervalMap())

    def map(self, sid: int | None, start: int, size: int, entry: Entry) -> None:
        """[start, start + size) translates now."""
        if sid is None:
            self.unmap(None, start, size)
        self._by_stream.setdefault(sid, IntervalMap()).set(start, size, entry)

    def unmap(self, sid: int | None, start: int, size: int) -> None:
        """[start, start + size) translates no longer."""
        for stream in list(self._by_stream) if sid is None else [sid]:
            self._by_stream.setdefault(stream, IntervalMap()).clear(start, size)
        if sid is not None:
            self.doubt(sid, start, size, Certainty.PERHAPS)

    def doubt(self, sid: int | None, start: int, size: int, certainty: Certainty) -> None:
        """What [start, start + size) holds is not more certain than this from now on."""
        if sid is not None:
            self._copy_of_every(sid, start, start + size)
        for stream in list(self._by_stream) if sid is None else [sid]:
            table = self._by_stream[stream]
            for low, high, entry in list(table.overlapping(start, size)):
                low, high = max(low, start), min(high, start + size)
                less = entry._replace(certainty=min(certainty, entry.certainty))
                table.set(low, high - low, less)

    def _copy_of_every(self, sid: int, start: int, end: int) -> None:
        """A stream is to see what every stream has otherwise than the others do."""
        own = self._by_stream.setdefault(sid, IntervalMap())
        for first, last in gaps(own, start, end):
            for low, high, entry in self._by_stream[None].overlapping(first, last - first):
                low, high = max(low, first), min(high, last)
                own.set(low, high - low, entry)

    def is_mapped(self, sid: int | None, start: int, size: int) -> bool:
        """Do entries, doubtful ones with them, translate the whole range for a stream?

        `sid`: None if it is not known; any stream's entries do then.
        """
        every = self._by_stream[None]
        if every.covers(start, size):
            return True
        streams = self._by_stream if sid is None else (sid,)
        return any(
            all(every.covers(low, high - low) for low, high in gaps(own, start, start + size))
            for own in map(self.own, streams)
        )

    def entry(self, sid: int, start: int, size: int, direction: str | None = None) -> Entry | None:
        """Which entry made the whole range translate for a stream: the latest?

        `direction`: "r" or "w" if it must be permitted as well. The entry is as certain as the
        least certain one of the range.
        """
        entries = self._entries(sid, start, size)
        if not entries or not all(entry.permits(direction) for entry in entries):
            return None
        return latest(entries)

    def _entries(self, sid: int | None, start: int, size: int) -> list[Entry]:
        """Which entries translate the whole range for a stream? None of them if a part is not."""
        own, every = self.own(sid), self._by_stream[None]
        found = [entry for _, _, entry in own.overlapping(start, size)]
        for first, last in gaps(own, start, start + size):
            if not every.covers(first, last - first):
                return []
            found += [entry for _, _, entry in every.overlapping(first, last - first)]
        return found


def latest(entries: list[Entry]) -> Entry:
    """Which entry is the latest, as certain as the least certain of them?"""
    newest = max(entries, key=lambda entry: entry.number)
    return newest._replace(certainty=min(entry.certainty for entry in entries))


def gaps(held: Table, start: int, end: int) -> list[tuple[int, int]]:
    """Which (start, end) ranges of [start, end) are not held?"""
    found: list[tuple[int, int]] = []
    for low, high, _ in held.overlapping(start, end - start):
        if low > start:
            found.append((start, low))
        start = high
    return [*found, (start, end)] if start < end else found
