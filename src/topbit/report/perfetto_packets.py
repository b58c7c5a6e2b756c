"""How is one packet of a trace for ui.perfetto.dev written?

Source: Perfetto protos/perfetto/trace/trace_packet.proto, track_event/track_event.proto,
track_descriptor.proto, debug_annotation.proto (v59); the numbers below are those of their fields.
"""

from __future__ import annotations

from topbit.errors import printable
from topbit.report.protobuf import message, number, text

TRACE_PACKET = 1
TIMESTAMP, SEQUENCE, TRACK_EVENT, TRACK_DESCRIPTOR = 8, 10, 11, 60
UUID, NAME, PARENT, COUNTER, UNIT_NAME = 1, 2, 5, 8, 6
EVENT_TYPE, EVENT_TRACK, EVENT_CATEGORY, EVENT_NAME, EVENT_ANNOTATION = 9, 11, 22, 23, 4
COUNTER_VALUE = 30
INSTANT, COUNT = 3, 4
ANNOTATION_NAME, ANNOTATION_STRING = 10, 6


class Tracks:
    """Which tracks are there? Each is described once, before all events."""

    def __init__(self) -> None:
        self.descriptors: list[bytes] = []
        self._known: dict[tuple[str, ...], int] = {}

    def of(self, *path: str, counter: str = "") -> int:
        """Which number has the track with this name, below those before it?"""
        if path in self._known:
            return self._known[path]
        parent = self.of(*path[:-1]) if path[1:] else 0
        self._known[path] = uuid = len(self._known) + 1
        content = number(UUID, uuid) + text(NAME, printable(path[-1]))
        if parent:
            content += number(PARENT, parent)
        if counter:
            content += message(COUNTER, text(UNIT_NAME, counter))
        self.descriptors.append(_packet(message(TRACK_DESCRIPTOR, content)))
        return uuid


def _packet(content: bytes) -> bytes:
    return message(TRACE_PACKET, content + number(SEQUENCE, 1))


def instant(track: int, time: int, name: str, category: str, told: dict[str, str]) -> bytes:
    """How is an instant on a track written? `time`: nanoseconds."""
    event = number(EVENT_TYPE, INSTANT) + number(EVENT_TRACK, track)
    event += text(EVENT_CATEGORY, category) + text(EVENT_NAME, name)
    for key, value in told.items():
        annotation = text(ANNOTATION_NAME, key) + text(ANNOTATION_STRING, printable(value))
        event += message(EVENT_ANNOTATION, annotation)
    return _packet(number(TIMESTAMP, time) + message(TRACK_EVENT, event))


def counted(track: int, time: int, value: int) -> bytes:
    """How is a counter's new value written?"""
    event = number(EVENT_TYPE, COUNT) + number(EVENT_TRACK, track) + number(COUNTER_VALUE, value)
    return _packet(number(TIMESTAMP, time) + message(TRACK_EVENT, event))
