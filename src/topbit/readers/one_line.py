"""Which events does one line of a log or a trace tell, or one raw record of an SMMU's queue?"""

from __future__ import annotations

import re
from collections.abc import Sequence

from topbit.events import Event
from topbit.readers import smmu_queue
from topbit.readers.boot import Boot
from topbit.readers.kernel_log.facts import LogFacts
from topbit.readers.source import Source
from topbit.readers.text import read_text

LONGEST = 1 << 16
"""Characters of a text that are read."""
WORD = re.compile(r"(?:0x)?([0-9a-fA-F]{1,16})[,;]?")
RECORDS = {4: 8, 8: 4, 32: 1}
"""Words of a record -> bytes of each: as the kernel prints them, of `hexdump`, of `xxd`."""


def events_of(text: str) -> list[Event]:
    """Which events does a text of one line, or of a message's few lines, tell? In their order."""
    return [event for boot in _read(text) for event in boot.events]


def facts_of(text: str) -> LogFacts:
    """Which facts about its machine does such a text of a kernel log tell?"""
    return _read(text)[0].facts


def _read(text: str) -> list[Boot]:
    # What a shell hands over need not be characters.
    source = Source("", "text", f"{text[:LONGEST]}\n".encode(errors="replace"))
    return read_text(source, lambda lines: None)


def record_of(words: Sequence[str]) -> Event | None:
    """Which event is a raw record of an SMMUv3's event queue, given in hexadecimal words?

    Args:
        words: 4 of 64 bits, 8 of 32 bits (each a little-endian number), or 32 bytes.

    Returns:
        None if these are no such words.

    Raises:
        InputError: they are a record of a type that IHI0070 does not define.
    """
    size = RECORDS.get(len(words))
    found = [WORD.fullmatch(word) for word in words]
    if size is None or not all(found):
        return None
    numbers = [int(match[1], 16) for match in found if match]
    if any(number >> (8 * size) for number in numbers):
        return None
    data = b"".join(number.to_bytes(size, "little") for number in numbers)
    events = smmu_queue.parse("the record", data)
    return events[0] if events else None
