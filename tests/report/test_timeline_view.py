"""How the timeline is laid out on a page."""

from __future__ import annotations

import pytest

from report_kinds import LOGS, S
from topbit.events import Event
from topbit.recording import Recording
from topbit.report.evidence_events import events_of
from topbit.report.map_view import Pin
from topbit.report.timeline import positions, timeline
from topbit.report.timeline_view import PLACES, TimelineView, timeline_view
from topbit.rules.finding import Finding
from topbit.rules.wording import evidence_of

EVENTS = [
    Event("guest", "dma_map", device="nvme0", address=S | 0x76B0_1000, size=4096),
    Event("smmu", "smmu_event", sid=8, status="F_TRANSLATION"),
    Event("vmm", "convert", phys=1, status="shared"),
    Event("vmm", "iommu_map", address=1, pa=1, size=1),
    Event("guest", "dma_unmap", device="nvme0", address=S | 0x76B0_1000, size=4096),
]


def view(events: list[Event]) -> TimelineView:
    recording = Recording.of_events(LOGS, events)
    pieces = [evidence_of(recording.row(n)) for n in range(len(events))]
    findings = [
        Finding("F1", "violation", "vmm", "x", evidence=pieces[2:3]),
        Finding("F1", "violation", "vmm", "no evidence"),
        Finding("F1", "violation", "vmm", "x", evidence=list(reversed(pieces))),
    ]
    found = events_of(recording, pieces)
    made = timeline(recording, PLACES, 10)
    return timeline_view(made, positions(recording)[1], findings, found)


def test_lanes_say_what_they_count_and_draw_it() -> None:
    device, vmm = view(EVENTS).lanes
    assert (device.name, device.events, device.pool) == ("nvme0", 3, "4 KiB")
    assert device.counts == (("maps", 1), ("unmaps", 1), ("faults", 1))
    assert [shape.style for shape in device.shapes] == ["pool-use", "maps", "faults"]
    assert device.shapes[2].path == "M60 24v-24h1v24z"
    assert (vmm.counts, vmm.pool) == ((("conversions", 1), ("table changes", 1)), "")
    assert [(s.style, s.path) for s in vmm.shapes] == [
        ("conversions", "M120.5 14V24"), ("tables", "M180.5 14V24"),
    ]  # fmt: skip


def test_findings_have_pins_at_their_first_event() -> None:
    assert view(EVENTS).pins == (Pin(0.0, (3,)), Pin(50.0, (1,)))


def test_the_axis_is_of_events_or_of_seconds() -> None:
    made = view(EVENTS)
    assert (made.axis, made.events) == (("0", "1", "2", "3", "4"), 5)
    timed = [Event("guest", "dma_map", time=t) for t in (1.0, 3.0)]
    assert view([*timed]).axis == ("1.000", "1.500", "2.000", "2.500", "3.000")
    assert "seconds" in view([*timed]).unit


@pytest.mark.parametrize(
    ("times", "axis"),
    [
        ((1.0, 1.002), ("1.00000", "1.00050", "1.00100", "1.00150", "1.00200")),
        ((0.0, 4000.0), ("0.000", "1,000.000", "2,000.000", "3,000.000", "4,000.000")),
        ((7.0, 7.0), ("7.000",)),
    ],
)
def test_times_on_the_axis_can_be_told_apart(times: tuple[float, float], axis: object) -> None:
    assert view([Event("guest", "dma_map", time=time) for time in times]).axis == axis


def test_events_of_no_sort_are_seen() -> None:
    lane, agent = view([Event("guest", "swiotlb_full", device="d"), Event("rmm", "granule")]).lanes
    assert [(shape.style, shape.path) for shape in lane.shapes] == [("others", "M0.5 19V24")]
    assert (lane.is_device, agent.is_device) == (True, False)
    assert view(EVENTS).styles == {"pool-use", "maps", "faults", "conversions", "tables"}


def test_one_event_has_one_place_and_none_has_no_lane() -> None:
    assert view(EVENTS[:1]).axis == ("0",)
    assert view([]).lanes == ()
