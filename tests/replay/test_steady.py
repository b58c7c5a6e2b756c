"""Which ranges are mapped for every stream all the time?"""

from __future__ import annotations

import dataclasses

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rule_events import HOST, PAGE, POOL, REALM, S, convert, dma_map, iommu_map, iommu_unmap
from topbit.events import Event
from topbit.recording import Recording
from topbit.replay.replay import TABLE_KINDS, replay
from topbit.replay.steady import is_steady

ALIAS = POOL | S


def for_all(event: Event) -> Event:
    return dataclasses.replace(event, sid=None)


def mapped(first: int = 0, pages: int = 4, **more: object) -> Event:
    event = for_all(iommu_map(ALIAS + first * PAGE, HOST, pages * PAGE))
    return dataclasses.replace(event, **more)  # type: ignore[arg-type]


def unmapped(first: int, pages: int = 1, status: str = "ok") -> Event:
    return for_all(iommu_unmap(ALIAS + first * PAGE, pages * PAGE, status=status))


def asked(recording: Recording) -> pl.DataFrame:
    return recording.scan("dma_map").select("number", "size", start="address").collect()


@pytest.mark.parametrize(
    ("events", "steady"),
    [
        ([mapped(), dma_map()], [True]),
        ([mapped(), dma_map(ALIAS + 4 * PAGE - 64), dma_map(ALIAS + 4 * PAGE - 63)], [True, False]),
        ([mapped(), dma_map(POOL)], [False]),  # the other half
        ([mapped(1), dma_map(), dma_map(ALIAS + PAGE)], [False, True]),
        ([mapped(0, 2), mapped(2, 2), dma_map(ALIAS + PAGE, size=2 * PAGE)], [True]),
        ([mapped(0, 1), mapped(2, 1), dma_map(ALIAS, size=3 * PAGE)], [False]),
        ([dma_map(), mapped(), dma_map()], [False, False]),  # not by the first of them
        ([mapped(), dma_map(), mapped(), dma_map()], [True, True]),
        ([mapped(), dma_map(), dma_map(ALIAS + PAGE), unmapped(1)], [True, False]),
        ([mapped(), unmapped(1, 2, "error"), dma_map(ALIAS + 2 * PAGE), dma_map()], [False, True]),
        ([mapped(), mapped(2, 1, status="error"), dma_map(ALIAS + 2 * PAGE)], [False]),
        ([mapped(status="error"), dma_map()], [False]),
        ([mapped(status=None), dma_map()], [True]),
        ([mapped(sid=0x10), dma_map()], [False]),
        ([mapped(), iommu_unmap(ALIAS), dma_map()], [False]),
        ([mapped(pa=None), dma_map()], [True]),
        ([mapped(size=PAGE - 1), dma_map()], [False]),
        ([mapped(address=ALIAS + 8), dma_map(ALIAS + 64)], [False]),
        ([mapped(), dataclasses.replace(dma_map(ALIAS + 4 * PAGE - 1), size=None)], [True]),
        ([convert(POOL, "shared"), dma_map()], [False]),
        ([mapped()], []),
    ],
)
def test_what_is_mapped_from_the_first_to_the_last(events: list[Event], steady: list[bool]) -> None:
    recording = Recording.of_events(REALM, events)
    assert is_steady(recording, asked(recording)).to_list() == steady


PLACES = st.integers(0, 5)
EVENTS = st.lists(
    st.one_of(
        st.builds(mapped, PLACES, st.integers(1, 3), sid=st.sampled_from([None, None, 0x10])),
        st.builds(unmapped, PLACES, st.integers(1, 2), st.sampled_from(["ok", "error"])),
        st.builds(
            lambda page, size: dma_map(ALIAS + page * PAGE + 64, size=size),
            PLACES,
            st.sampled_from([64, PAGE, 2 * PAGE]),
        ),
    ),
    max_size=14,
)


@settings(deadline=None)
@given(EVENTS)
def test_what_is_steady_is_mapped_whenever_it_is_asked_for(events: list[Event]) -> None:
    recording = Recording.of_events(REALM, events)
    spans = asked(recording)
    steady = dict(zip(spans["number"], is_steady(recording, spans), strict=True))
    for row, state in replay(recording, "dma_map", state_kinds=TABLE_KINDS):
        if steady[row["number"]]:
            for sid in (0x10, 0x30):
                entry = state.stage2.entry(sid, row["address"], row["size"])
                assert entry is not None
                assert entry.certain
