"""What does an event record say, as an event of a recording? (IHI0070 7.3)"""

from __future__ import annotations

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


def event_of(record: EventRecord) -> Event:
    """What does one event record say?"""
    event = Event("smmu", "smmu_event", sid=record.StreamID, status=record.name)
    if record.Type in _WITH_ADDRESS:
        event.address = record.InputAddr
        event.direction = "r" if record.RnW else "w"
        event.attrs = f"{'s2' if record.S2 else 's1'}|{_CLASSES[record.CLASS]}"
        if record.S2 and record.Type != EventType.F_WALK_EABT:  # that one has FetchAddr there
            event.phys = record.IPA
    return event
