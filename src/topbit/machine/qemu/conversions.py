"""Does work that converts pages again and again leave more of them shared each time?

A driver that is bound anew shares its coherent memory anew. While it is unbound, as few pages are
shared as the time before, unless somebody leaves pages behind.
"""

from __future__ import annotations

from collections.abc import Iterable

from topbit.events import Event
from topbit.host.pages import PAGE
from topbit.machine.qemu.guest.report import GuestReport
from topbit.scenario.scenario import WorkloadSpec

ENOUGH = 10  # times; the first ones may share what stays


def low_points(events: Iterable[Event], start: float, end: float) -> list[int]:
    """How many pages were shared each time when pages had turned private and turn shared again?

    Args:
        events: of a whole run, on the guest's clock; only "convert" counts.
        start, end: seconds; the low points between them are told.
    """
    converted = [e for e in events if e.event == "convert" and e.status in ("shared", "private")]
    converted.sort(key=lambda event: event.time or 0.0)
    shared: set[int] = set()
    found: list[int] = []
    before = ""
    for event in converted:
        if event.status == "shared" and before == "private" and start <= (event.time or 0.0) <= end:
            found.append(len(shared))
        before = event.status or ""
        first = event.phys or 0
        pages = range(first // PAGE, -(-(first + (event.size or 0)) // PAGE))
        if event.status == "shared":
            shared.update(pages)
        else:
            shared.difference_update(pages)
    return found


def leaks(events: Iterable[Event], report: GuestReport, work: WorkloadSpec) -> list[str]:
    """Which steps that were repeated often left more pages shared in the end than before?"""
    repeated = {"rebind-": work.rebinds, "reload-": work.reloads}
    often = tuple(word for word, times in repeated.items() if times >= ENOUGH)
    events = list(events) if often else []
    found = []
    for step in report.steps.values():
        if often and step.name.startswith(often) and step.start is not None and step.end:
            points = low_points(events, step.start, step.end)
            third = len(points) // 3
            if not third:
                continue
            before, after = min(points[third : 2 * third]), min(points[-third:])
            if after > before:
                found.append(
                    f"in the last third of the guest's step {step.name} {after - before} pages "
                    "more stayed shared than in the one before: they are left behind each time"
                )
    return found
