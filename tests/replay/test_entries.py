"""Which entry of which table translates a range, and since when?"""

from __future__ import annotations

import dataclasses

import pytest

from rule_events import BUFFER, HOST, PAGE, POOL, S, iommu_map, iommu_unmap, ripas, rtt
from topbit.events import Event
from topbit.recording import Recording
from topbit.recording.platform import Platform
from topbit.replay.entries import Entries

ALIAS, SID = POOL | S, 0x10


def after(*events: Event) -> Entries:
    entries = Entries()
    frame = Recording.of_events(Platform(), events).frame
    for number, row in enumerate(frame.iter_rows(named=True)):
        entries.apply(number, row)
    return entries


def vmm(
    entries: Entries, address: int = ALIAS, size: int = PAGE, direction: str | None = None,
    sid: int = SID,
) -> int | None:  # fmt: skip
    """Which event made the VMM's table translate?"""
    found = entries.of_vmm(sid, address, size, direction)
    return None if found is None else found.number


def realm(entries: Entries, address: int = BUFFER, size: int = PAGE) -> int | None:
    found = entries.of_realm(address, size)
    return None if found is None else found.number


def with_attrs(event: Event, attrs: str | None) -> Event:
    return dataclasses.replace(event, attrs=attrs)


def test_the_latest_entry_of_the_range_is_told() -> None:
    entries = after(iommu_map(ALIAS, HOST), iommu_map(ALIAS + PAGE, HOST))
    assert vmm(entries) == 0
    assert vmm(entries, ALIAS + PAGE) == 1
    assert vmm(entries, ALIAS, 2 * PAGE) == 1
    found = entries.of_vmm(SID, ALIAS, 1, None)
    assert found is not None
    assert found.row["pa"] == HOST


def test_a_map_without_a_size_maps_nothing() -> None:
    entries = after(dataclasses.replace(iommu_map(ALIAS, HOST), size=None))
    assert vmm(entries, size=1) is None


@pytest.mark.parametrize(
    ("address", "size"), [(ALIAS - 1, 2), (ALIAS + PAGE - 1, 2), (ALIAS - PAGE, PAGE)]
)
def test_a_range_is_translated_as_a_whole(address: int, size: int) -> None:
    assert vmm(after(iommu_map(ALIAS, HOST)), address, size) is None


def test_each_stream_has_its_table_and_shares_that_of_every_stream() -> None:
    every = dataclasses.replace(iommu_map(ALIAS + PAGE, HOST), sid=None)
    entries = after(iommu_map(ALIAS, HOST), every)
    assert [vmm(entries, sid=sid) for sid in (SID, 0x20)] == [0, None]
    assert [vmm(entries, ALIAS + PAGE, sid=sid) for sid in (SID, 0x20)] == [1, 1]


@pytest.mark.parametrize(
    "gone",
    [
        iommu_unmap(ALIAS),
        iommu_unmap(ALIAS, status="error"),
        iommu_map(ALIAS, HOST, status="error"),
        dataclasses.replace(iommu_unmap(ALIAS), sid=None),
    ],
)
def test_where_what_was_said_leaves_a_doubt_nothing_is_held(gone: Event) -> None:
    assert vmm(after(iommu_map(ALIAS, HOST), gone)) is None


def test_another_streams_unmap_takes_nothing() -> None:
    assert vmm(after(iommu_map(ALIAS, HOST), iommu_unmap(ALIAS, sid=0x20))) == 0


@pytest.mark.parametrize(
    ("attrs", "direction", "held"),
    [
        (None, "r", True),
        (None, "w", True),
        ("r", "r", True),
        ("r", "w", False),
        ("r|w", "w", True),
        ("r", None, True),
    ],
)
def test_an_entry_permits_what_it_says(
    attrs: str | None, direction: str | None, held: bool
) -> None:
    entries = after(with_attrs(iommu_map(ALIAS, HOST), attrs))
    assert (vmm(entries, direction=direction) is not None) == held


def test_every_entry_of_the_range_must_permit_it() -> None:
    entries = after(iommu_map(ALIAS, HOST), with_attrs(iommu_map(ALIAS + PAGE, HOST), "r"))
    assert vmm(entries, ALIAS, 2 * PAGE, "w") is None
    assert vmm(entries, ALIAS, 2 * PAGE, "r") == 1


def test_a_protected_page_counts_while_it_is_ram() -> None:
    assert realm(after(rtt("rtt_map", BUFFER))) is None
    assert realm(after(rtt("rtt_map", BUFFER), ripas(BUFFER, "RAM"))) == 1
    assert realm(after(ripas(BUFFER, "RAM"), rtt("rtt_map", BUFFER))) == 1
    for attrs in ("EMPTY", "DESTROYED"):
        gone = ripas(BUFFER, attrs)
        assert realm(after(rtt("rtt_map", BUFFER), ripas(BUFFER, "RAM"), gone)) is None
    refused = dataclasses.replace(ripas(BUFFER, "RAM"), status="error")
    assert realm(after(rtt("rtt_map", BUFFER), refused)) is None
    unknown = dataclasses.replace(ripas(BUFFER, "RAM"), phys=None)
    assert realm(after(rtt("rtt_map", BUFFER), unknown)) is None


def test_ram_must_be_the_whole_range() -> None:
    entries = after(rtt("rtt_map", BUFFER, 2 * PAGE), ripas(BUFFER, "RAM"))
    assert realm(entries, BUFFER, PAGE) == 1
    assert realm(entries, BUFFER, 2 * PAGE) is None


def test_an_unprotected_page_counts_while_it_is_mapped() -> None:
    assert realm(after(rtt("rtt_map", ALIAS)), ALIAS) == 0
    assert realm(after(rtt("rtt_map", ALIAS), rtt("rtt_unmap", ALIAS)), ALIAS) is None


def test_the_two_tables_are_apart_and_an_event_without_address_says_nothing() -> None:
    assert realm(after(iommu_map(ALIAS, HOST)), ALIAS) is None
    assert vmm(after(rtt("rtt_map", ALIAS))) is None
    nowhere = dataclasses.replace(iommu_map(ALIAS, HOST), address=None)
    assert vmm(after(nowhere)) is None
