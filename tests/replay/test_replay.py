"""Which state do the events of a recording make, step by step?"""

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
    iommu_map,
    iommu_unmap,
    set_memory,
)
from topbit.events import Event
from topbit.recording import Platform, Recording
from topbit.replay.replay import STATE_KINDS, Replay, Translation, replay

ALIAS = POOL | S
LATER = Event("guest", "log")
SID = 0x10


def after(*events: Event, platform: Platform = REALM) -> Replay:
    """The state after these events."""
    *_, (_, state) = replay(Recording.of_events(platform, [*events, LATER]), "log")
    return state


def mapped(state: Replay, address: int) -> object:
    row = state.mapping_at(address)
    return None if row is None else (row["event"], row["address"])


@pytest.mark.parametrize("offset", [0, 63])
def test_a_mapping_lives_from_map_to_unmap(offset: int) -> None:
    assert mapped(after(dma_map()), ALIAS + offset) == ("dma_map", ALIAS)
    assert mapped(after(dma_map(), dma_unmap()), ALIAS + offset) is None
    assert mapped(after(dma_map()), ALIAS + 64) is None
    assert mapped(after(dma_map()), ALIAS - 1) is None


def test_an_allocation_lives_from_alloc_to_free() -> None:
    free = Event("guest", "dma_free", device="disk", address=BUFFER | S, size=PAGE)
    assert mapped(after(dma_alloc()), (BUFFER | S) + PAGE - 1) == ("dma_alloc", BUFFER | S)
    assert mapped(after(dma_alloc(), free), BUFFER | S) is None


@pytest.mark.parametrize("failed", [dma_map(FAILED), dma_map(status="error")])
def test_a_failed_mapping_is_none(failed: Event) -> None:
    state = after(failed)
    assert len(state.live) == 0
    assert state.rows == {}


def test_a_mapping_without_a_size_is_a_byte() -> None:
    unknown = dataclasses.replace(dma_map(), size=None)
    assert [mapped(after(unknown), ALIAS + n) is None for n in (0, 1)] == [False, True]
    gone = dataclasses.replace(dma_unmap(), size=None)
    assert [mapped(after(dma_map(), gone), ALIAS + n) is None for n in (0, 1)] == [True, False]


def test_addresses_are_those_that_arrive_at_the_smmu() -> None:
    platform = dataclasses.replace(REALM, dma_ranges=[(0x4000_0000, 0, 1 << 30)])
    given = (POOL - 0x4000_0000) | S
    state = after(dma_map(given), platform=platform)
    assert mapped(state, ALIAS) == ("dma_map", given)
    assert mapped(after(dma_map(given), dma_unmap(given), platform=platform), ALIAS) is None


def translation(state: Replay, address: int, sid: int | None = SID) -> object:
    table = state.stage2.get(sid)
    return None if table is None else table.at(address)


def test_a_table_holds_what_was_mapped_and_not_unmapped() -> None:
    state = after(iommu_map(ALIAS, HOST + POOL, 2 * PAGE), iommu_unmap(ALIAS + PAGE))
    held = Translation(HOST + POOL - ALIAS, "")
    assert [translation(state, ALIAS + n) for n in (-1, 0, PAGE - 1, PAGE)] == [
        None, held, held, None,
    ]  # fmt: skip
    assert translation(state, ALIAS, sid=0x20) is None


def test_a_table_tells_permissions() -> None:
    readable = dataclasses.replace(iommu_map(ALIAS, HOST), attrs="r")
    assert translation(after(readable), ALIAS) == Translation(HOST - ALIAS, "r")


@pytest.mark.parametrize(
    "event",
    [
        iommu_map(ALIAS, HOST, status="error"),
        dataclasses.replace(iommu_map(ALIAS, HOST), pa=None),
        dataclasses.replace(iommu_map(ALIAS, HOST), address=None),
    ],
)
def test_a_map_that_tells_nothing_maps_nothing(event: Event) -> None:
    assert translation(after(event), ALIAS) is None


def test_a_failed_unmap_leaves_the_mapping() -> None:
    state = after(iommu_map(ALIAS, HOST), iommu_unmap(ALIAS, status="error"))
    assert translation(state, ALIAS) is not None


def test_a_stream_walks_its_own_tables_and_those_of_every_stream() -> None:
    every = dataclasses.replace(iommu_map(ALIAS, HOST), sid=None)
    state = after(every, iommu_map(ALIAS, HOST), iommu_map(ALIAS, HOST, sid=0x20))
    assert [sid for sid, _ in state.tables(SID)] == [None, SID]
    assert [sid for sid, _ in state.tables(0x30)] == [None]
    assert [sid for sid, _ in state.tables(None)] == [None, SID, 0x20]


def test_what_the_vmm_converted_and_what_backs_it() -> None:
    state = after(
        convert(POOL, "shared", 4 * PAGE, pa=HOST + POOL), convert(POOL + PAGE, "private", pa=7)
    )
    assert [state.shared.at(POOL + n * PAGE) for n in range(-1, 5)] == [
        None, "shared", "private", "shared", "shared", None,
    ]  # fmt: skip
    assert [state.backing.at(POOL + n * PAGE) for n in (0, 1, 2)] == [HOST, None, HOST]


def test_a_shared_page_whose_place_nobody_told_has_no_backing() -> None:
    state = after(convert(POOL, "shared", pa=HOST), convert(POOL, "shared"))
    assert state.shared.at(POOL) == "shared"
    assert state.backing.at(POOL) is None


def test_a_refused_conversion_changes_nothing() -> None:
    state = after(convert(POOL, "shared", pa=HOST + POOL), convert(POOL, "error"))
    assert (state.shared.at(POOL), state.backing.at(POOL)) == ("shared", HOST)


def test_what_the_guest_asked_for() -> None:
    events = [set_memory(BUFFER, "shared", 2 * PAGE), set_memory(BUFFER, "private")]
    state = after(*events, set_memory(BUFFER + PAGE, "error"))
    assert [state.guest.at(BUFFER + n * PAGE) for n in range(3)] == ["private", "shared", None]
    assert len(state.shared) == 0


def test_each_watched_event_comes_with_the_state_before_it() -> None:
    recording = Recording.of_events(REALM, [dma_map(), access(ALIAS), dma_unmap(), access(ALIAS)])
    seen = [
        (row["event"], state.mapping_at(ALIAS) is not None)
        for row, state in replay(recording, "access", "dma_map", "dma_unmap")
    ]
    assert seen == [
        ("dma_map", False), ("access", True), ("dma_unmap", True), ("access", False),
    ]  # fmt: skip


def test_only_the_kinds_that_are_asked_for_make_the_state() -> None:
    recording = Recording.of_events(REALM, [dma_map(), iommu_map(ALIAS, HOST), access(ALIAS)])
    ((_, state),) = replay(recording, "access", state_kinds=("iommu_map",))
    assert state.mapping_at(ALIAS) is None
    assert translation(state, ALIAS) is not None
    assert set(STATE_KINDS) >= {"dma_map", "iommu_map", "convert", "set_memory"}
