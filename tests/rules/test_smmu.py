"""F10 to F12: interrupts, tables that are not walked, records that are lost."""

from __future__ import annotations

import dataclasses

import pytest

from rule_events import (
    BUFFER,
    DOORBELL,
    HOST,
    INTERRUPTS,
    PAGE,
    POOL,
    REALM,
    SHARED,
    S,
    access,
    dma_map,
    iommu_map,
    ripas,
    rtt,
    smmu_event,
)
from rule_findings import found, told
from topbit.events import Event
from topbit.recording import Recording
from topbit.rules import check

ALIAS = POOL | S
PAGE_OF_IT = DOORBELL & ~0xFFF


@pytest.mark.parametrize(
    ("events", "count"),
    [
        ([access(DOORBELL, direction="w")], 1),
        ([access(DOORBELL, direction="w"), access(PAGE_OF_IT, direction="w")], 2),
        ([access(DOORBELL, "F_PERMISSION", "w")], 1),
        ([access(DOORBELL, "ok", "w")], 0),
        ([access(PAGE_OF_IT + PAGE, direction="w")], 0),
        ([iommu_map(PAGE_OF_IT, PAGE_OF_IT), access(DOORBELL, direction="w")], 0),  # F11
    ],
)
def test_f6_an_interrupt_that_stage_2_refuses(events: list[Event], count: int) -> None:
    expected = [("vmm", "disk", count)] if count else []
    assert told("F10", INTERRUPTS, *events) == expected


def test_f6_names_doorbell_and_page() -> None:
    (finding,) = found("F10", INTERRUPTS, access(DOORBELL, direction="w"))
    assert finding.seen == f"a write to 0x{DOORBELL:016x}, the ITS's doorbell: F_TRANSLATION"
    assert finding.expected == f"a writable stage-2 mapping at 0x{PAGE_OF_IT:016x}"


def reason(rule: str, events: list[Event], **facts: object) -> str:
    platform = dataclasses.replace(REALM, **facts)  # type: ignore[arg-type]
    checked = check(Recording.of_events(platform, events))
    return next((each.reason for each in checked.not_checked if each.rule == rule), "")


def test_f6_needs_to_know_a_doorbell() -> None:
    assert "doorbell" in reason("F10", [access(DOORBELL)])


@pytest.mark.parametrize(
    ("facts", "events", "says"),
    [
        ({"one_clock": False}, [*SHARED, access(ALIAS)], "in which order"),
        ({"lost_events": 1}, [*SHARED, access(ALIAS)], "the guest's trace lost events"),
        ({}, [*SHARED, access(ALIAS), Event("smmu", "smmu_lost")], "the SMMU lost event records"),
        ({}, [dma_map(), access(ALIAS)], "no iommu_map or rtt_map event"),
        ({}, [*SHARED, access(ALIAS)], ""),
    ],
)
def test_f7_needs_order_and_every_event(
    facts: dict[str, object], events: list[Event], says: str
) -> None:
    said = reason("F11", events, **facts)
    assert says in said
    assert bool(said) == bool(says)


@pytest.mark.parametrize(
    ("events", "seen_by", "says"),
    [
        ([*SHARED, dma_map(), access(ALIAS)], ["device", "vmm", "guest"], "the VMM's table transl"),
        ([*SHARED, dma_map(direction="BIDIRECTIONAL"), access(ALIAS, "F_PERMISSION", "w")],
         ["device", "vmm", "guest"], "the VMM's table permits"),
        ([ripas(BUFFER, "RAM"), rtt("rtt_map", BUFFER), dma_map(BUFFER, device="tdisp"),
          access(BUFFER, device="tdisp", sid=0x20)],
         ["device", "rmm", "guest"], "the Realm's own table translates"),
        ([rtt("rtt_map", ALIAS), dma_map(device="tdisp"), smmu_event(ALIAS, sid=0x20)],
         ["smmu", "rmm", "guest"], "the Realm's own table translates"),
    ],
)  # fmt: skip
def test_f7_shows_the_access_the_entry_and_the_mapping(
    events: list[Event], seen_by: list[str], says: str
) -> None:
    (finding,) = found("F11", REALM, *events)
    assert finding.agent == "smmu"
    assert [each.agent for each in finding.evidence] == seen_by
    assert says in " ".join((finding.message, finding.seen, finding.expected))


def test_f7_of_a_doorbell_has_no_mapping_of_the_guest() -> None:
    events = [iommu_map(PAGE_OF_IT, PAGE_OF_IT), access(DOORBELL, direction="w")]
    (finding,) = found("F11", INTERRUPTS, *events)
    assert [each.agent for each in finding.evidence] == ["device", "vmm"]


def test_f7_counts_every_access() -> None:
    events = [*SHARED, dma_map(), access(ALIAS), access(ALIAS + 4), access(ALIAS, direction="w")]
    assert told("F11", REALM, *events, iommu_map(ALIAS + PAGE, HOST)) == [("smmu", "disk", 3)]


@pytest.mark.parametrize("detail", ["the event queue is full", None])
def test_f8_lost_records_are_one_warning(detail: str | None) -> None:
    lost = Event("smmu", "smmu_lost", sid=0x10, status="lost", detail=detail)
    (finding,) = found("F12", REALM, lost, lost)
    assert (finding.severity, finding.agent) == ("warning", "host")
    assert finding.seen == (detail or "lost")
    assert len(finding.evidence) == 2
    assert found("F12", REALM, access(ALIAS)) == []
