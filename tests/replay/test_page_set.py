"""Which pages are meant, and which events touch them?"""

from __future__ import annotations

import dataclasses

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rule_events import (
    BUFFER,
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
    iommu_map,
    iommu_unmap,
    ripas,
    rtt,
    set_memory,
    smmu_event,
)
from topbit.events import Event
from topbit.recording import Recording
from topbit.replay.page_set import PageSet, numbers_near, page_set, pages_of

TOP = (1 << 64) - 1


def pages(*spans: tuple[int, int]) -> PageSet:
    """The pages of (start, size) ranges."""
    starts, sizes = (np.array(column, dtype=np.uint64) for column in zip(*spans, strict=True))
    return PageSet.of(starts, sizes)


def touches(of: PageSet, start: int, size: int) -> bool:
    ranges = (np.array([value], dtype=np.uint64) for value in (start, size))
    return bool(of.touched_by(*ranges)[0])


def is_in_reach(of: PageSet, start: int, size: int) -> bool:
    spans = {"start": [start], "size": [size]}
    frame = pl.DataFrame(spans, schema=dict.fromkeys(spans, pl.UInt64))
    return bool(frame.select(of.in_reach).item())


def holds(of: PageSet, start: int, size: int) -> bool:
    ranges = (np.array([value], dtype=np.uint64) for value in (start, size))
    return bool(of.holds(*ranges)[0])


@pytest.mark.parametrize(
    ("start", "size", "touched"),
    [
        (PAGE, 1, True),
        (PAGE - 1, 1, False),
        (PAGE - 1, 2, True),
        (2 * PAGE - 1, 1, True),
        (2 * PAGE, 1, False),
        (0, 5 * PAGE, True),
        (PAGE, 0, True),
        (2 * PAGE, 0, False),
        (3 * PAGE, PAGE, False),
        (3 * PAGE, PAGE + 1, True),
        (5 * PAGE, PAGE, True),
        (6 * PAGE, TOP, False),
        (0, TOP, True),
        (TOP, TOP, False),
    ],
)
def test_a_range_touches_a_page_or_not(start: int, size: int, touched: bool) -> None:
    assert touches(pages((PAGE + 8, 16), (4 * PAGE, 2 * PAGE)), start, size) is touched
    for one in (pages((PAGE + 8, 16)), pages((4 * PAGE, 2 * PAGE)), pages((TOP, 1))):
        assert is_in_reach(one, start, size) is touches(one, start, size)


def test_an_end_beyond_the_last_address_is_the_last_address() -> None:
    assert touches(pages((TOP - 5, TOP)), TOP, 1)
    assert touches(pages((TOP, 1)), TOP - 5, TOP)
    assert not touches(pages((TOP - 5, TOP)), 0, 1)
    assert holds(pages((TOP - 5, TOP)), TOP, TOP)
    assert not holds(pages((0, 1)), TOP, TOP)


def test_runs_that_touch_are_one() -> None:
    assert len(pages((3 * PAGE, PAGE), (0, 2 * PAGE), (PAGE, PAGE))) == 2
    assert len(pages((2 * PAGE, PAGE), (3 * PAGE, PAGE), (0, 2 * PAGE))) == 1
    assert len(pages((0, PAGE), (2 * PAGE, PAGE))) == 2


def test_a_range_of_unknown_size_is_the_page_of_its_start() -> None:
    made = page_set(
        pl.DataFrame(
            {"start": [PAGE, None], "size": [None, PAGE]},
            schema={"start": pl.UInt64, "size": pl.UInt64},
        )
    )
    assert [page for page in range(4) if touches(made, page * PAGE, 1)] == [1]


RUNS = st.lists(st.tuples(st.integers(0, 40), st.integers(1, 6)), max_size=12)


def numbered(runs: list[tuple[int, int]]) -> set[int]:
    return {page for first, count in runs for page in range(first, first + count)}


def in_bytes(runs: list[tuple[int, int]]) -> PageSet:
    spans = [(first * PAGE, count * PAGE) for first, count in runs]
    return (
        pages(*spans)
        if spans
        else page_set(pl.DataFrame(schema={"start": pl.UInt64, "size": pl.UInt64}))
    )


@settings(deadline=None)
@given(RUNS, RUNS)
def test_it_is_a_set_of_page_numbers(
    runs: list[tuple[int, int]], others: list[tuple[int, int]]
) -> None:
    mine, theirs = numbered(runs), numbered(others)
    made, other = in_bytes(runs), in_bytes(others)
    everything = {page for page in range(60) if touches(made, page * PAGE, 1)}
    assert everything == mine
    reached = range(min(mine, default=60), max(mine, default=0) + 1)
    assert [page for page in (0, 20, 40) if is_in_reach(made, page * PAGE, 1)] == [
        page for page in (0, 20, 40) if page in reached
    ]
    common = made.common_with(other)
    assert {page for page in range(60) if touches(common, page * PAGE, 1)} == mine & theirs
    wider = {page + beside for page in mine for beside in (-1, 0, 1)} - {-1}
    assert {page for page in range(60) if touches(made.widened(), page * PAGE, 1)} == wider
    for first in range(0, 50, 7):
        for count in (1, 3, 9):
            asked = set(range(first, first + count))
            assert touches(made, first * PAGE, count * PAGE) is bool(mine & asked)
            assert holds(made, first * PAGE, count * PAGE) is (asked <= mine)


ALIAS = POOL | S
RANGES = dataclasses.replace(REALM, dma_ranges=[(0x4000_0000, 0, 1 << 30)])
GIVEN = (POOL - 0x4000_0000) | S  # what the guest gives a device there


@pytest.mark.parametrize(
    "event",
    [
        dma_map(GIVEN),
        dma_unmap(GIVEN),
        dma_alloc(GIVEN),
        Event("guest", "dma_free", address=GIVEN, size=PAGE),
        iommu_map(ALIAS, HOST),
        iommu_map(POOL, HOST),
        iommu_unmap(ALIAS),
        convert(POOL, "shared"),
        set_memory(POOL, "shared"),
        ripas(POOL, "RAM"),
        rtt("rtt_map", ALIAS),
        rtt("rtt_unmap", POOL),
        access(ALIAS),
        smmu_event(POOL),
        dataclasses.replace(smmu_event(ALIAS), size=None),
    ],
    ids=lambda event: event.event,
)
def test_an_event_is_about_the_page_of_either_half(event: Event) -> None:
    other = [
        iommu_map(POOL + PAGE, HOST),
        dma_map(BUFFER | S),
        dataclasses.replace(event, address=None, phys=None),
    ]
    recording = Recording.of_events(RANGES, [*other, event])
    near = numbers_near(recording, pages((POOL, 1)), event.event)
    assert near.to_list() == [3]
    of_event = pages_of(RANGES, recording.frame.slice(3))
    assert touches(of_event, POOL, 1)
    assert not touches(of_event, POOL - 1, 1)
    assert not touches(of_event, POOL + PAGE, 1)


def test_events_are_chosen_by_kind_condition_and_column() -> None:
    events = [
        dma_map(),
        dma_map(phys=POOL, address=0),
        convert(POOL, "shared"),
        convert(POOL, "error"),
    ]
    recording = Recording.of_events(REALM, events)
    near = pages((POOL, PAGE))
    assert numbers_near(recording, near, "dma_map", "convert").to_list() == [0, 2, 3]
    shared = pl.col("status") == "shared"
    assert numbers_near(recording, near, "convert", where=shared).to_list() == [2]
    assert numbers_near(recording, near, "dma_map", start=pl.col("phys")).to_list() == [1]
    assert numbers_near(recording, in_bytes([]), "dma_map").to_list() == []
    assert numbers_near(recording, near, "access").to_list() == []
