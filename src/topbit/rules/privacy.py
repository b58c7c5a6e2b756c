"""Does one mapping of a trusted device stay between the Realm and the device, and why?"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, NamedTuple

from topbit.replay.replay import Row
from topbit.rules.finding import Evidence
from topbit.rules.wording import evidence_of


class Privacy(StrEnum):
    """Does a mapping keep its data between the Realm and its device?"""

    CONFIDENTIAL = "confidential"
    NOT = "not confidential"
    INCONCLUSIVE = "inconclusive"


class Reason(NamedTuple):
    """Why is it so, and which event shows it, if one does?"""

    answer: Privacy
    why: str
    shown: Row | None = None


NOTHING_AGAINST = Reason(Privacy.CONFIDENTIAL, "")


@dataclass(slots=True)
class Mapping:
    """Which mapping of a trusted device is it, and what is known of it so far?

    Attributes:
        row: the event that made it.
        sid: the device's StreamID; None if it is not known.
        ipa, size: the guest memory that its address means.
        pages: physical ranges (start, size) that the Realm's table gave for it, where known.
        reason: the answer.
    """

    row: Row
    sid: int | None
    ipa: int
    size: int
    pages: list[tuple[int, int]] = field(default_factory=list)
    reason: Reason = NOTHING_AGAINST

    @property
    def settled(self) -> bool:
        """Can nothing change the answer any more?"""
        return self.reason.answer is Privacy.NOT

    def spoil(self, reason: Reason) -> None:
        """Take what speaks against it; what speaks first is kept, unless it was only a doubt."""
        known = self.reason.answer
        if known is Privacy.CONFIDENTIAL or (
            known is Privacy.INCONCLUSIVE and reason.answer is Privacy.NOT
        ):
            self.reason = reason

    def holds(self, pa: int, size: int = 1) -> bool:
        """Is any of this physical range its memory?"""
        return any(pa < start + length and start < pa + size for start, length in self.pages)


@dataclass(frozen=True, slots=True)
class Answered:
    """Which mappings of a device have the same answer for the same reason?

    Attributes:
        device, answer, why: what they have in common.
        count: how many there are.
        evidence: the first of them, and the event that decided it, if one did.
    """

    device: str
    answer: Privacy
    why: str
    count: int
    evidence: tuple[Evidence, ...]

    def to_dict(self) -> dict[str, Any]:
        """What is the JSON form?"""
        return {
            "device": self.device,
            "answer": self.answer,
            "why": self.why or None,
            "count": self.count,
            "evidence": [piece.to_dict() for piece in self.evidence],
        }


def answered(mappings: Iterable[Mapping]) -> tuple[Answered, ...]:
    """What is the answer for each device, with each reason once and counted?"""
    groups: dict[tuple[str, Privacy, str], list[Mapping]] = {}
    for mapping in mappings:
        key = (mapping.row["device"], mapping.reason.answer, mapping.reason.why)
        groups.setdefault(key, []).append(mapping)
    found = []
    for (device, answer, why), group in groups.items():
        first = group[0]
        shown = [first.row] + ([first.reason.shown] if first.reason.shown else [])
        evidence = tuple(map(evidence_of, shown))
        found.append(Answered(device, answer, why, len(group), evidence))
    return tuple(found)
