"""What does a kernel log tell: facts, and trouble? It asks every family of messages."""

from __future__ import annotations

import re

from topbit.events import Event
from topbit.readers.kernel_log import (
    amd_vi,
    dma_api,
    dmar,
    host,
    memory_state,
    smmu_v2,
    smmu_v3,
    stalls,
    swiotlb,
)
from topbit.readers.kernel_log.facts import LogFacts
from topbit.readers.kernel_log.message import MESSAGE, Family, Unreadable, attributes, trouble
from topbit.readers.wrapping import LogLine

# lib/ratelimit.c:___ratelimit
SUPPRESSED = re.compile(r"(\w{1,80}): (\d+) callbacks suppressed")
ENDLESS = re.compile(r"\d{19} callbacks suppressed")
OURS = re.compile(r"swiotlb|dma|iommu|smmu|report_addr|rmp", re.I)


def _suppressed(text: str) -> Event | None:
    match = SUPPRESSED.search(text)
    if match is None and ENDLESS.search(text):
        raise Unreadable
    if match is None or not OURS.search(match[1]):
        return None
    if len(match[2]) > 18:
        raise Unreadable
    return trouble("suppressed", text, attrs=attributes(function=match[1], count=match[2]))


FAMILIES: tuple[Family, ...] = (
    Family(("callbacks suppressed",), _suppressed),
    *swiotlb.FAMILIES,
    *smmu_v3.FAMILIES,
    *amd_vi.FAMILIES,
    *dmar.FAMILIES,
    *smmu_v2.FAMILIES,
    *memory_state.FAMILIES,
    *host.FAMILIES,
    *dma_api.FAMILIES,
    *stalls.FAMILIES,
)
"""Every family, those with the rarer words first: the first that knows a message has it."""

_READERS = [(needle, family.read) for family in FAMILIES for needle in family.needles]


class KernelLog:
    """What do the lines of one boot's kernel log tell so far?

    Attributes:
        facts: about the machine.
        smmu: the SMMU's records, which stand on several lines.
    """

    def __init__(self) -> None:
        self.facts = LogFacts()
        self.smmu = smmu_v3.SmmuLog()

    def take(self, line: LogLine) -> Event | None:
        """Which event does this line tell? Facts that it tells are kept.

        Raises:
            Unreadable: it belongs to a family, but is cut off or mangled.
        """
        text = line.text
        event = self._smmu(line.number, text)
        if event is None:
            event = _read(text)
        if event is not None:
            self.facts.seen_lines += 1
            event.time = line.time
            return event
        self.facts.take(line)
        return None

    def _smmu(self, number: int, text: str) -> Event | None:
        if not (self.smmu.waiting or ("event" in text or "priv " in text)):
            return None
        return self.smmu.take(number, text[:MESSAGE])


def _read(text: str) -> Event | None:
    for needle, read in _READERS:
        at = text.find(needle)
        if at < 0:
            continue
        # printk's lines are short: of a longer one the part around the words is enough.
        part = text if len(text) <= MESSAGE else text[max(at - MESSAGE // 2, 0) : at + MESSAGE]
        event = read(part.strip())
        if event is not None:
            return event
    return None
