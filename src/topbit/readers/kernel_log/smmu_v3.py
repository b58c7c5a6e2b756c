"""Which events and errors of an SMMUv3 does a log tell?

Linux and Xen print the type of an event and the four doublewords of its record, each on a line;
Linux 6.15 and later decode it too. One event comes out for both. On a serial console the lines of
other messages stand between them, and of two SMMUs each has its own.

Sources: Linux 7.2 drivers/iommu/arm/arm-smmu-v3/arm-smmu-v3.c:arm_smmu_dump_event,
:arm_smmu_evtq_thread, :arm_smmu_gerror_handler, :arm_smmu_handle_ppr, :arm_smmu_cmdq_skip_err;
Xen 4.20 xen/drivers/passthrough/arm/smmu-v3.c; RFC v4 of TDISP for Realms (2026) for "SMMU event
(event num".
"""

from __future__ import annotations

import re
import struct

from topbit.arch.smmuv3 import EventRecord, EventType
from topbit.events import Event
from topbit.readers.kernel_log.message import (
    HEX,
    Family,
    Unreadable,
    attributes,
    device_before,
    number,
    trouble,
)
from topbit.smmu.outcome import event_of

RECEIVED = re.compile(r"([\w.:@/+-]{1,80}): event 0x([0-9a-f]{1,8}) received:")
WORD = re.compile(r"([\w.:@/+-]{1,80}):\s{1,12}0x([0-9a-f]{16})(?![0-9a-fx])")
DECODED = re.compile(
    r"([\w.:@/+-]{1,80}): event: (\w{1,40}) client: (.{1,80}?) sid: (0x[0-9a-f]{1,8}|0) "
    r"ssid: \S{1,20} iova: (0x[0-9a-f]{1,16}|0) ipa: (0x[0-9a-f]{1,16}|0)(?![0-9a-f])"
)
HOW = re.compile(
    r"([\w.:@/+-]{1,80}): (?:un)?priv (?:data|inst) (read|write) (s1|s2)\b(?: \"([^\"]{0,60})\")?"
)
CLASSES = {"CD fetch": "CD", "Stage 1 translation table fetch": "TT", "Input address": "IN"}
LOST = re.compile(
    r"(?:EVTQ|PRIQ) (?:overflow detected|write aborted) -- \w+ (?:may (?:be|have been) )?lost"
)
REALM = re.compile(
    rf"event num:? {HEX},? syndrome:? {HEX},? fetch_addr:? {HEX},? input_addr:? {HEX}"
)
PRI = re.compile(
    r"sid 0x([0-9a-f]{1,8})\.0x([0-9a-f]{1,5}): .{0,60}privileged ([RWX]{0,3}) access at iova "
    rf"{HEX}"
)
MOST_OPEN = 16
"""How many SMMUs' records are put together at one time."""


class SmmuLog:
    """Which events do the lines so far tell?

    Attributes:
        damaged: the first lines of records that never became whole: (line number, text).
    """

    def __init__(self) -> None:
        self.damaged: list[tuple[int, str]] = []
        self._words: dict[str, list[int]] = {}
        self._begun: dict[str, tuple[int, str]] = {}
        self._last: dict[str, Event] = {}

    @property
    def waiting(self) -> bool:
        """Is there a record whose doublewords are still to come?"""
        return bool(self._words)

    @property
    def open(self) -> list[Event]:
        """Which events may the lines to come still add to?"""
        return list(self._last.values())

    def take(self, number_: int, text: str) -> Event | None:
        """Which new event does this line complete?

        Raises:
            Unreadable: it is a decoded record, but cut off or mangled.
        """
        if match := RECEIVED.search(text):
            self._drop(match[1])
            if len(self._words) < MOST_OPEN:
                self._words[match[1]], self._begun[match[1]] = [], (number_, text)
            return None
        if match := DECODED.search(text):
            return self._decoded(match, text)
        if ": event: " in text and " client: " in text:
            raise Unreadable
        if match := HOW.search(text):
            self._how(match)
            return None
        if self._words and (match := WORD.search(text)):
            return self._word(match)
        return None

    def end(self) -> None:
        """The log is over: records that are not whole never will be."""
        for name in list(self._words):
            self._drop(name)

    def _drop(self, name: str) -> None:
        self._last.pop(name, None)
        if self._words.pop(name, None) is not None:
            self.damaged.append(self._begun.pop(name))

    def _word(self, match: re.Match[str]) -> Event | None:
        words = self._words.get(match[1])
        if words is None:
            return None
        words.append(int(match[2], 16))
        if len(words) < 4:
            return None
        del self._words[match[1]]
        _, text = self._begun.pop(match[1])
        event = event_of(EventRecord.unpack(struct.pack("<4Q", *words)))
        event.detail = event.detail or text
        self._last[match[1]] = event
        return event

    def _decoded(self, match: re.Match[str], text: str) -> Event | None:
        if match[1] in self._words:
            self._drop(match[1])
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
            detail=text,
        )
        self._last[match[1]] = event
        return event

    def _how(self, match: re.Match[str]) -> None:
        last = self._last.get(match[1])
        if last is not None and last.direction is None:
            last.direction = match[2][0]
            kind = next(
                (c for words, c in CLASSES.items() if (match[4] or "").startswith(words)), ""
            )
            last.attrs = f"{match[3]}|{kind}" if kind else match[3]


def _lost(text: str) -> Event:
    return Event("smmu", "smmu_lost", status="lost", detail=text)


def _realm(text: str) -> Event:
    match = REALM.search(text)
    if match is None:
        raise Unreadable
    kind, _, fetch, address = (int(value, 16) for value in match.groups())
    known = kind in set(EventType)
    return Event(
        "smmu",
        "smmu_event",
        address=address,
        status=EventType(kind).name if known else f"event 0x{kind:x}",
        phys=fetch or None,
        detail=text,
    )


def _error(text: str) -> Event:
    return trouble("smmu_error", text, attrs=attributes(smmu=_smmu(text)))


def _timeout(text: str) -> Event:
    return trouble("smmu_timeout", text, attrs=attributes(smmu=_smmu(text)))


def _smmu(text: str) -> str | None:
    return device_before(text, text.partition(": ")[2]) if ": " in text else None


def _pri(text: str) -> Event | None:
    match = PRI.search(text)
    if match is None:
        return None  # "unexpected PRI request received:", before the line with the request
    return trouble(
        "smmu_pri",
        text,
        sid=int(match[1], 16),
        address=number(match[4]),
        direction="w" if "W" in match[3] else "r",
    )


FAMILIES = (
    Family(("EVTQ overflow", "EVTQ write aborted", "PRIQ overflow", "PRIQ write aborted"), _lost),
    Family(("SMMU event (event num",), _realm),
    Family(
        (
            "unexpected global error reported",
            "Service Failure Mode",
            "CMDQ error (cons",
            "MSI write aborted",
            "SMMU Error reported",
            "Wrong VSMMU event on stream",
            "L2 stream table for SID",
        ),
        _error,
    ),
    Family(("CMD_SYNC timeout", "CMDQ timeout"), _timeout),
    Family(("privileged ",), _pri),
)
