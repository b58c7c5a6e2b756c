"""How can a device's access through the SMMU end?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from topbit.arch.ipa import Pa
from topbit.arch.smmuv3 import EventRecord, EventType
from topbit.events import Event

_CLASSES = {0: "CD", 1: "TT", 2: "IN", 3: "class 3"}
_WITH_ADDRESS = (
    EventType.F_UUT,
    EventType.F_WALK_EABT,
    EventType.F_TRANSLATION,
    EventType.F_ADDR_SIZE,
    EventType.F_ACCESS,
    EventType.F_PERMISSION,
)


@dataclass(frozen=True, slots=True)
class Ok:
    """Which physical bytes does the access reach?

    Attributes:
        pa: physical address of the first byte.
        size: how many of the bytes asked for stand there contiguously (the access may go on in
            another page).
        realm: they are in the Realm physical address space (else Non-secure).
    """

    pa: Pa
    size: int
    realm: bool = False


@dataclass(frozen=True, slots=True)
class Terminated:
    """Why was the access aborted without an event record?

    Attributes:
        reason: "abort" (STE.Config), "streamid" (C_BAD_STREAMID, not recorded), "unrecorded" (a
            stage-2 fault with STE.S2R = 0), "gbpa" (SMMU disabled, SMMU_GBPA.ABORT), "oas"
            (SMMU disabled, address beyond the output size), "gpf" (granule protection), "bus"
            (translated, but no memory there).
        event: the event that would have been recorded ("streamid", "unrecorded").
        pa: physical address ("gpf", "bus").
    """

    reason: str
    event: EventRecord | None = None
    pa: Pa | None = None


@dataclass(frozen=True, slots=True)
class Fault:
    """Which event did the access raise? (aborted; recorded if the event queue took it)"""

    event: EventRecord


Outcome: TypeAlias = Ok | Terminated | Fault


def event_of(record: EventRecord) -> Event:
    """What does one event record say, as an event of a recording? (IHI0070 7.3)"""
    event = Event("smmu", "smmu_event", sid=record.StreamID, status=record.name)
    if record.Type in _WITH_ADDRESS:
        event.address = record.InputAddr
        event.direction = "r" if record.RnW else "w"
        event.attrs = f"{'s2' if record.S2 else 's1'}|{_CLASSES[record.CLASS]}"
        if record.S2 and record.Type != EventType.F_WALK_EABT:  # that one has FetchAddr there
            event.phys = record.IPA
    return event
