"""Did the host do to its guest what the scenario has it do in the middle of the work?"""

from __future__ import annotations

from collections.abc import Iterable

from topbit.events import Event
from topbit.scenario.tables import HostSpec


def not_injected(spec: HostSpec, events: Iterable[Event]) -> list[str]:
    """Which note says that the host did not do, or not wholly, what it was to do to its guest?"""
    wanted = (spec.destroy_page != "none") + bool(spec.disable_stream)
    done = sum((e.agent, e.event, e.status) == ("host", "state", "injected") for e in events)
    if done >= wanted:
        return []
    how = "did not do all that" if done else "never did what"
    return [f"the host {how} it was to do in the middle of the work"]
