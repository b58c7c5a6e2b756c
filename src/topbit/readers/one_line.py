"""Which event or fact does one line of a log tell, or one record of an SMMU's event queue?"""

from __future__ import annotations

import re
from collections.abc import Sequence

from topbit.events import Event
from topbit.readers import smmu_queue
from topbit.readers.boot import Boot
from topbit.readers.source import Source
from topbit.readers.text import read_text

LONGEST = 1 << 16
"""Characters of a text that are read."""
WORD = re.compile(r"(?:0x)?([0-9a-fA-F]{1,16})[,;]?")
RECORDS = {4: 8, 8: 4, 32: 1}
"""Words of a record -> bytes of each: as the kernel prints them, of `hexdump`, of `xxd`."""


FACTS = {
    "realm": "The guest is an Arm CCA Realm: it speaks RSI with the RMM.",
    "kernel": "It names the kernel's release, which tells its conventions for DMA addresses.",
    "pools": "A bounce pool (swiotlb) lies there; a confidential guest shares it at boot.",
    "ram": "RAM of this machine lies there.",
    "whole_ram": "RAM of this machine lies there.",
    "bouncing": "The kernel bounces DMA because its memory is encrypted: a confidential guest "
    "(CCA, SEV, TDX, s390, POWER; pKVM from 7.3 on).",
    "encryption": "It names the scheme of memory encryption.",
    "isolation": "The guest is isolated by Hyper-V.",
    "services": "KVM's services for its guests; bits 3 and 4 are those of a pKVM guest.",
    "c_bit": "It names the place of AMD's C bit.",
    "earlycon": "The early console stands there; a Realm's at the alias of its UART.",
    "uarts": "A UART stands there.",
    "past_rsi": "A Realm's log has named its RSI version before this line.",
}
"""What a line of a kernel log tells that is no event, by the name of the fact."""


def events_of(text: str) -> list[Event]:
    """Which events does a text of one line, or of a message's few lines, tell? In their order."""
    return [event for boot in _read(text) for event in boot.events]


def fact_of(text: str) -> tuple[str, int | None] | None:
    """What does such a text of a kernel log tell about its machine, and at which address, if at
    any? None if it tells nothing.
    """
    facts = _read(text)[0].facts
    name = next((name for name in facts.told_at if name in FACTS), None)
    if name is None:
        return None
    places = [base for base, _ in (*facts.pools, *facts.ram, *facts.whole_ram)]
    places += [*facts.uarts, *([facts.earlycon] if facts.earlycon else [])]
    return FACTS[name], next(iter(places), None)


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
