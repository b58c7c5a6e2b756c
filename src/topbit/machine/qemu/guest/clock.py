"""When did the host act, on the guest's clock?

The console tells the offset to about 0.1 s. What the guest did right after a host's act tells it
far better: memory is handed out by dma_alloc() only after it was shared for it, and usually some
100 microseconds later.
"""

from __future__ import annotations

from collections.abc import Sequence

from topbit.arch.ipa import IpaSpace
from topbit.events import Event
from topbit.host.pages import PAGE

TRUSTED = 0.5  # seconds: a larger correction would mean that something else is wrong
_NEXT = 1e-6  # the guest's event comes after the host's


def lateness(
    host: Sequence[Event], guest: Sequence[Event], space: IpaSpace, *, lost: bool = False
) -> float:
    """How many seconds too late are the host's events, at least?

    Subtracted from their times it puts every sharing of a page before the page's first use, as
    closely as possible, so that no later event of the guest is overtaken.

    The last allocation of a page followed the last sharing of it, and so on backwards: a trace
    loses its oldest events first.

    Args:
        host: "convert" events with times near the guest's clock.
        guest: "dma_alloc" events with the guest's times.
        space: the Realm's IPA space.
        lost: events of the guest are missing.

    Returns:
        seconds; 0.0 if nothing tells.
    """
    shared: dict[int, list[float]] = {}
    for event in host:
        if event.event == "convert" and event.status == "shared" and event.time is not None:
            first = event.phys or 0
            for page in range(first, first + (event.size or PAGE), PAGE):
                shared.setdefault(page, []).append(event.time)
    used: dict[int, list[float]] = {}
    for event in guest:
        if event.event == "dma_alloc" and event.address is not None and event.time is not None:
            used.setdefault(space.protected(event.address) & -PAGE, []).append(event.time)
    late = [
        host_time - guest_time
        for page, times in used.items()
        # Else it came out of a pool, or was shared for something else.
        if len(times) == len(shared.get(page, ()))
        or (lost and len(times) < len(shared.get(page, ())))
        for host_time, guest_time in zip(reversed(shared[page]), reversed(times), strict=False)
        if abs(host_time - guest_time) < TRUSTED
    ]
    return max(late) + _NEXT if late else 0.0


def merge(
    host: Sequence[Event], guest: Sequence[Event], space: IpaSpace, *, lost: bool = False
) -> list[Event]:
    """Which order have the events of both, on the guest's clock?

    The host's times are corrected by `lateness`.
    """
    late = lateness(host, guest, space, lost=lost)
    for event in host:
        if event.time is not None:
            event.time -= late
    return interleave(host, guest)


def interleave(*sources: Sequence[Event]) -> list[Event]:
    """Which order have events of several sources that share a clock?

    At one time the sources come in the order in which they are given. An event without a time
    stays where it stands among its own.
    """
    events, times = [event for events in sources for event in events], []
    for source in sources:
        latest = float("-inf")
        for event in source:
            latest = latest if event.time is None else event.time
            times.append(latest)
    order = sorted(range(len(events)), key=times.__getitem__)  # which keeps what is at one time
    return [events[index] for index in order]
