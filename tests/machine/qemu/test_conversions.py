"""Do pages that stay shared show?"""

from __future__ import annotations

import pytest

from topbit.events import Event
from topbit.machine.qemu.conversions import leaks, low_points
from topbit.machine.qemu.guest.report import GuestReport, StepReport
from topbit.scenario.scenario import WorkloadSpec

PAGE = 4096
STEP = "rebind-0000-00-01-0"


def cycles(times: int, left: int) -> list[Event]:
    """`times` seconds; each shares 4 pages and takes all but `left` of them back."""
    events = []
    for i in range(times):
        first = i * 4 * PAGE
        for status, at, pages in (("shared", 0.2, 4), ("private", 0.6, 4 - left)):
            event = Event("vmm", "convert", phys=first, size=pages * PAGE, status=status)
            event.time = i + at
            events.append(event)
    return events


def report(times: int) -> GuestReport:
    return GuestReport(steps={STEP: StepReport(STEP, 0, 0.0, float(times))})


def test_low_points() -> None:
    assert low_points(cycles(4, 1), 0, 10) == [1, 2, 3]
    assert low_points(cycles(4, 1), 1.5, 2.5) == [2]
    assert low_points(cycles(4, 0), 0, 10) == [0, 0, 0]


def test_events_need_not_be_in_order() -> None:
    assert low_points(reversed(cycles(4, 1)), 0, 10) == [1, 2, 3]


@pytest.mark.parametrize(("times", "left", "found"), [(12, 0, 0), (12, 1, 1), (5, 1, 0)])
def test_what_is_left_shared_each_time_is_said(times: int, left: int, found: int) -> None:
    said = leaks(cycles(times, left), report(times), WorkloadSpec(rebinds=times))
    assert len(said) == found
    assert all(STEP in line for line in said)


def test_a_step_that_was_not_repeated_is_not_judged() -> None:
    assert leaks(cycles(12, 1), report(12), WorkloadSpec(rebinds=1)) == []
