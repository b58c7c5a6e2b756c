"""Which translation do the stage-2 tables hold for a stream, and since when?

As the agents said it: the VMM's table (iommu_map, iommu_unmap) stands behind untrusted devices,
the Realm's own (rtt_map, rtt_unmap, RIPAS) behind trusted ones. Where what was said leaves a
doubt, the table counts as empty there.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from topbit.replay.intervals import IntervalMap
from topbit.replay.replay import TABLE_KINDS, Row

ENTRY_KINDS = (*TABLE_KINDS, "rtt_map", "rtt_unmap", "ripas")


@dataclass(frozen=True, slots=True)
class Entry:
    """Which event made a translation valid?

    Attributes:
        number: its place among the events that were applied.
        row: the event.
    """

    number: int
    row: Row = field(compare=False)


Held = IntervalMap[Entry]


class Entries:
    """What do the tables hold after the events so far?"""

    def __init__(self) -> None:
        self._vmm: dict[int | None, Held] = {}
        self._realm: Held = IntervalMap()
        self._ram: Held = IntervalMap()

    def apply(self, number: int, row: Row) -> None:
        """Take one event into the state; `number` grows from event to event."""
        kind, address, size = row["event"], row["address"], row["size"] or 0
        entry = Entry(number, row)
        if kind == "ripas":
            if row["phys"] is None:
                return
            if row["attrs"] == "RAM" and row["status"] == "ok":
                self._ram.set(row["phys"], size, entry)
            else:
                self._ram.clear(row["phys"], size)
        elif address is None:
            return
        elif kind == "iommu_map":
            # A failed map may have changed a part, like a failed unmap.
            held = self._vmm.setdefault(row["sid"], IntervalMap())
            if row["status"] == "ok":
                held.set(address, size, entry)
            else:
                held.clear(address, size)
        elif kind == "iommu_unmap":
            for sid, held in self._vmm.items():
                if row["sid"] is None or sid in (row["sid"], None):
                    held.clear(address, size)
        elif kind == "rtt_map":
            self._realm.set(address, size, entry)
        elif kind == "rtt_unmap":
            self._realm.clear(address, size)

    def of_vmm(self, sid: int, address: int, size: int, direction: str | None) -> Entry | None:
        """Which entries of the VMM's table translate the whole range for a stream: the latest?

        `direction`: "r" or "w" if they must permit it, too; None if that does not matter.
        """
        for known in (sid, None):
            held = self._vmm.get(known)
            entry = None if held is None else _latest(held, address, size, direction)
            if entry is not None:
                return entry
        return None

    def of_realm(self, address: int, size: int) -> Entry | None:
        """Which entries of the Realm's table translate the whole range: the latest?

        A protected page is valid for hardware only while its RIPAS is RAM (DEN0137, HIPAS and
        RIPAS of an RTT entry).
        """
        entry = _latest(self._realm, address, size)
        if entry is None or entry.row["attrs"] == "unprotected":
            return entry
        ram = _latest(self._ram, address, size)
        return None if ram is None else max(entry, ram, key=lambda each: each.number)


def _latest(held: Held, address: int, size: int, direction: str | None = None) -> Entry | None:
    if not held.covers(address, size):
        return None
    entries = [entry for _, _, entry in held.overlapping(address, size)]
    if direction and any(direction not in (e.row["attrs"] or "r|w") for e in entries):
        return None
    return max(entries, key=lambda entry: entry.number)
