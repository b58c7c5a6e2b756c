"""What shows that lines of a trace are missing?"""

from __future__ import annotations

import dataclasses

import pytest

from rule_events import BUFFER, LOG, PAGE, POOL, REALM, S, bounced, dma_map, dma_unmap
from rule_findings import found
from topbit.events import Event
from topbit.recording import Recording, Unparsed
from topbit.rules.gaps import gaps_of, is_out_of_order

ALIAS = POOL | S
WHOLE = [bounced(), dma_map(), dma_unmap()]
AGAIN = [dma_map(ALIAS + n * PAGE) for n in range(1, 4)]
LEAK = [*WHOLE, *[event for leaked in AGAIN for event in (bounced(), leaked)]]


def at(event: Event, line: int, time: float | None = None) -> Event:
    return dataclasses.replace(event, source="trace", line=line, time=time)


def shown(*events: Event) -> str:
    return gaps_of(Recording.of_events(LOG, list(events)), "disk")


@pytest.mark.parametrize(
    ("events", "says"),
    [
        (LEAK, ""),
        ([*WHOLE, dma_map(device="narrow"), dma_unmap(ALIAS + 64 * PAGE, device="narrow")], ""),
        ([bounced(), dma_map()], "no unmap of the device"),
        ([*WHOLE, dma_unmap(ALIAS + 9 * PAGE)], "some unmaps have no map"),
        ([*WHOLE, *[bounced(), dma_map(ALIAS)] * 3], "was given out again"),
        ([*WHOLE, bounced(), dma_map(ALIAS)], ""),  # it lives on
        ([*WHOLE, bounced(BUFFER + PAGE)], ""),  # a map that failed, or the end of the trace
        ([*WHOLE, *AGAIN], "some maps have no swiotlb_bounced"),
        ([*WHOLE[1:], *AGAIN], ""),  # bounces are not traced
        ([*WHOLE, dma_map(BUFFER | S, phys=BUFFER + PAGE, attrs="CC_SHARED")], ""),
        ([at(dma_map(ALIAS), 1), at(dma_map(ALIAS + PAGE), 1), at(dma_unmap(), 2)], "scatterlists"),
        ([at(dma_map(ALIAS), 1), at(dma_map(ALIAS + PAGE), 2), at(dma_unmap(), 3)], ""),
        ([at(dma_map(ALIAS), 1), at(dma_map(ALIAS + PAGE), 1), at(dma_unmap(), 2),
          Event("guest", "dma_unmap_sg", "narrow", phys=BUFFER)], ""),
        ([at(dma_map(), 1, 2.0), at(dma_unmap(), 2, 1.0)], "order of their times"),
    ],
)  # fmt: skip
def test_what_shows_gaps(events: list[Event], says: str) -> None:
    assert says in shown(*events)
    assert bool(says) == bool(shown(*events))


def test_a_line_that_could_not_be_read_is_a_gap() -> None:
    platform = dataclasses.replace(LOG, unparsed=[Unparsed("trace", 1, 1, "text")])
    assert gaps_of(Recording.of_events(platform, WHOLE), "disk")


def test_a_machine_of_topbits_own_traces_everything() -> None:
    backwards = [at(dma_map(), 1, 2.0), at(dma_unmap(ALIAS + PAGE), 2, 1.0)]
    recording = Recording.of_events(REALM, backwards)
    assert gaps_of(recording, "disk") == ""
    assert not is_out_of_order(recording)


def test_each_file_has_an_order_of_its_own() -> None:
    other = dataclasses.replace(at(dma_unmap(), 2, 1.0), source="other")
    assert not is_out_of_order(Recording.of_events(LOG, [at(dma_map(), 1, 2.0), other]))


@pytest.mark.parametrize(("first", "severity"), [(WHOLE, "violation"), (WHOLE[:2], "warning")])
def test_a_leak_is_certain_only_in_a_trace_without_gaps(first: list[Event], severity: str) -> None:
    other = [dma_map(device="narrow"), dma_unmap(device="narrow")]
    (finding,) = found("M7", LOG, *other, *first, *LEAK[3:])
    assert finding.severity == severity
