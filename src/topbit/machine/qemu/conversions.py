"""Does work that converts pages again and again leave more of them shared each time?

A driver that is bound anew shares its coherent memory anew. While it is unbound, as few pages are
shared as the time before; the least number over some time grows only if pages are left behind.
"""

from __future__ import annotations

from collections.abc import Iterable

from topbit.events import Event
from topbit.machine.qemu.guest_report import GuestReport
from topbit.scenario.scenario import WorkloadSpec
from topbit.vmm.slots import PAGE

ENOUGH = 10  # times; the first ones may share what stays


def least_shared(events: Iterable[Event], spans: list[tuple[float, float]]) -> list[int]:
    """How many pages were shared at least, in each of these spans of time?

    Args:
        events: of a whole run, on the guest's clock; only "convert" counts.
        spans: seconds, from and to.
    """
    least = [-1] * len(spans)
    shared: set[int] = set()
    since = 0.0
    converted = [e for e in events if e.event == "convert" and e.status in ("shared", "private")]
    for event in [*sorted(converted, key=lambda e: e.time or 0.0), None]:
        until = float("inf") if event is None else event.time or 0.0
        for index, (start, end) in enumerate(spans):
            if since < end and until > start and not 0 <= least[index] <= len(shared):
                least[index] = len(shared)
        if event is not None:
            first = event.phys or 0
            pages = range(first // PAGE, -(-(first + (event.size or 0)) // PAGE))
            if event.status == "shared":
                shared.update(pages)
            else:
                shared.difference_update(pages)
            since = until
    return least


def leaks(events: Iterable[Event], report: GuestReport, work: WorkloadSpec) -> list[str]:
    """Which steps that were repeated often left more pages shared in the end than before?"""
    repeated = {"rebind-": work.rebinds, "reload-": work.reloads}
    often = tuple(word for word, times in repeated.items() if times >= ENOUGH)
    steps, spans = [], []
    for step in report.steps.values():
        if often and step.name.startswith(often) and step.start is not None and step.end:
            third = (step.end - step.start) / 3
            steps.append(step.name)
            spans += [(step.start + third, step.end - third), (step.end - third, step.end)]
    least = least_shared(events, spans)
    return [
        f"in the last third of the guest's step {name} {after - before} pages more stayed shared "
        "than in the one before: they are left behind each time"
        for name, before, after in zip(steps, least[::2], least[1::2], strict=True)
        if after > before
    ]
