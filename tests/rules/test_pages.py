"""P: are pages shared while devices use them, private while they must not, and taken back?"""

from __future__ import annotations

import dataclasses

import pytest

from rule_events import (
    BUFFER,
    FAILED,
    HOST,
    PAGE,
    POOL,
    REALM,
    S,
    access,
    convert,
    dma_alloc,
    dma_map,
    dma_unmap,
    set_memory,
)
from rule_findings import found, told
from topbit.events import Event
from topbit.recording import DeviceFacts, Recording
from topbit.rules import RULES

ALIAS = BUFFER | S
GUEST = [("guest", "disk", 1)]
PRIVATE = set_memory(BUFFER, "private")
GUARDED = dataclasses.replace(REALM, devices={"disk": DeviceFacts(behind_iommu=True)})


@pytest.mark.parametrize(
    ("events", "expected"),
    [
        ([dma_alloc(), PRIVATE], GUEST),
        ([dma_alloc(ALIAS + PAGE), PRIVATE], []),
        ([dma_alloc(ALIAS - PAGE), PRIVATE], []),
        ([dma_alloc(ALIAS - PAGE, size=2 * PAGE), PRIVATE], GUEST),
        ([dma_map(ALIAS + PAGE - 64), PRIVATE], GUEST),
        ([dma_map(ALIAS), dma_unmap(ALIAS), PRIVATE], []),
        ([dma_alloc(), set_memory(BUFFER, "shared")], None),
        ([dma_alloc(), set_memory(BUFFER, "error"), set_memory(POOL, "private")], []),
        ([dma_alloc(), set_memory(BUFFER, "shared"), dma_unmap(ALIAS, size=PAGE), PRIVATE], []),
        ([dma_alloc(device="tdisp"), PRIVATE], []),
        ([dma_alloc(BUFFER), PRIVATE], []),  # M1
        ([PRIVATE, dma_alloc()], GUEST),
        ([PRIVATE, dma_map(ALIAS + PAGE - 1)], GUEST),
        ([PRIVATE, dma_map(ALIAS + PAGE)], []),
        ([PRIVATE, dma_alloc(ALIAS - PAGE, size=PAGE + 1)], GUEST),
        ([PRIVATE, dma_alloc(BUFFER)], []),  # M1
        ([PRIVATE, dma_alloc(status="error")], []),
        ([PRIVATE, dma_map(FAILED)], []),
        ([PRIVATE, dma_alloc(device="tdisp")], []),
        ([PRIVATE, set_memory(BUFFER, "shared"), dma_alloc()], []),
        ([PRIVATE, dma_alloc(), dma_map(ALIAS)], [("guest", "disk", 2)]),
    ],
)
def test_p1_a_page_is_shared_while_it_is_mapped(
    events: list[Event], expected: list[object] | None
) -> None:
    assert told("P1", REALM, *events) == (expected or [])


def test_p1_leaves_devices_behind_an_iommu_alone() -> None:
    assert told("P1", GUARDED, dma_alloc(), PRIVATE) == []
    assert told("P1", GUARDED, PRIVATE, dma_alloc()) == []


def test_p1_tells_page_and_mapping() -> None:
    (finding,) = found("P1", REALM, dma_alloc(), PRIVATE)
    assert finding.seen == (
        f"IPA 0x{BUFFER:016x}, 4096 bytes, became private while dma_addr=0x{ALIAS:016x} was mapped"
    )
    assert [each.text.split()[0] for each in finding.evidence] == ["dma_alloc", "set_memory"]
    (finding,) = found("P1", REALM, PRIVATE, dma_map(ALIAS + 8))
    assert finding.seen == f"dma_addr=0x{ALIAS + 8:016x}; IPA 0x{BUFFER + 8:016x} is private"


@pytest.mark.parametrize(
    ("event", "says"),
    [
        (access(BUFFER, "GPF", attrs="private", pa=HOST), "granule protection stopped it"),
        (access(BUFFER, "GPF"), "granule protection stopped it"),
        (access(BUFFER, "ok", attrs="private"), "let an untrusted device reach private memory"),
        (access(BUFFER, "ok", attrs="shared"), ""),
        (access(BUFFER, "ok"), ""),
        (access(BUFFER, "F_TRANSLATION", attrs="private"), ""),
        (access(BUFFER, "ok", attrs="private", device="tdisp", sid=0x20), ""),
        (access(BUFFER, "GPF", device="tdisp", sid=0x20), ""),
    ],
)
def test_p4_private_memory_is_not_reached(event: Event, says: str) -> None:
    findings = found("P4", REALM, event)
    assert [says in finding.message for finding in findings] == ([True] if says else [])
    for finding in findings:
        where = "" if event.pa is None else f" (physical 0x{HOST:016x})"
        assert finding.seen == f"0x{BUFFER:016x}{where}: {event.status}"
        assert (finding.agent, finding.device) == ("vmm", "disk")


def test_p4_counts_a_device_without_a_name() -> None:
    assert told("P4", REALM, access(BUFFER, "GPF", device=None)) == [("vmm", "disk", 1)]


# P9

STEP = "rebind-0000-00-01-0"


def step(status: str, times: int, name: str = STEP) -> Event:
    return Event("guest", "step", status=status, detail=name, attrs=f"times={times}")


def cycles(times: int, left: int, first: int = 0) -> list[Event]:
    """Each time 4 pages are shared and all but `left` of them are taken back."""
    events = []
    for page in range(BUFFER + 4 * first * PAGE, BUFFER + 4 * (first + times) * PAGE, 4 * PAGE):
        events += [convert(page, "shared", 4 * PAGE), convert(page, "private", (4 - left) * PAGE)]
    return events


def repeated(times: int, left: int, name: str = STEP, first: int = 0) -> list[Event]:
    return [step("begin", times, name), *cycles(times, left, first), step("0", times, name)]


def more_shared(*events: Event) -> list[int]:
    """How many pages more stayed shared, as P9 tells of each step."""
    recording = Recording.of_events(REALM, events)
    return [int(f.seen.split(" pages more")[0].split()[-1]) for f in RULES["P9"].check(recording)]


def test_p3_counts_the_pages_that_stay_shared() -> None:
    assert more_shared(*repeated(13, 1)) == [4]
    assert more_shared(*repeated(13, 2)) == [8]
    assert more_shared(*repeated(13, 0)) == []


def test_p3_tells_the_step_and_both_ends() -> None:
    events = [dataclasses.replace(event, source="run") for event in repeated(13, 1)]
    (finding,) = found("P9", REALM, *events)
    assert (finding.severity, finding.agent, finding.device) == ("violation", "guest", None)
    assert finding.seen == (
        f"in the last third of the step {STEP} 4 pages more stayed shared than in the third before"
    )
    assert finding.expected == "as few as before: 5 pages shared at the lowest"
    texts = [f"step {STEP} begin times=13", f"step {STEP} 0 times=13"]
    assert [each.text for each in finding.evidence] == texts


@pytest.mark.parametrize(
    ("events", "count"),
    [
        # What is shared for good at first is no leak; what is left behind later is one.
        ([step("begin", 20), *cycles(6, 1), *cycles(14, 0, 6), step("0", 20)], 0),
        ([step("begin", 20), *cycles(8, 0), *cycles(12, 1, 8), step("0", 20)], 1),
        # What was shared before and after the step is none of its.
        ([*cycles(9, 1), *repeated(12, 0), *cycles(9, 1)], 0),
        # A page that is shared twice is one page.
        ([step("begin", 12), *[event for event in cycles(12, 0) for _ in "12"], step("0", 12)], 0),
        # Refused conversions change nothing.
        ([step("begin", 12), *cycles(12, 0), *[convert(POOL, "error")] * 9, step("0", 12)], 0),
        ([*repeated(12, 1), *repeated(12, 1, "reload-nvme", 12)], 2),
        # Begun and never ended: how far it came is not known.
        ([step("begin", 12), *cycles(12, 1), *repeated(12, 0, "another")], 0),
    ],
)
def test_p3_compares_thirds_of_one_step(events: list[Event], count: int) -> None:
    assert len(more_shared(*events)) == count


def test_p3_counts_pages_that_were_shared_before() -> None:
    """Conversions of other sizes and of pages that are shared already count what changes."""
    start = [convert(BUFFER - 8 * PAGE, "shared", 8 * PAGE), convert(POOL, "private")]
    more = [convert(BUFFER - 2 * PAGE, "shared", 4 * PAGE), convert(BUFFER - PAGE, "private")]
    events = [step("begin", 12), *more, *start, *cycles(12, 1, 1), step("0", 12)]
    (finding,) = found("P9", REALM, *events)
    assert finding.expected.startswith("as few as before: 13 pages")


@pytest.mark.parametrize(
    ("events", "says"),
    [
        (repeated(9, 1), "did the same 10 times or more"),
        ([step("begin", 12), *cycles(12, 1)], "did the same 10 times or more"),
        (cycles(12, 1), "no step event"),
        ([step("begin", 12), step("0", 12)], "no convert event"),
        ([dataclasses.replace(e, attrs=None) for e in repeated(12, 1)], "did the same 10 times"),
    ],
)
def test_p3_needs_a_step_that_is_repeated(events: list[Event], says: str) -> None:
    assert says in RULES["P9"].lacks(Recording.of_events(REALM, events))


def test_p3_needs_the_order_of_events() -> None:
    unordered = dataclasses.replace(REALM, one_clock=False)
    assert "order" in RULES["P9"].lacks(Recording.of_events(unordered, repeated(12, 1)))
    assert RULES["P9"].lacks(Recording.of_events(REALM, repeated(10, 1))) == ""
