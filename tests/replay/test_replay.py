"""Which state do the events of a recording make, and what do rules conclude from it?"""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars import col

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
    ripas,
    rtt,
    set_memory,
    smmu_event,
)
from topbit.events import Event
from topbit.recording import DeviceFacts, Platform, Recording
from topbit.recording.recording import NUMBER
from topbit.replay.page_set import pages_of
from topbit.replay.replay import STATE_KINDS, TABLE_KINDS, Replay, replay
from topbit.replay.tables import Certainty, Entry
from topbit.rules import check

ALIAS = POOL | S
SID, OTHER = 0x10, 0x30
TWO_DEVICES = dataclasses.replace(
    REALM, devices={"disk": DeviceFacts(sid=SID), "narrow": DeviceFacts(sid=OTHER)}
)


def after(*events: Event, platform: Platform = REALM) -> Replay:
    """The state after these events; an event's place is its number."""
    state = Replay(platform)
    rows = Recording.of_events(platform, events).scan(*STATE_KINDS).collect()
    for row in rows.iter_rows(named=True):
        state.apply(row)
    return state


def without_stream(event: Event) -> Event:
    return dataclasses.replace(event, sid=None)


# What rules conclude where what was said leaves a doubt. M: the VMM mapped the page; U: it was
# unmapped; the device is then refused, or the page turns private.

M, M_OTHER, M_EVERY = (
    iommu_map(ALIAS, HOST + POOL),
    iommu_map(ALIAS, HOST + POOL, sid=OTHER),
    without_stream(iommu_map(ALIAS, HOST + POOL)),
)
U, U_EVERY = iommu_unmap(ALIAS), without_stream(iommu_unmap(ALIAS))
U_FAILED, M_FAILED = (
    iommu_unmap(ALIAS, status="error"),
    iommu_map(ALIAS, HOST + POOL, status="error"),
)
TWO_FAILED = iommu_unmap(ALIAS, 2 * PAGE, status="error")
REFUSED = [dma_map(), access(ALIAS)]
PRIVATE = [convert(POOL, "private")]
TWIN = [iommu_map(POOL, HOST)]  # the same page, mapped elsewhere to another place
TWIN_EVERY = [without_stream(TWIN[0])]


@pytest.mark.parametrize(
    ("tables", "then", "accused"),
    [
        # An unmap without a stream clears every stream.
        ([M, U_EVERY], PRIVATE, set()),
        ([M, U_EVERY], REFUSED, {"F1", "V1"}),
        ([M, U_EVERY], [access(ALIAS, "ok")], {"A1"}),
        ([M, U_EVERY], TWIN, set()),
        ([M, M_OTHER, U_EVERY], PRIVATE, set()),
        ([M_EVERY, U_EVERY], PRIVATE, set()),
        ([*PRIVATE, M, U_EVERY], [], set()),
        # An unmap for one stream leaves what every stream has to the others, perhaps to it.
        ([M_EVERY], PRIVATE, {"V3"}),
        ([M_EVERY, U], PRIVATE, {"V3"}),
        ([M_EVERY], REFUSED, {"F11"}),
        ([M_EVERY, U], REFUSED, set()),
        ([M_EVERY, U], [access(ALIAS, "ok"), dma_map()], {"A2"}),
        (
            [M_EVERY, U],
            [dma_map(device="narrow"), access(ALIAS, device="narrow", sid=OTHER)],
            {"F11"},
        ),
        ([M_EVERY, U], TWIN, set()),
        ([M_EVERY, U], TWIN_EVERY, {"V4"}),
        ([M, U], REFUSED, {"F1", "V1"}),
        # A failed unmap leaves what was there, but perhaps not all of it: it is enough to have
        # left something (V3), it is not enough to have left this (F11, V4).
        ([M, U_FAILED], REFUSED, set()),
        ([M, U_FAILED], PRIVATE, {"V3", "V7"}),
        ([M, TWO_FAILED], PRIVATE, {"V3", "V7"}),
        ([M, U_FAILED], TWIN, set()),
        ([M, U_FAILED, U], REFUSED, {"F1", "V1"}),
        ([M, U_FAILED, M], REFUSED, {"F11"}),
        ([M_EVERY, U_FAILED], PRIVATE, {"V3", "V7"}),
        ([M, without_stream(U_FAILED)], REFUSED, set()),
        ([U_FAILED], REFUSED, {"F1"}),
        # A failed map leaves what was there, perhaps.
        ([M, M_FAILED], REFUSED, set()),
        ([M, M_FAILED], PRIVATE, set()),
        ([M, M_FAILED], TWIN, set()),
        ([M_FAILED], REFUSED, {"F1", "V1"}),
        ([M_FAILED], PRIVATE, set()),
        # Another stream's table.
        ([M_OTHER], REFUSED, {"F1", "V1"}),
        ([M, M_OTHER, U], REFUSED, {"F1", "V1"}),
        ([M], TWIN, {"V4"}),
        ([M_OTHER], TWIN, set()),
    ],
)
def test_a_doubt_accuses_nobody(tables: list[Event], then: list[Event], accused: set[str]) -> None:
    """Who asks whether a page is mapped needs certainty; who asks whether it is not, the same."""
    findings = check(Recording.of_events(TWO_DEVICES, [*tables, *then])).findings
    assert {found.rule for found in findings if found.severity == "violation"} == accused


@pytest.mark.parametrize("every", [[M_EVERY], [M, M_OTHER]])
def test_a_stale_mapping_is_told_once(every: list[Event]) -> None:
    (found,) = (
        found
        for found in check(Recording.of_events(REALM, [*every, U_FAILED, *PRIVATE])).findings
        if found.rule == "V3" and found.device != "narrow"
    )
    assert found.count == 1


# The state, step by step.


@pytest.mark.parametrize("offset", [0, 63])
def test_a_mapping_lives_from_map_to_unmap(offset: int) -> None:
    assert after(dma_map()).mapping_at(ALIAS + offset) == 0
    assert after(dma_map(), dma_unmap()).mapping_at(ALIAS + offset) is None
    assert after(dma_map()).mapping_at(ALIAS + 64) is None
    assert after(dma_map()).mapping_at(ALIAS - 1) is None


def test_an_allocation_lives_from_alloc_to_free() -> None:
    free = Event("guest", "dma_free", device="disk", address=BUFFER | S, size=PAGE)
    assert after(dma_alloc()).mapping_at((BUFFER | S) + PAGE - 1) == 0
    assert after(dma_alloc(), free).mapping_at(BUFFER | S) is None


@pytest.mark.parametrize(
    "failed",
    [dma_map(FAILED), dma_map(status="error"), dataclasses.replace(dma_map(), address=None)],
)
def test_a_failed_mapping_is_none(failed: Event) -> None:
    assert len(after(failed).live) == 0


def test_a_mapping_without_a_size_is_a_byte() -> None:
    unknown = dataclasses.replace(dma_map(), size=None)
    assert [after(unknown).mapping_at(ALIAS + n) for n in (0, 1)] == [0, None]
    gone = dataclasses.replace(dma_unmap(), size=None)
    assert [after(dma_map(), gone).mapping_at(ALIAS + n) for n in (0, 1)] == [None, 0]


def test_addresses_are_those_that_arrive_at_the_smmu() -> None:
    platform = dataclasses.replace(REALM, dma_ranges=[(0x4000_0000, 0, 1 << 30)])
    given = (POOL - 0x4000_0000) | S
    assert after(dma_map(given), platform=platform).mapping_at(ALIAS) == 0
    unmapped = after(dma_map(given), dma_unmap(given), platform=platform)
    assert unmapped.mapping_at(ALIAS) is None


def test_an_entry_tells_its_event_its_place_and_its_permissions() -> None:
    readable = dataclasses.replace(iommu_map(ALIAS, HOST + POOL, 2 * PAGE), attrs="r")
    state = after(dma_map(), readable, iommu_unmap(ALIAS + PAGE))
    held = Entry(1, HOST + POOL - ALIAS, "r")
    assert [state.stage2.own(SID).at(ALIAS + n) for n in (-1, 0, PAGE - 1, PAGE)] == [
        None, held, held, None,
    ]  # fmt: skip
    assert len(state.stage2.own(OTHER)) == 0


def test_a_map_that_does_not_tell_to_where_is_a_map() -> None:
    state = after(dataclasses.replace(iommu_map(ALIAS, HOST), pa=None))
    assert state.stage2.own(SID).at(ALIAS) == Entry(0, None)
    nowhere = after(dataclasses.replace(iommu_map(ALIAS, HOST), address=None))
    assert not nowhere.stage2.is_mapped(SID, ALIAS, 1)


@pytest.mark.parametrize(
    ("event", "certainty"), [(U_FAILED, Certainty.IN_PART), (M_FAILED, Certainty.PERHAPS)]
)
def test_what_fails_casts_a_doubt(event: Event, certainty: Certainty) -> None:
    entry = after(M, event).stage2.entry(SID, ALIAS, PAGE)
    assert entry is not None
    assert (entry.number, entry.certainty, entry.certain) == (0, certainty, False)
    assert after(event).stage2.entry(SID, ALIAS, PAGE) is None


def realm(*events: Event, address: int = BUFFER, size: int = PAGE) -> int | None:
    """Which event made the Realm's own table translate?"""
    found = after(*events).realm_entry(address, size)
    return None if found is None else found.number


MAPPED, IS_RAM = rtt("rtt_map", BUFFER), ripas(BUFFER, "RAM")


@pytest.mark.parametrize(
    ("events", "since"),
    [
        ([MAPPED], None),
        ([MAPPED, IS_RAM], 1),
        ([IS_RAM, MAPPED], 1),
        ([IS_RAM], None),
        ([MAPPED, IS_RAM, ripas(BUFFER, "EMPTY")], None),
        ([MAPPED, IS_RAM, ripas(BUFFER, "DESTROYED")], None),
        ([MAPPED, IS_RAM, rtt("rtt_unmap", BUFFER)], None),
        ([MAPPED, dataclasses.replace(IS_RAM, status="RMI_ERROR_INPUT")], None),
        ([MAPPED, dataclasses.replace(IS_RAM, phys=None)], None),
        ([dataclasses.replace(MAPPED, address=None), IS_RAM], None),
        ([IS_RAM, iommu_map(BUFFER, HOST)], None),
    ],
)
def test_a_protected_page_translates_while_it_is_ram(
    events: list[Event], since: int | None
) -> None:
    assert realm(*events) == since


def test_ram_must_be_the_whole_range() -> None:
    events = [rtt("rtt_map", BUFFER, 2 * PAGE), IS_RAM]
    assert realm(*events) == 1
    assert realm(*events, size=2 * PAGE) is None
    assert realm(*events, ripas(BUFFER + PAGE, "RAM"), size=2 * PAGE) == 2


def test_an_unprotected_page_translates_while_it_is_mapped() -> None:
    assert realm(rtt("rtt_map", ALIAS), address=ALIAS) == 0
    assert realm(rtt("rtt_map", ALIAS), address=ALIAS, size=PAGE + 1) is None
    assert realm(rtt("rtt_map", ALIAS), rtt("rtt_unmap", ALIAS), address=ALIAS) is None


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
    assert (state.shared.at(POOL), state.backing.at(POOL)) == ("shared", None)


def test_a_refused_conversion_changes_nothing() -> None:
    state = after(convert(POOL, "shared", pa=HOST + POOL), convert(POOL, "error"))
    assert (state.shared.at(POOL), state.backing.at(POOL)) == ("shared", HOST)


def test_a_conversion_of_nobody_knows_how_much_says_nothing() -> None:
    unknown = dataclasses.replace(convert(POOL, "shared", pa=HOST), size=None)
    assert len(after(unknown).shared) == 0
    assert len(after(dataclasses.replace(M, size=None)).stage2.own(SID)) == 0


def test_what_the_guest_asked_for() -> None:
    events = [set_memory(BUFFER, "shared", 2 * PAGE), set_memory(BUFFER, "private")]
    state = after(*events, set_memory(BUFFER + PAGE, "error"))
    assert [state.guest.at(BUFFER + n * PAGE) for n in range(3)] == ["private", "shared", None]
    assert len(state.shared) == 0


# Replaying.


def test_each_watched_event_comes_with_the_state_before_it() -> None:
    recording = Recording.of_events(REALM, [dma_map(), access(ALIAS), dma_unmap(), access(ALIAS)])
    seen = [
        (row[NUMBER], row["event"], state.mapping_at(ALIAS))
        for row, state in replay(recording, "access", "dma_map", "dma_unmap")
    ]
    assert seen == [
        (0, "dma_map", None), (1, "access", 0), (2, "dma_unmap", 0), (3, "access", None),
    ]  # fmt: skip


def test_only_the_kinds_that_are_asked_for_make_the_state() -> None:
    recording = Recording.of_events(REALM, [dma_map(), iommu_map(ALIAS, HOST), access(ALIAS)])
    watched = replay(recording, "access", "dma_map", state_kinds=TABLE_KINDS)
    *_, (_, state) = watched
    assert state.mapping_at(ALIAS) is None
    assert state.stage2.is_mapped(SID, ALIAS, 1)


def test_only_events_that_meet_a_condition_are_told() -> None:
    recording = Recording.of_events(REALM, [access(ALIAS, "ok"), dma_map(), access(ALIAS)])
    watched = replay(recording, "access", where=col("status") == "F_TRANSLATION")
    assert [row[NUMBER] for row, _ in watched] == [2]


def test_only_pages_that_are_asked_for_are_known() -> None:
    events = [dma_map(), dma_map(ALIAS + 2 * PAGE), access(ALIAS), access(ALIAS + 2 * PAGE)]
    recording = Recording.of_events(REALM, events)
    near = pages_of(REALM, recording.frame.head(1))
    ((row, state),) = replay(recording, "access", near=near)
    assert row[NUMBER] == 2
    assert (state.mapping_at(ALIAS), state.mapping_at(ALIAS + 2 * PAGE)) == (0, None)
    assert list(replay(recording, "access", where=col("status") == "ok", near=near)) == []


PLACES = st.integers(0, 3).map(lambda page: POOL + page * PAGE)
HALF = st.sampled_from([0, S])
STATUS = st.sampled_from(["ok", "error"])
SIDS = st.sampled_from([SID, OTHER, None])
SIZES = st.sampled_from([64, PAGE, 2 * PAGE])
EVENTS = st.lists(
    st.one_of(
        st.builds(
            lambda a, h, size, sid, status: Event(
                "vmm", "iommu_map", address=a | h, pa=HOST + a, size=size, sid=sid, status=status
            ),
            PLACES, HALF, SIZES, SIDS, STATUS,
        ),
        st.builds(
            lambda a, h, size, sid, status: Event(
                "vmm", "iommu_unmap", address=a | h, size=size, sid=sid, status=status
            ),
            PLACES, HALF, SIZES, SIDS, STATUS,
        ),
        st.builds(lambda a, h, size: dma_map(a | h, size=size), PLACES, HALF, SIZES),
        st.builds(lambda a, h, size: dma_unmap(a | h, size=size), PLACES, HALF, SIZES),
        st.builds(convert, PLACES, st.sampled_from(["shared", "private"]), SIZES),
        st.builds(lambda a, h: rtt("rtt_map", a | h), PLACES, HALF),
        st.builds(ripas, PLACES, st.sampled_from(["RAM", "EMPTY"]), SIZES),
        st.builds(lambda a, h: smmu_event(a | h), PLACES, HALF),
    ),
    max_size=25,
)  # fmt: skip


@settings(deadline=None)
@given(EVENTS)
def test_events_that_touch_other_pages_do_not_matter(events: list[Event]) -> None:
    """What is replayed for a refused access's page alone is what everything would tell of it."""
    recording = Recording.of_events(REALM, events)
    for row, near in replay(recording, "smmu_event"):
        whole = after(*events[: row[NUMBER]])
        for address in (row["address"], row["address"] ^ S):
            assert near.mapping_at(address) == whole.mapping_at(address)
            assert near.realm_entry(address, 1) == whole.realm_entry(address, 1)
            for sid in (SID, OTHER):
                assert near.stage2.entry(sid, address, 1) == whole.stage2.entry(sid, address, 1)
        ipa = row["address"] & ~S
        assert near.shared.at(ipa) == whole.shared.at(ipa)
