"""The SMMU is accused only where the table certainly held the address when the access came."""

from __future__ import annotations

import dataclasses

import polars as pl
import pytest

from paths import DATA
from rule_events import (
    BUFFER,
    DOORBELL,
    HOST,
    INTERRUPTS,
    LOG,
    PAGE,
    POOL,
    REALM,
    SHARED,
    S,
    access,
    dma_map,
    dma_unmap,
    iommu_map,
    iommu_unmap,
    rtt,
    smmu_event,
)
from topbit.events import Event
from topbit.recording import Platform, Recording
from topbit.recording.recording import NUMBER
from topbit.replay.faults import faults, key_of
from topbit.replay.refusals import (
    LATE,
    FirstGiven,
    Refusal,
    against,
    refusals,
    was_translated,
)
from topbit.rules import check

RECORDINGS = DATA / "recordings"
TRUSTED = "0000:00:02.0"


def at(time: float, event: Event) -> Event:
    return dataclasses.replace(event, time=time)


def blamed(events: list[Event], platform: Platform = REALM) -> dict[str, str]:
    """Who is at fault by which of the F rules?"""
    findings = check(Recording.of_events(platform, events)).findings
    return {f.rule: f.agent for f in findings if f.rule.startswith("F")}


ALIAS = POOL | S
SMMU = {"F11": "smmu"}
GIVEN_AGAIN = [at(0.0, dma_map()), at(0.1, dma_unmap())]
"""The device may know the page from before."""


def test_a_page_that_no_device_knew_before_the_entry() -> None:
    events = [at(5.76, iommu_map(ALIAS, HOST)), at(5.77, dma_map())]
    assert blamed([*events, at(6.02, smmu_event(ALIAS))]) == SMMU


@pytest.mark.parametrize(("later", "expected"), [(LATE + 0.01, SMMU), (LATE - 0.01, {})])
def test_a_page_that_a_device_knew_before_the_entry(later: float, expected: dict[str, str]) -> None:
    """An access after dma_unmap() may have been refused before the entry, and recorded after it."""
    events = [*GIVEN_AGAIN, at(1.0, iommu_map(ALIAS, HOST)), at(1.1, dma_map())]
    assert blamed([*events, at(1.0 + later, smmu_event(ALIAS))]) == expected


def test_a_device_that_may_have_read_on_beyond_a_buffer() -> None:
    beside = [at(0.0, iommu_map(ALIAS - PAGE, HOST)), at(0.0, dma_map(ALIAS - PAGE))]
    events = [*beside, at(1.0, iommu_map(ALIAS, HOST + PAGE)), at(1.1, dma_map())]
    assert blamed([*events, at(1.2, smmu_event(ALIAS))]) == {}


def test_events_without_times_tell_nothing_of_a_known_page() -> None:
    assert blamed([dma_map(), dma_unmap(), *SHARED, dma_map(), smmu_event(ALIAS)]) == {}


def test_later_refusals_count_where_the_first_one_is_in_doubt() -> None:
    events = [*GIVEN_AGAIN, at(1.0, iommu_map(ALIAS, HOST)), at(1.1, dma_map())]
    faults = [at(1.2, smmu_event(ALIAS)), *(at(9.0, smmu_event(ALIAS + 4)) for _ in range(3))]
    found = check(Recording.of_events(REALM, [*events, *faults])).findings
    assert [f.count for f in found if f.rule == "F11"] == [3]


def test_the_vmm_is_blamed_for_the_first_and_the_smmu_for_the_later_ones() -> None:
    events = [dma_map(), access(ALIAS), iommu_map(ALIAS, HOST), access(ALIAS)]
    assert blamed(events) == {"F1": "vmm", "F11": "smmu"}


@pytest.mark.parametrize(
    "gone",
    [
        iommu_unmap(ALIAS),
        iommu_unmap(ALIAS, status="error"),  # perhaps a part of it
        iommu_map(ALIAS, HOST, status="error"),
    ],
    ids=["unmapped", "perhaps unmapped", "map failed"],
)
def test_an_entry_that_is_gone(gone: Event) -> None:
    assert "F11" not in blamed([*SHARED, gone, dma_map(), access(ALIAS)])


@pytest.mark.parametrize("first", [PAGE, 0], ids=["its end", "its beginning"])
def test_an_access_of_which_only_a_part_is_mapped(first: int) -> None:
    mapped = iommu_map(ALIAS + PAGE - first, HOST)
    events = [mapped, dma_map(size=2 * PAGE), access(ALIAS, size=2 * PAGE)]
    assert "F11" not in blamed(events)


def test_an_access_that_went_through_is_no_refusal() -> None:
    other = access(ALIAS + 64 * PAGE)
    assert "F11" not in blamed([*SHARED, dma_map(), access(ALIAS, "ok"), other])
    assert "F11" not in blamed([*SHARED, dma_map(), access(ALIAS, "GPF"), other])


def test_another_streams_table() -> None:
    assert "F11" not in blamed([iommu_map(ALIAS, HOST, sid=0x30), dma_map(), access(ALIAS)])


def test_a_shared_page_that_the_host_took_from_the_realm() -> None:
    events = [rtt("rtt_map", ALIAS), rtt("rtt_unmap", ALIAS), dma_map(device="tdisp")]
    assert blamed([*events, smmu_event(ALIAS, sid=0x20)]) == {}


def test_a_private_page_whose_ripas_nothing_tells() -> None:
    events = [rtt("rtt_map", BUFFER), dma_map(BUFFER, device="tdisp")]
    assert blamed([*events, access(BUFFER, device="tdisp", sid=0x20)]) == {}


def test_the_permissions_of_the_realms_table_are_not_known() -> None:
    events = [rtt("rtt_map", ALIAS), dma_map(device="tdisp")]
    refused = access(ALIAS, "F_PERMISSION", "w", device="tdisp", sid=0x20)
    assert "F11" not in blamed([*events, refused])


def test_an_access_against_the_mappings_direction_is_the_devices_fault() -> None:
    events = [*SHARED, dma_map(direction="TO_DEVICE")]
    assert blamed([*events, access(ALIAS, "F_PERMISSION", "w")]) == {"F5": "device"}


def test_a_plain_address_is_the_guests_fault() -> None:
    events = [iommu_map(POOL, HOST), dma_map(POOL)]
    assert blamed([*events, access(POOL)]) == {"F2": "guest"}


def test_a_permission_that_the_vmms_table_gives() -> None:
    events = [*SHARED, dma_map(direction="BIDIRECTIONAL")]
    assert blamed([*events, access(ALIAS, "F_PERMISSION", "w")]) == SMMU
    unknown = dataclasses.replace(access(ALIAS, "F_PERMISSION"), direction=None)
    assert "F11" not in blamed([*events, unknown])


def test_a_device_behind_the_guests_own_iommu() -> None:
    facts = dataclasses.replace(REALM.devices["disk"], behind_iommu=True)
    platform = dataclasses.replace(REALM, devices={"disk": facts})
    assert "F11" not in blamed([*SHARED, dma_map(), access(ALIAS)], platform)


def test_an_access_after_unmap_is_the_devices_fault() -> None:
    assert blamed([*SHARED, dma_map(), dma_unmap(), access(ALIAS)]) == {"F3": "device"}


def test_a_buffer_of_another_device() -> None:
    assert "F11" not in blamed([*SHARED, dma_map(device="narrow"), access(ALIAS)])


@pytest.mark.parametrize("attrs", ["s1|IN", "s2|TT", None])
def test_a_fault_that_is_not_stage_2s_translation_of_the_input(attrs: str | None) -> None:
    assert "F11" not in blamed([*SHARED, dma_map(), smmu_event(ALIAS, attrs=attrs)])


def test_a_disabled_stream() -> None:
    assert blamed([*SHARED, dma_map(), access(ALIAS, "C_BAD_STE")]) == {"F9": "host"}


@pytest.mark.parametrize(("status", "rule"), [("F_ADDR_SIZE", "F6"), ("F_ACCESS", "F9")])
def test_what_no_event_tells(status: str, rule: str) -> None:
    assert blamed([*SHARED, dma_map(), access(ALIAS, status)]) == {rule: "host"}


def test_a_doorbell_that_the_vmm_has_mapped() -> None:
    doorbell = at(0.0, iommu_map(DOORBELL & -PAGE, DOORBELL & -PAGE))
    refused = at(9.0, smmu_event(DOORBELL, direction="w"))
    assert blamed([doorbell, dma_map(), refused], INTERRUPTS) == SMMU
    assert blamed([dma_map(), refused], INTERRUPTS) == {"F10": "vmm"}


@pytest.mark.parametrize(
    ("platform", "lost"),
    [
        (dataclasses.replace(REALM, one_clock=False), []),
        (dataclasses.replace(REALM, lost_events=1), []),
        (REALM, [Event("smmu", "smmu_lost", sid=0x10, detail="the queue is full")]),
    ],
    ids=["no one clock", "lost trace events", "lost records"],
)
def test_where_order_or_events_are_missing_it_says_so(
    platform: Platform, lost: list[Event]
) -> None:
    checked = check(Recording.of_events(platform, [*SHARED, dma_map(), access(ALIAS), *lost]))
    assert "F11" in {each.rule for each in checked.not_checked}
    assert "F11" not in {finding.rule for finding in checked.findings}


def test_a_trusted_device_on_qemu_behind_concatenated_root_tables() -> None:
    """docs/qemu-deviations.md, Q7: a run's recording, of which the needed events are kept."""
    recording = Recording.read(RECORDINGS / "qemu-concatenated-root" / "run.parquet")
    checked = check(recording)
    (found,) = checked.findings
    assert (found.rule, found.agent, found.device, found.count) == ("F11", "smmu", TRUSTED, 10)
    assert [each.agent for each in found.evidence[:3]] == ["smmu", "rmm", "guest"]
    unmapped = recording.frame.filter(pl.col("event") != "rtt_map")
    assert check(Recording(recording.platform, unmapped)).findings == []


def test_of_one_kind_of_refusal_everything_is_told() -> None:
    events = [iommu_map(ALIAS, HOST), dma_map(), access(ALIAS + 8), access(ALIAS), access(POOL)]
    recording = Recording.of_events(REALM, events)
    found = refusals(recording)
    assert list(found) == [key_of(recording.row(2)), key_of(recording.row(4))]
    told, plain = found.values()
    assert (told.at_first, told.times) == (True, 2)
    numbers = [row and row[NUMBER] for row in (told.row, told.entry, told.mapping)]
    assert numbers == [2, 0, 1]
    assert plain == Refusal(at_first=False)
    assert refusals(recording) is found


@pytest.mark.parametrize(
    ("tables", "at_first", "times"),
    [
        ([iommu_map(ALIAS, HOST)], True, 1),
        ([], False, 0),
        ([iommu_map(ALIAS, HOST), iommu_unmap(ALIAS, status="error")], True, 0),  # perhaps
        ([iommu_map(ALIAS, HOST), iommu_map(ALIAS, HOST, status="error")], True, 0),
        ([iommu_map(ALIAS, HOST), iommu_unmap(ALIAS)], False, 0),
    ],
)
def test_what_is_held_perhaps_is_held_for_one_question_and_not_for_the_other(
    tables: list[Event], at_first: bool, times: int
) -> None:
    recording = Recording.of_events(REALM, [*tables, dma_map(), access(ALIAS)])
    (told,) = refusals(recording).values()
    assert (told.at_first, told.times) == (at_first, times)
    (fault,) = faults(recording)
    assert was_translated(recording, fault) is at_first


def test_an_event_without_a_size_is_about_one_byte() -> None:
    events = [at(0.0, iommu_map(ALIAS, HOST)), dma_map(size=PAGE), smmu_event(ALIAS + PAGE - 1)]
    assert blamed(events) == SMMU


def test_without_refusals_there_are_none() -> None:
    recording = Recording.of_events(REALM, [*SHARED, dma_map(), access(ALIAS, "ok")])
    assert refusals(recording) == {}
    unordered = Recording.of_events(LOG, [*SHARED, dma_map(), access(ALIAS)])
    assert refusals(unordered) == {}
    (fault,) = faults(unordered)
    assert not was_translated(unordered, fault)


@pytest.mark.parametrize(
    ("of_access", "of_mapping", "is_against"),
    [
        ("w", "TO_DEVICE", True),
        ("r", "FROM_DEVICE", True),
        ("r", "TO_DEVICE", False),
        ("w", "FROM_DEVICE", False),
        ("w", "BIDIRECTIONAL", False),
        ("w", None, False),
        (None, "TO_DEVICE", False),
    ],
)
def test_an_access_is_against_its_mapping(
    of_access: str | None, of_mapping: str | None, is_against: bool
) -> None:
    assert against({"direction": of_access}, {"direction": of_mapping}) is is_against
    assert not against({"direction": of_access}, None)


RANGES = dataclasses.replace(REALM, dma_ranges=[(0x4000_0000, 0, 1 << 30)])


@pytest.mark.parametrize(
    ("mapped", "first"),
    [
        ([dma_map()], 0),
        ([dma_map(BUFFER), dma_map(), dma_map()], 1),
        ([dma_map(ALIAS + PAGE), dma_map()], 0),  # beside it
        ([dma_map(ALIAS - 1, size=1), dma_map()], 0),
        ([dma_map(ALIAS - PAGE - 1, size=1), dma_map()], 1),
        ([dma_map(ALIAS + 2 * PAGE), dma_map()], 1),
        ([dma_map(ALIAS - PAGE, size=PAGE + 1), dma_map()], 0),
        ([dma_map(ALIAS + PAGE)], None),  # beside it, and never the page itself
        ([dataclasses.replace(dma_map(), size=None)], 0),
        ([dataclasses.replace(dma_map(), address=None)], None),
    ],
)
def test_when_a_page_or_one_beside_it_was_given_first(
    mapped: list[Event], first: int | None
) -> None:
    for platform, shift in ((REALM, 0), (RANGES, 0x4000_0000)):
        given = FirstGiven(platform, [ALIAS + 0x10])
        for number, event in enumerate(mapped):
            address = None if event.address is None else event.address - shift
            given.apply({"address": address, "size": event.size, NUMBER: number})
        assert given.of(ALIAS + 0x20) == first
