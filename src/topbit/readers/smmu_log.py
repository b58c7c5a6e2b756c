"""Which SMMUv3 events does a host's kernel log tell?

The driver prints the type, the four doublewords of the record, and (from 6.15 on) the record
decoded. Both forms are read; one event comes out for both.

Source: Linux 7.2 drivers/iommu/arm/arm-smmu-v3/arm-smmu-v3.c:arm_smmu_dump_event.
"""

from __future__ import annotations

import re
import struct

from topbit.arch.smmuv3 import EventRecord
from topbit.events import Event
from topbit.readers.lines import LogLine
from topbit.smmu.outcome import event_of

MARK = "arm-smmu-v3"
RECEIVED = re.compile(r"arm-smmu-v3 (\S+): event 0x[0-9a-f]+ received:")
WORD = re.compile(r"arm-smmu-v3 (\S+):\s+0x([0-9a-f]{1,16})\s*$")
DECODED = re.compile(
    r"arm-smmu-v3 (\S+): event: (\w+) client: (.+?) sid: (0x[0-9a-f]+|0) ssid: \S+ "
    r"iova: (0x[0-9a-f]+|0) ipa: (0x[0-9a-f]+|0)"
)
# arm_smmu_evtq_thread, arm_smmu_gerror_handler
LOST = re.compile(r"EVTQ (?:overflow detected -- events|write aborted -- events may be) lost")
HOW = re.compile(r"arm-smmu-v3 (\S+): (?:un)?priv \w+ (read|write) (s1|s2)\b")


class SmmuLog:
    """Which events do the lines so far tell?"""

    def __init__(self) -> None:
        self._words: dict[str, list[int]] = {}
        self._last: dict[str, Event] = {}

    def take(self, line: LogLine) -> Event | None:
        """Which new event does this line complete?"""
        text = line.text
        if match := RECEIVED.search(text):
            self._words[match[1]] = []
            self._last.pop(match[1], None)
            return None
        if match := WORD.search(text):
            words = self._words.get(match[1])
            if words is None:
                return None
            words.append(int(match[2], 16))
            if len(words) < 4:
                return None
            del self._words[match[1]]
            event = event_of(EventRecord.unpack(struct.pack("<4Q", *words)))
            self._last[match[1]] = event
            return event
        if match := LOST.search(text):
            return Event("smmu", "smmu_lost", status="lost", detail=match[0])
        if match := DECODED.search(text):
            sid, iova, ipa = (int(match[n], 16) for n in (4, 5, 6))
            client = None if match[3].startswith("(") else match[3]
            last = self._last.get(match[1])
            if last is not None and last.sid == sid and last.address in (iova, None):
                last.device = client
                return None
            event = Event(
                "smmu",
                "smmu_event",
                device=client,
                sid=sid,
                address=iova,
                status=match[2],
                phys=ipa or None,
            )
            self._last[match[1]] = event
            return event
        if match := HOW.search(text):
            last = self._last.get(match[1])
            if last is not None and last.direction is None:
                last.direction, last.attrs = match[2][0], match[3]
        return None
