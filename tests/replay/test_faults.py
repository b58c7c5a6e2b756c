"""Which refused accesses are there, and what had the guest mapped there?"""

from __future__ import annotations

import dataclasses

import pytest

from rule_events import (
    BUFFER,
    FAILED,
    LOG,
    PAGE,
    POOL,
    REALM,
    S,
    access,
    dma_alloc,
    dma_map,
    dma_unmap,
    smmu_event,
)
from topbit.events import Event
from topbit.recording import Platform, Recording
from topbit.recording.recording import NUMBER
from topbit.replay.faults import CONFIGURATION, Mapped, fault_rows, faults, key_of
from topbit.replay.page_set import pages_of

ALIAS = POOL | S


def rows(*events: Event, platform: Platform = REALM) -> list[tuple[object, ...]]:
    """(event, sid, address, status, times) of the refused accesses"""
    frame = fault_rows(Recording.of_events(platform, events))
    return frame.select("event", "sid", "address", "status", "times").rows()


def test_refusals_are_told_in_the_order_in_which_they_came() -> None:
    pages = [ALIAS + n * 7 % 64 * PAGE for n in range(64)]
    assert [row[2] for row in rows(*(access(page) for page in pages))] == pages


def test_refusals_of_a_page_are_one() -> None:
    events = [access(ALIAS), access(ALIAS + 0xFC0), access(ALIAS + PAGE), access(ALIAS)]
    assert rows(*events) == [
        ("access", 0x10, ALIAS, "F_TRANSLATION", 3),
        ("access", 0x10, ALIAS + PAGE, "F_TRANSLATION", 1),
    ]


@pytest.mark.parametrize(
    "other",
    [
        access(ALIAS, direction="w"),
        access(ALIAS, "F_PERMISSION"),
        access(ALIAS, device="narrow"),
        access(ALIAS, sid=0x20),
    ],
)
def test_refusals_of_another_kind_are_others(other: Event) -> None:
    assert [row[-1] for row in rows(access(ALIAS), other)] == [1, 1]


@pytest.mark.parametrize("status", ["ok", "GPF", "terminated"])
def test_what_was_not_refused_by_the_smmu_is_none(status: str) -> None:
    assert rows(access(ALIAS, status)) == []


@pytest.mark.parametrize("status", CONFIGURATION)
def test_a_configuration_fault_needs_no_address(status: str) -> None:
    event = dataclasses.replace(smmu_event(0, status), address=None)
    assert rows(event) == [("smmu_event", 0x10, None, status, 1)]
    assert rows(dataclasses.replace(event, status="F_TRANSLATION")) == []


def test_where_accesses_were_recorded_the_smmus_events_say_the_same_again() -> None:
    assert rows(access(ALIAS), smmu_event(ALIAS)) == [("access", 0x10, ALIAS, "F_TRANSLATION", 1)]
    assert len(rows(access(ALIAS), smmu_event(ALIAS, sid=0x20))) == 2
    assert len(rows(access(ALIAS), smmu_event(ALIAS, sid=None))) == 2
    assert len(rows(access(ALIAS, "ok"), smmu_event(ALIAS))) == 1
    assert len(rows(access(ALIAS, sid=None), smmu_event(ALIAS, sid=None))) == 1


def mapped(*events: Event) -> Mapped:
    """What these events map at the pages that the tests ask about."""
    asked = [access(POOL - PAGE, size=3 * PAGE), access(BUFFER, size=2 * PAGE), access(FAILED)]
    return Mapped(
        Recording.of_events(REALM, events),
        pages_of(REALM, Recording.of_events(REALM, asked).frame),
    )


def test_what_was_ever_mapped_is_found_by_address_or_page() -> None:
    made = mapped(dma_map(ALIAS + 0x100), dma_unmap(ALIAS + 0x100), dma_alloc(BUFFER | S))
    for offset in (0x100, 0x13F, 0x140, 0, 0xFFF):
        row = made.at(ALIAS + offset)
        assert row is not None
        assert row["address"] == ALIAS + 0x100
    assert made.at(ALIAS - 1) is None
    assert made.at(ALIAS + PAGE) is None
    row = made.at(BUFFER | S)
    assert row is not None
    assert row["event"] == "dma_alloc"


def test_an_exact_mapping_comes_before_a_neighbour_in_its_page() -> None:
    made = mapped(dma_map(ALIAS), dma_map(ALIAS + 0x200, device="narrow"))
    row = made.at(ALIAS + 0x210)
    assert row is not None
    assert row["device"] == "narrow"


def test_a_buffer_is_known_by_its_own_address() -> None:
    made = mapped(dma_map(FAILED, status="error"), dma_alloc(phys=BUFFER + PAGE))
    row = made.buffer_at(BUFFER + 63)
    assert row is not None
    assert row["device"] == "disk"
    assert made.buffer_at(BUFFER + 64) is None
    assert made.buffer_at(BUFFER + PAGE) is None  # an allocation has no other buffer
    assert made.at(BUFFER) is None
    assert made.at(FAILED) is None


def test_of_several_mappings_of_an_address_the_last_is_told() -> None:
    made = mapped(dma_map(), dma_map(size=32, device="narrow"), dma_map(device="tdisp"))
    for offset in (0, 40):
        row = made.at(ALIAS + offset)
        assert row is not None
        assert row["device"] == "tdisp"
    again = mapped(dma_map(), dma_map(size=32, device="narrow"))
    told = [again.at(ALIAS + offset) for offset in (0, 40)]
    assert [row and row["device"] for row in told] == ["narrow", "disk"]


def test_an_address_beside_a_mapping_is_not_exactly_its() -> None:
    made = mapped(dma_map(ALIAS + 0x100))
    assert made.exactly_at(ALIAS + 0x100) is not None
    assert made.exactly_at(ALIAS) is None


def test_what_lies_in_other_pages_is_not_looked_at() -> None:
    assert mapped(dma_map(ALIAS + 8 * PAGE)).at(ALIAS + 8 * PAGE) is None


def test_devices_that_were_traced_and_that_allocated() -> None:
    made = mapped(
        dma_map(device="narrow"), dma_alloc(), dataclasses.replace(dma_map(), device=None)
    )
    assert (made.traced, made.allocated) == ({"narrow", "disk"}, {"disk"})


def live(*events: Event, platform: Platform = REALM) -> list[tuple[bool, bool, bool]]:
    """Was the address mapped, was its alias, is the order known: of each refused access."""
    found = faults(Recording.of_events(platform, events))
    return [(f.live is not None, f.alias is not None, f.ordered) for f in found]


def test_what_was_live_at_that_moment() -> None:
    assert live(dma_map(), access(ALIAS), dma_unmap()) == [(True, True, True)]
    assert live(dma_map(), dma_unmap(), access(ALIAS)) == [(False, False, True)]
    assert live(dma_map(), access(POOL)) == [(False, True, True)]
    assert live(access(ALIAS), dma_map()) == [(False, False, True)]


def test_without_an_order_what_was_ever_mapped_counts() -> None:
    assert live(dma_map(), dma_unmap(), access(ALIAS), platform=LOG) == [(True, True, False)]
    assert live(dma_map(), access(POOL), platform=LOG) == [(False, True, False)]
    assert live(access(ALIAS), platform=LOG) == [(False, False, False)]


def test_a_fault_without_address_has_no_mapping() -> None:
    event = dataclasses.replace(smmu_event(0, "C_BAD_STE"), address=None)
    assert live(dma_map(), event) == [(False, False, True)]
    assert live(dma_map(), event, platform=LOG) == [(False, False, False)]


def test_the_first_of_a_page_decides_and_the_answer_is_kept() -> None:
    recording = Recording.of_events(REALM, [access(ALIAS), dma_map(), access(ALIAS + 4)])
    (fault,) = faults(recording)
    assert (fault.live, fault.row["times"]) == (None, 2)
    assert faults(recording)[0] is fault
    assert key_of(fault.row) == (0x10, "disk", ALIAS >> 12, "F_TRANSLATION", "r")
    assert fault.row[NUMBER] == 0


@pytest.mark.parametrize("one_clock", [True, False])
def test_without_a_known_bit_the_alias_is_the_address_itself(one_clock: bool) -> None:
    platform = dataclasses.replace(REALM, ipa_bits=None, one_clock=one_clock)
    events = [dma_map(ALIAS, size=1), dma_map(ALIAS + 1, size=1), access(ALIAS)]
    (fault,) = faults(Recording.of_events(platform, events))
    assert fault.alias == fault.live
    assert fault.live is not None
    assert fault.live["address"] == ALIAS
