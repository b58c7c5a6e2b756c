"""Which trouble is left that no finding judges?"""

from __future__ import annotations

import dataclasses

import polars as pl
import pytest

from topbit.events import Event
from topbit.recording import DeviceFacts, Platform, Recording
from topbit.recording.trouble import TROUBLES
from topbit.rules.finding import Evidence, Finding, Severity
from topbit.rules.unjudged import unjudged
from topbit.rules.wording import describe

PLATFORM = Platform(devices={"nic": DeviceFacts(sid=8), "disk": DeviceFacts(sid=16)})


def event(kind: str, line: int | None = 1, **columns: object) -> Event:
    made = Event("smmu", kind, source=None if line is None else "log", line=line)
    return dataclasses.replace(made, **columns)  # type: ignore[arg-type]


def fault(line: int | None = 1, address: int | None = 0x1000, **columns: object) -> Event:
    columns = {"sid": 8, "direction": "r", "status": "F_TRANSLATION", **columns}
    return event("smmu_event", line, address=address, **columns)


def trouble(status: str, line: int = 1, **columns: object) -> Event:
    return event("trouble", line, status=status, detail=f"a line of {status}", **columns)


def finding(
    *lines: int, device: str | None = None, severity: Severity = "violation", text: str = "shown"
) -> Finding:
    shown = [Evidence(text, "log", line) for line in lines] or [Evidence(text)]
    return Finding("X1", severity, "guest", "wrong", device, evidence=shown)


def left(events: list[Event], *findings: Finding) -> list[tuple[str, int, int | None]]:
    """Kind, count and first line of what is left."""
    recording = Recording.of_events(PLATFORM, events)
    return [(u.kind, u.count, u.first.line) for u in unjudged(recording, findings)]


SUPPRESSED = trouble("suppressed", 9, attrs="function=swiotlb_tbl_map_single|count=7")


@pytest.mark.parametrize(
    ("events", "findings", "expected"),
    [
        ([], [], []),
        ([event("dma_map"), event("state", status="error")], [], []),
        ([event("access", status="ok")], [], []),
        # A machine records accesses and the SMMU's events of them: one is enough.
        ([event("access", status="F_TRANSLATION")], [], []),
        # By kind, in the order of the first ones, with the first line.
        ([trouble("leaked", 1), fault(2), trouble("leaked", 3), fault(4, 0x5000)], [],
         [("leaked", 2, 1), ("F_TRANSLATION", 2, 2)]),
        ([event("smmu_lost"), event("swiotlb_full", 2, status="error")], [],
         [("smmu_lost", 1, 1), ("swiotlb_full", 1, 2)]),
        # What a finding shows or names as judged.
        ([trouble("leaked", 1), trouble("leaked", 2)], [finding(1)], [("leaked", 1, 2)]),
        ([trouble("leaked", 1), trouble("leaked", 2)], [finding(1, 2)], []),
        ([trouble("leaked", 7)], [finding(8)], [("leaked", 1, 7)]),
        # The same refused access again; another page, way, device or kind of refusal is another.
        ([fault(1), fault(2, 0x1FFF)], [finding(1)], []),
        ([fault(1), fault(2, 0x2000)], [finding(1)], [("F_TRANSLATION", 1, 2)]),
        ([fault(1), fault(2, direction="w")], [finding(1)], [("F_TRANSLATION", 1, 2)]),
        ([fault(1), fault(2, sid=16)], [finding(1)], [("F_TRANSLATION", 1, 2)]),
        ([fault(1), fault(2, sid=99)], [finding(1)], [("F_TRANSLATION", 1, 2)]),
        ([fault(1), fault(2, status="F_ACCESS")], [finding(1)], [("F_ACCESS", 1, 2)]),
        ([fault(1, device="nic", sid=None), fault(2)], [finding(1)], []),
        ([trouble("dmar", 1, address=1, device="a"), trouble("dmar", 2, address=2, device="a")],
         [finding(1)], []),
        # A stream whose tables are wrong is refused at every address.
        ([fault(1, status="C_BAD_STE"), fault(2, None, status="C_BAD_STE", direction=None)],
         [finding(1)], []),
        # A pool is full for a device, however often; the records of an SMMU are lost.
        ([event("swiotlb_full", 1, device="a"), event("swiotlb_full", 2, device="a", size=5)],
         [finding(1)], []),
        ([event("swiotlb_full", 1, device="a"), event("swiotlb_full", 2, device="b")],
         [finding(1)], [("swiotlb_full", 1, 2)]),
        ([event("smmu_lost", 1), event("smmu_lost", 2, sid=3)], [finding(1)], []),
        # What came of trouble is told with it, for the same device.
        ([trouble("io_failed", 1, device="disk")], [finding(5, device="disk")], []),
        ([trouble("io_failed", 1, device="disk")], [finding(5, device="nic")],
         [("io_failed", 1, 1)]),
        ([trouble("io_failed", 1)], [finding(5)], [("io_failed", 1, 1)]),
        # A driver's name for it: which device it is, nothing tells.
        ([trouble("io_failed", 1, device="vda")], [finding(5, device="nic")], []),
        ([trouble("io_failed", 1, device="vda")], [finding(5)], [("io_failed", 1, 1)]),
        ([trouble("io_failed", 1, device="bus"), event("dma_map", device="bus")],
         [finding(5, device="nic")], [("io_failed", 1, 1)]),
        ([trouble("io_failed", 1, device="disk")],
         [finding(5, device="disk", severity="note")], [("io_failed", 1, 1)]),
        ([trouble("leaked", 1, device="disk")], [finding(5, device="disk")], [("leaked", 1, 1)]),
        # What a rate limit left out is more of what was judged, or it is not.
        ([trouble("leaked", 1), SUPPRESSED], [finding(1)], []),
        ([trouble("leaked", 1), SUPPRESSED], [], [("leaked", 1, 1), ("suppressed", 1, 9)]),
        ([SUPPRESSED], [], [("suppressed", 1, 9)]),
    ],
)  # fmt: skip
def test_what_is_left(
    events: list[Event], findings: list[Finding], expected: list[tuple[str, int, int | None]]
) -> None:
    assert left(events, *findings) == expected


def test_a_machines_own_events_are_judged_by_what_evidence_says_of_them() -> None:
    access = event("access", None, device="nic", sid=8, address=0x1000, direction="r",
                   status="F_TRANSLATION")  # fmt: skip
    events = [access, fault(None), fault(None, 0x9000)]
    text = describe(dataclasses.asdict(access))
    assert left(events, finding(text=text)) == [("F_TRANSLATION", 1, None)]
    assert left(events, finding(text="another")) == [("F_TRANSLATION", 2, None)]
    # A text with a place is of that place alone.
    assert left(events, finding(3, text=text)) == [("F_TRANSLATION", 2, None)]


def test_it_says_what_a_kind_tells_and_shows_the_first_event() -> None:
    recording = Recording.of_events(PLATFORM, [trouble("leaked", 4), fault(6)])
    leaked, refused = unjudged(recording, [])
    assert leaked.tells == TROUBLES["leaked"].tells
    assert leaked.first == Evidence("a line of leaked", "log", 4, "smmu")
    assert refused.tells == "An IOMMU refused a device's access."
    assert refused.to_dict() == {
        "kind": "F_TRANSLATION",
        "tells": refused.tells,
        "count": 1,
        "first": {
            "text": "smmu_event StreamID 0x8 read address=0x0000000000001000 F_TRANSLATION",
            "source": "log",
            "line": 6,
            "agent": "smmu",
        },
    }


def test_a_file_that_tells_of_no_trouble_hides_no_other_ones() -> None:
    quiet = Recording.of_events(PLATFORM, [event("dma_map"), event("dma_map", 2)])
    loud = Recording.of_events(PLATFORM, [fault(3, device=None, sid=99), fault(4, 0x5000)])
    frames = pl.concat([quiet.frame, loud.frame], rechunk=False)
    (kind,) = unjudged(Recording(PLATFORM, frames), [])
    assert (kind.count, kind.first.line) == (2, 3)


def test_without_known_devices_streams_are_told_apart() -> None:
    recording = Recording.of_events(Platform(), [fault(1), fault(2, sid=9), fault(3)])
    (kind,) = unjudged(recording, [finding(1)])
    assert (kind.count, kind.first.line) == (1, 2)
