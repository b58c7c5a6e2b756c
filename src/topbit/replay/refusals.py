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
from functools import lru_cache
from typing import TypeAlias

import polars as pl

from topbit.recording import Platform, Recording
from topbit.recording.recording import NUMBER
from topbit.replay.columns import MAPS, PAGE_SHIFT, at_doorbell, input_address
from topbit.replay.faults import (
    ACCESS,
    FAULT_KINDS,
    PERMISSION,
    TRANSLATION,
    Fault,
    fault_rows,
    key_of,
)
from topbit.replay.kept import kept
from topbit.replay.page_set import numbers_near, pages_of
from topbit.replay.replay import STATE_KINDS, Replay, Row, states_at
from topbit.replay.tables import Entry

LATE = 2.0
"""Seconds after an access by which its event record has been collected. The QEMU machine looks
every 0.25 s, and up to 0.25 s later when nothing happens; the rest is for a busy machine."""

Key: TypeAlias = tuple[object, ...]


REFUSED = pl.col("status").is_in([TRANSLATION, PERMISSION])
"""Expression: may a table have held what was refused? Of other faults no event tells it."""
STAGE_2_INPUT = {"s2", "IN"}
"""Attributes of a fault of stage 2 at the input address, not at a table's or a stage 1's."""


@dataclass(slots=True)
class Refusal:
    """What is known about one kind of refused access (as `fault_rows` tells them apart)?

    Attributes:
        at_first: the table held the address, perhaps, when the first of them was recorded.
        times: how many of them were certainly refused against the table.
        row: the event of the first of those.
        entry: the event that made the translation valid.
        mapping: the guest's mapping of the address; None for an interrupt's doorbell.
    """

    at_first: bool
    times: int = 0
    row: Row | None = None
    entry: Row | None = None
    mapping: Row | None = None


def was_translated(recording: Recording, fault: Fault) -> bool:
    """Did the stream's own table hold the address, perhaps, when this fault was recorded?"""
    found = refusals(recording).get(key_of(fault.row))
    return found is not None and found.at_first


def nothing_lost(recording: Recording) -> str:
    """Are all events there, so that what was mapped, given and refused is known?"""
    if recording.platform.lost_events:
        return "the guest's trace lost events"
    return "the SMMU lost event records" if recording.has("smmu_lost") else ""


@kept
def refusals(recording: Recording) -> dict[Key, Refusal]:
    """Which refused accesses did a table hold?"""
    platform = recording.platform
    if not platform.one_clock or nothing_lost(recording):
        return {}
    rows = fault_rows(recording).filter(REFUSED)
    keys = {key_of(row) for row in rows.iter_rows(named=True)}
    if not keys:
        return {}
    pages = pages_of(platform, rows)
    beside = pages.widened()
    refused = numbers_near(recording, pages, *FAULT_KINDS, where=REFUSED)
    asked = pl.concat([refused, numbers_near(recording, beside, *MAPS)])
    recorded = set(recording.scan(ACCESS).select("sid").unique().collect()["sid"])
    given = FirstGiven(platform, rows["address"].drop_nulls().to_list())
    event = lru_cache(recording.row)  # a burst of refusals meets the same few again and again
    found: dict[Key, Refusal] = {}
    for row, state in states_at(recording, asked, beside, *STATE_KINDS):
        if row["event"] in MAPS:
            given.apply(row)
        elif (key := key_of(row)) in keys and (
            row["event"] == ACCESS or row["sid"] not in recorded
        ):
            number = state.mapping_at(row["address"])
            mapping = None if number is None else event(number)
            entry = _entry(platform, row, mapping, state)
            refusal = found.setdefault(key, Refusal(at_first=entry is not None))
            if entry is None or not entry.certain:
                continue
            made = event(entry.number)
            if _was_there(row, made, given):
                refusal.times += 1
                if refusal.row is None:
                    refusal.row, refusal.entry, refusal.mapping = row, made, mapping
    return found


def _entry(platform: Platform, row: Row, mapping: Row | None, state: Replay) -> Entry | None:
    """Which entry of the stream's table translates what a device rightly accessed?"""
    sid, address, size = row["sid"], row["address"], row["size"] or 1
    if row["event"] != ACCESS and set((row["attrs"] or "").split("|")) != STAGE_2_INPUT:
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
    permission = row["status"] == PERMISSION
    if facts.trusted:
        # Which permissions the Realm's table gives, no event tells.
        return None if permission else state.realm_entry(address, size)
    if mapping is not None and not platform.has_shared_bit(address):
        return None  # the guest should not have given it (F2)
    if permission and (row["direction"] is None or against(row, mapping)):
        return None
    return state.stage2.entry(sid, address, size, row["direction"] if permission else None)


def _was_there(row: Row, entry: Row, given: FirstGiven) -> bool:
    """Had the event that made the entry come before the access?"""
    if row["event"] == ACCESS:
        return True
    first = given.of(row["address"])
    if first is not None and first > entry[NUMBER]:
        return True
    now, since = row["time"], entry["time"]
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
        pages = {address >> PAGE_SHIFT for address in addresses}
        self._pages = sorted({page + beside for page in pages for beside in (-1, 0, 1)})
        self._first: dict[int, int] = {}

    def apply(self, row: Row) -> None:
        """Take one mapping or allocation into account."""
        if row["address"] is None:
            return
        start = input_address(self._platform, row["address"])
        end = start + (row["size"] or 1)
        at = bisect_left(self._pages, start >> PAGE_SHIFT)
        while at < len(self._pages) and self._pages[at] << PAGE_SHIFT < end:
            self._first.setdefault(self._pages[at], row[NUMBER])
            at += 1

    def of(self, address: int) -> int | None:
        """At which event; None: the page itself was not given so far."""
        page = address >> PAGE_SHIFT
        if page not in self._first:
            return None
        return min(self._first.get(near, self._first[page]) for near in (page - 1, page, page + 1))
