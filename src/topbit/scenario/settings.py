"""Which settings does a scenario tell its recording, and which of them are not the usual ones?"""

from __future__ import annotations

from collections.abc import Mapping

from topbit.scenario.scenario import Scenario
from topbit.scenario.tables import values

TOLD = ("realm", "guest", "vmm", "host", "workload")
"""Tables that are told; devices are facts of their own in a recording."""


def settings(scenario: Scenario) -> dict[str, str]:
    """Which settings may a rule or a reader of the report want to see? By "table.key"."""
    return {
        f"{table}.{key}": str(value)
        for table in TOLD
        for key, value in values(getattr(scenario, table)).items()
        if value not in (None, "")
    }


def unusual(told: Mapping[str, str]) -> list[str]:
    """Which of these settings has a scenario only if it says so?"""
    usual = settings(Scenario(name="usual"))
    return [key for key, value in told.items() if value != usual.get(key)]
