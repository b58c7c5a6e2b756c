"""Which facts does nothing decide, and what of the findings rests on them?

No verdict rests on a guess: what a rule finds by a fact of which several readings fit accuses
nobody, and says which they are.
"""

from __future__ import annotations

import copy
from typing import TypeAlias

from topbit.recording import Reading, Recording
from topbit.rules.finding import Finding
from topbit.rules.rule import Rule

UNKNOWN = {"scheme": "unknown", "realm": None, "ipa_bits": None}
"""Facts that rules rest on, as they are while nothing tells them."""

Key: TypeAlias = tuple[str, str | None, str]


def _key(finding: Finding) -> Key:
    return finding.agent, finding.device, finding.message


class OpenFacts:
    """Which facts of a recording does nothing decide?

    Args:
        recording: the recording, with what else fits in `platform.readings`.
    """

    def __init__(self, recording: Recording) -> None:
        self._readings: dict[str, list[Reading]] = {}
        for reading in recording.platform.readings:
            self._readings.setdefault(reading.fact, []).append(reading)
        self._without: dict[str, Recording] = {}
        self._found: dict[tuple[str, str], set[Key]] = {}
        for fact in [fact for fact in self._readings if fact in UNKNOWN]:
            platform = copy.copy(recording.platform)
            setattr(platform, fact, UNKNOWN[fact])
            self._without[fact] = recording.on(platform)

    def lower(self, rule: Rule, finding: Finding) -> None:
        """A violation that is none without such a fact is a note, until something decides."""
        if finding.severity != "violation":
            return
        for fact in self._without:
            if _key(finding) not in self._violations(fact, rule):
                finding.severity = "note"
                finding.readings += [f"{fact} {r.value}: {r.why}" for r in self._readings[fact]]

    def _violations(self, fact: str, rule: Rule) -> set[Key]:
        """Which violations does a rule find without the fact?"""
        if (fact, rule.id) not in self._found:
            without = self._without[fact]
            found = [] if rule.lacks(without) else rule.check(without)
            self._found[fact, rule.id] = {_key(f) for f in found if f.severity == "violation"}
        return self._found[fact, rule.id]
