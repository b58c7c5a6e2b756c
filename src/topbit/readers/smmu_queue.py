"""Which events does a dump of an SMMUv3 event queue hold?

32-byte little-endian records (IHI0070 7.3); unused ones are zero.
"""

from __future__ import annotations

from topbit.arch.smmuv3 import EVENT_BYTES, EventRecord, EventType
from topbit.errors import InputError
from topbit.events import Event
from topbit.smmu.outcome import event_of

IMPLEMENTATION_DEFINED = set(range(0xE0, 0xF0))
"""Event types that each SMMU may use as it likes (IHI0070 7.3)."""


def parse(name: str, data: bytes) -> list[Event]:
    """Which events does the dump hold, with their record numbers as lines?

    Raises:
        InputError: its size is no multiple of a record, or it holds no event records.
    """
    if len(data) % EVENT_BYTES:
        raise InputError(
            f"is no whole SMMU event queue: {len(data)} bytes are no multiple of "
            f"{EVENT_BYTES}-byte records",
            where=name,
            hint="dump the queue again, or give a text log",
        )
    known = {int(kind) for kind in EventType} | IMPLEMENTATION_DEFINED
    events: list[Event] = []
    for number in range(len(data) // EVENT_BYTES):
        raw = data[number * EVENT_BYTES : (number + 1) * EVENT_BYTES]
        if not any(raw):
            continue
        record = EventRecord.unpack(raw)
        if record.Type not in known:
            raise InputError(
                f"is no SMMU event queue: record {number} has type 0x{record.Type:02x}, which "
                "IHI0070 does not define",
                where=name,
            )
        event = event_of(record)
        event.source, event.line = name, number
        events.append(event)
    return events
