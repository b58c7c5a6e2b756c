"""Which accesses did the SMMU refuse although the stream's own table translates them?

Where an access itself was recorded, the order of events is exact. An SMMU event record is stamped
when it is taken out of the queue: the access was earlier, and what a table holds now may have come
after it. It is certain that the table held the address then only if the entry is older than any
record waits (`LATE`), or if the guest gave the page to a device for the first time after the entry
was there, and no page beside it before: no device knew it until then, nor read on into it.
"""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass
from typing import TypeAlias
from weakref import WeakKeyDictionary

import polars as pl

from topbit.recording import Platform, Recording
from topbit.replay.columns import MAPS, at_doorbell, input_address
from topbit.replay.entries import ENTRY_KINDS, Entries, Entry
from topbit.replay.faults import FAULT_KINDS, Fault, fault_rows, key_of
from topbit.replay.replay import MAPPING_KINDS, Row, replay

LATE = 2.0
"""Seconds after an access by which its event record has been collected. The QEMU machine looks
every 0.25 s, and up to 0.25 s later when nothing happens; the rest is for a busy machine."""

Key: TypeAlias = tuple[object, ...]


@dataclass(slots=True)
class Refusal:
    """What is known about one kind of refused access (as `fault_rows` tells them apart)?

    Attributes:
        at_first: the table held the address when the first of them was recorded.
        times: how many of them were certainly refused against the table.
        row: the event of the first of those.
        entry: what made the translation valid.
        mapping: the guest's mapping of the address; None for an interrupt's doorbell.
    """

    at_first: bool
    times: int = 0
    row: Row | None = None
    entry: Entry | None = None
    mapping: Row | None = None


_known: WeakKeyDictionary[Recording, dict[Key, Refusal]] = WeakKeyDictionary()


def refusals(recording: Recording) -> dict[Key, Refusal]:
    """Which refused accesses did a table hold? Several rules ask; the answer is kept."""
    if recording not in _known:
        _known[recording] = _refusals(recording)
    return _known[recording]


def was_translated(recording: Recording, fault: Fault) -> bool:
    """Did the stream's own table hold the address when this fault was recorded?"""
    found = refusals(recording).get(key_of(fault.row))
    return found is not None and found.at_first


def nothing_lost(recording: Recording) -> str:
    """Are all events there, so that what was mapped, given and refused is known?"""
    if recording.platform.lost_events:
        return "the guest's trace lost events"
    return "the SMMU lost event records" if recording.has("smmu_lost") else ""


def _refusals(recording: Recording) -> dict[Key, Refusal]:
    platform = recording.platform
    if not platform.one_clock or nothing_lost(recording):
        return {}
    rows = fault_rows(recording).filter(pl.col("status").is_in(["F_TRANSLATION", "F_PERMISSION"]))
    keys = {key_of(row) for row in rows.iter_rows(named=True)}
    if not keys:
        return {}
    recorded = set(recording.of_kind("access")["sid"])
    given = FirstGiven(platform, rows["address"].drop_nulls().to_list())
    entries = Entries()
    found: dict[Key, Refusal] = {}
    watched = (*FAULT_KINDS, *MAPS, *ENTRY_KINDS)
    for number, (row, state) in enumerate(replay(recording, *watched, state_kinds=MAPPING_KINDS)):
        kind = row["event"]
        if kind in MAPS:
            given.apply(number, row)
        elif kind in ENTRY_KINDS:
            entries.apply(number, row)
        elif (key := key_of(row)) in keys and (kind == "access" or row["sid"] not in recorded):
            mapping = state.mapping_at(row["address"])
            entry = _entry(platform, row, mapping, entries)
            refusal = found.setdefault(key, Refusal(at_first=entry is not None))
            if entry is not None and _certain(row, entry, given):
                refusal.times += 1
                if refusal.row is None:
                    refusal.row, refusal.entry, refusal.mapping = row, entry, mapping
    return found


def _entry(platform: Platform, row: Row, mapping: Row | None, entries: Entries) -> Entry | None:
    """Which entry of the stream's table translates what a device rightly accessed?"""
    sid, address, size = row["sid"], row["address"], row["size"] or 1
    if row["event"] == "smmu_event" and set((row["attrs"] or "").split("|")) != {"s2", "IN"}:
        return None
    device = row["device"] or (None if sid is None else platform.device_of_sid(sid))
    facts = platform.devices.get(device or "")
    # What stands behind an unknown stream is unknown; behind a guest's IOMMU the address is not
    # the one that stage 2 translates.
    if sid is None or facts is None or facts.behind_iommu:
        return None
    if mapping is None:
        if not at_doorbell(platform, address):
            return None
    elif mapping["device"] not in (None, device):
        return None
    permission = row["status"] == "F_PERMISSION"
    if facts.trusted:
        # Which permissions the Realm's table gives, no event tells.
        return None if permission else entries.of_realm(address, size)
    if mapping is not None and not platform.has_shared_bit(address):
        return None  # the guest should not have given it (F2)
    if permission and (row["direction"] is None or against(row, mapping)):
        return None
    return entries.of_vmm(sid, address, size, row["direction"] if permission else None)


def _certain(row: Row, entry: Entry, given: FirstGiven) -> bool:
    """Was the entry there already when the access came?"""
    if row["event"] == "access":
        return True
    first = given.of(row["address"])
    if first is not None and first > entry.number:
        return True
    now, since = row["time"], entry.row["time"]
    return now is not None and since is not None and bool(now - since > LATE)


def against(row: Row, mapping: Row | None) -> bool:
    """Does an access go against the direction of the guest's mapping?"""
    direction = None if mapping is None else mapping["direction"]
    return (row["direction"], direction) in (("w", "TO_DEVICE"), ("r", "FROM_DEVICE"))


class FirstGiven:
    """When did the guest give a page, or one beside it, to any device for the first time?

    Args:
        platform: the platform, for what its bus does to addresses.
        addresses: the ones that will be asked for.
    """

    def __init__(self, platform: Platform, addresses: list[int]) -> None:
        self._platform = platform
        pages = {address >> 12 for address in addresses}
        self._pages = sorted({page + beside for page in pages for beside in (-1, 0, 1)})
        self._first: dict[int, int] = {}

    def apply(self, number: int, row: Row) -> None:
        """Take one mapping or allocation into account."""
        if row["address"] is None:
            return
        start = input_address(self._platform, row["address"])
        end = start + (row["size"] or 1)
        at = bisect_left(self._pages, start >> 12)
        while at < len(self._pages) and self._pages[at] << 12 < end:
            self._first.setdefault(self._pages[at], number)
            at += 1

    def of(self, address: int) -> int | None:
        """At which event; None: the page itself was not given so far."""
        page = address >> 12
        if page not in self._first:
            return None
        return min(self._first.get(near, self._first[page]) for near in (page - 1, page, page + 1))
