"""V: which mappings of the VMM are wrong, and which only look so?"""

from __future__ import annotations

import dataclasses

import pytest

from rule_events import (
    BUFFER,
    FAILED,
    HOST,
    LOG,
    PAGE,
    POOL,
    REALM,
    SHARED,
    S,
    convert,
    dma_alloc,
    dma_map,
    dma_unmap,
    iommu_map,
    iommu_unmap,
)
from rule_findings import found, told
from topbit.events import Event
from topbit.recording import DeviceFacts, Recording
from topbit.rules import check

ALIAS = POOL | S
VMM = [("vmm", "disk", 1)]
EVERY = dataclasses.replace(iommu_map(ALIAS, HOST + POOL), sid=None)
UNKNOWN_SID = dataclasses.replace(REALM, devices={"disk": DeviceFacts()})


def shared(first: int, count: int = 1) -> Event:
    return convert(first, "shared", count * PAGE, pa=HOST + first)


# V1


@pytest.mark.parametrize(
    ("events", "expected"),
    [
        ([shared(POOL), dma_map()], VMM),
        ([*SHARED, dma_map()], []),
        ([shared(POOL), EVERY, dma_map()], []),
        ([*SHARED, dma_map(ALIAS + PAGE - 64)], []),
        ([*SHARED, dma_map(ALIAS + PAGE - 63)], VMM),
        ([*SHARED, iommu_unmap(ALIAS), dma_map()], VMM),
        ([*SHARED, dma_map(), iommu_unmap(ALIAS)], []),
        ([iommu_map(ALIAS, HOST, sid=0x30), dma_map()], VMM),
        ([shared(POOL), dma_map(), dma_unmap(), dma_map()], VMM),  # once tells all
        ([shared(POOL), dma_map(), dma_map(ALIAS + PAGE)], [("vmm", "disk", 2)]),
        ([shared(POOL), dma_map(), *SHARED, iommu_unmap(ALIAS), dma_map()], [("vmm", "disk", 2)]),
        ([shared(POOL), dma_map(), dma_map(size=128)], [("vmm", "disk", 2)]),
        ([shared(POOL), dma_map(size=None)], VMM),
        ([shared(POOL), iommu_map(ALIAS, HOST, 1), dma_map(size=None)], []),
        ([shared(POOL), dma_map(status="error")], []),
        ([shared(POOL), dma_map(FAILED)], []),
        ([shared(POOL), dma_map(POOL)], []),  # the guest's fault, M1
        ([shared(POOL), dma_map(ALIAS | 1 << 45)], []),
        ([shared(POOL), dma_map(device="tdisp"), dma_map(device="virtio")], []),
        ([shared(POOL), dma_alloc(ALIAS)], VMM),
    ],
)
def test_an_address_is_mapped_when_the_guest_gives_it(
    events: list[Event], expected: list[object]
) -> None:
    assert told("V1", REALM, *events) == expected


def test_a_device_without_a_known_stream_may_use_any_table() -> None:
    assert told("V1", UNKNOWN_SID, *SHARED, dma_map()) == []
    assert told("V1", UNKNOWN_SID, shared(POOL), dma_map()) == VMM


@pytest.mark.parametrize(
    ("events", "expected"),
    [
        ([shared(POOL), iommu_map(POOL, HOST), dma_map(POOL)], VMM),
        ([shared(POOL), iommu_map(POOL, HOST), *SHARED, dma_map(POOL)], []),  # both halves
        ([shared(POOL), iommu_map(POOL, HOST), dma_map(POOL, device="tdisp")], []),
        ([shared(POOL), dma_map(POOL)], []),  # neither: M1, F2
    ],
)
def test_a_vmm_that_hides_the_guests_fault_is_named_as_well(
    events: list[Event], expected: list[object]
) -> None:
    assert told("V1", REALM, *events) == expected
    assert [agent for agent, _, _ in told("M1", REALM, *events)] == (
        [] if events[-1].device == "tdisp" else ["guest"]
    )
    for finding in found("V1", REALM, *events):
        assert "hides that the guest gives plain addresses (M1)" in finding.message
        assert finding.seen.startswith(f"no stage-2 mapping at 0x{POOL | S:016x} but at 0x")


def test_a_missing_alias_is_told_and_whether_the_plain_address_was_mapped() -> None:
    (finding,) = found("V1", REALM, shared(POOL), iommu_map(POOL, HOST), dma_map())
    assert finding.message.endswith("unprotected alias, only the protected address")
    assert finding.seen == (
        f"no stage-2 mapping at 0x{ALIAS:016x} when the guest gave it to the device"
    )
    assert finding.expected == f"a mapping at 0x{ALIAS:016x} (bit 40, the shared bit, set)"
    for size in (64, None):
        events = [shared(POOL), iommu_map(BUFFER, HOST), dma_map(size=size)]
        (finding,) = found("V1", REALM, *events)
        assert finding.message == "the VMM did not map the unprotected alias"


# V2


@pytest.mark.parametrize(
    ("events", "expected"),
    [
        ([shared(POOL), iommu_map(ALIAS, HOST + POOL)], []),
        ([shared(POOL), iommu_map(ALIAS, HOST + POOL + PAGE)], VMM),
        ([shared(POOL, 4), iommu_map(ALIAS + PAGE, HOST + POOL + PAGE)], []),
        ([shared(POOL, 4), iommu_map(ALIAS + PAGE, HOST + POOL)], VMM),
        ([shared(POOL + PAGE), iommu_map(ALIAS, HOST + POOL, 4 * PAGE)], []),
        ([shared(POOL + PAGE), iommu_map(ALIAS, HOST, 4 * PAGE)], VMM),
        ([shared(POOL + PAGE), iommu_map(ALIAS, HOST, PAGE)], []),
        ([shared(POOL), iommu_map(POOL, HOST)], []),
        ([shared(POOL), iommu_map(ALIAS, HOST, status="error")], []),
        ([iommu_map(ALIAS, HOST), shared(POOL)], []),
        ([shared(POOL), convert(POOL, "private"), iommu_map(ALIAS, HOST)], []),
    ],
)
def test_the_alias_leads_to_the_page_that_backs_it(
    events: list[Event], expected: list[object]
) -> None:
    assert told("V2", REALM, convert(BUFFER, "error"), *events) == expected


def test_both_places_are_told() -> None:
    (finding,) = found("V2", REALM, shared(POOL + PAGE), iommu_map(ALIAS, HOST, 4 * PAGE))
    assert finding.seen == f"IPA 0x{POOL + PAGE:016x}: the device reaches 0x{HOST + PAGE:016x}"
    assert finding.expected == (
        f"0x{HOST + POOL + PAGE:016x}, up to IPA 0x{POOL + 2 * PAGE - 1:016x}"
    )


# V3


@pytest.mark.parametrize(
    ("events", "expected"),
    [
        ([*SHARED, convert(POOL, "private")], VMM),
        ([shared(POOL), iommu_map(POOL, HOST), convert(POOL, "private")], VMM),
        ([*SHARED, convert(POOL, "private"), iommu_unmap(ALIAS)], []),
        ([*SHARED, convert(POOL, "private"), iommu_unmap(ALIAS, sid=0x30)], VMM),
        ([*SHARED, convert(POOL, "private"), iommu_unmap(ALIAS + PAGE)], VMM),
        ([*SHARED, convert(POOL, "private"), iommu_unmap(ALIAS - PAGE, 2 * PAGE)], []),
        ([*SHARED, convert(POOL, "private"), iommu_unmap(ALIAS - PAGE)], VMM),
        ([*SHARED, convert(POOL, "private"), convert(POOL, "shared")], []),
        ([shared(POOL), iommu_map(POOL, HOST), convert(POOL, "private"), shared(POOL)], []),
        ([*SHARED, convert(POOL, "private"), convert(POOL + PAGE, "shared")], VMM),
        ([*SHARED, convert(POOL, "private"), convert(POOL - PAGE, "shared")], VMM),
        ([*SHARED, iommu_unmap(ALIAS), convert(POOL, "private")], []),
        ([*SHARED, convert(POOL + PAGE, "private")], []),
        ([*SHARED, convert(POOL, "error")], []),
        ([iommu_map(ALIAS, HOST, sid=0x20), convert(POOL, "private")], []),
        ([convert(POOL, "private"), iommu_map(ALIAS, HOST)], VMM),
        ([convert(POOL, "private"), iommu_map(POOL, HOST)], VMM),
        ([convert(POOL, "private"), iommu_map(ALIAS, HOST, status="error")], []),
        ([convert(POOL, "private"), iommu_map(ALIAS, HOST, sid=0x20)], []),
        ([convert(POOL, "private"), iommu_map(ALIAS + PAGE, HOST)], []),
        ([convert(POOL, "private"), iommu_map(ALIAS, HOST), convert(POOL, "shared")], []),
        ([convert(POOL, "private"), iommu_map(ALIAS, HOST), iommu_unmap(ALIAS)], []),
        ([*SHARED, convert(POOL, "private"), convert(POOL, "error")], VMM),
        ([shared(POOL), iommu_map(ALIAS, HOST + POOL)], []),
    ],
)
def test_no_private_page_stays_mapped(events: list[Event], expected: list[object]) -> None:
    assert told("V3", REALM, *events) == expected


@pytest.mark.parametrize("half", [0, S], ids=["plain", "alias"])
@pytest.mark.parametrize("first", [0, 1, 3])
def test_the_private_page_within_a_larger_mapping_is_named(first: int, half: int) -> None:
    private = POOL + first * PAGE
    for events in (
        [convert(private, "private"), iommu_map(POOL | half, HOST, 4 * PAGE)],
        [iommu_map(POOL | half, HOST, 4 * PAGE), convert(private, "private")],
    ):
        (finding,) = found("V3", REALM, *events)
        assert finding.seen == (
            f"IPA 0x{private:016x} is private, and mapped at 0x{private | half:016x}"
        )


def test_an_unmap_that_left_something_is_told() -> None:
    rest = iommu_unmap(ALIAS, status="error")
    whole = [iommu_map(ALIAS, HOST), iommu_unmap(ALIAS)]
    (finding,) = found("V3", LOG, *whole[:1], rest)
    assert (finding.severity, finding.agent) == ("warning", "vmm")
    own = dataclasses.replace(rest, agent="host")
    checked = check(Recording.of_events(LOG, [*whole, own]))
    assert "V3" not in {each.rule for each in checked.findings}


def test_a_page_is_private_where_the_larger_conversion_says_so() -> None:
    events = [convert(POOL, "private", 4 * PAGE), iommu_map(ALIAS + PAGE, HOST)]
    (finding,) = found("V3", REALM, *events)
    assert finding.seen.startswith(f"IPA 0x{POOL + PAGE:016x} is private")


@pytest.mark.parametrize("gone", [0, 1])
@pytest.mark.parametrize("what", ["unmapped", "shared again"])
def test_what_is_left_of_a_stale_mapping_is_stale(gone: int, what: str) -> None:
    at = gone * PAGE
    events = [iommu_map(ALIAS, HOST, 2 * PAGE), convert(POOL, "private", 2 * PAGE)]
    cut = iommu_unmap(ALIAS + at) if what == "unmapped" else convert(POOL + at, "shared")
    (finding,) = found("V3", REALM, *events, cut)
    left = (1 - gone) * PAGE
    assert finding.seen == (
        f"IPA 0x{POOL + left:016x} is private, and mapped at 0x{ALIAS + left:016x}"
    )


# V4


@pytest.mark.parametrize(
    ("events", "expected"),
    [
        ([iommu_map(POOL, HOST), iommu_map(ALIAS, HOST)], []),
        ([iommu_map(POOL, HOST), iommu_map(ALIAS, HOST + PAGE)], VMM),
        ([iommu_map(ALIAS, HOST), iommu_map(POOL, HOST + PAGE)], VMM),
        ([iommu_map(POOL, HOST), iommu_map(ALIAS, HOST + PAGE, sid=0x30)], []),
        ([iommu_map(POOL, HOST), iommu_unmap(POOL), iommu_map(ALIAS, HOST + PAGE)], []),
        ([iommu_map(POOL, HOST), iommu_map(ALIAS, HOST + PAGE, status="error")], []),
        ([iommu_map(POOL, HOST, 4 * PAGE), iommu_map(ALIAS + PAGE, HOST + PAGE)], []),
        ([iommu_map(POOL, HOST, 4 * PAGE), iommu_map(ALIAS + PAGE, HOST)], VMM),
        ([iommu_map(POOL + PAGE, HOST + PAGE), iommu_map(ALIAS, HOST, 4 * PAGE)], []),
        ([iommu_map(POOL + PAGE, HOST), iommu_map(ALIAS, HOST, 4 * PAGE)], VMM),
        ([iommu_map(POOL + PAGE, HOST), iommu_map(ALIAS, HOST)], []),
    ],
)
def test_both_addresses_of_a_page_lead_to_one_place(
    events: list[Event], expected: list[object]
) -> None:
    assert told("V4", REALM, *events) == expected


def test_the_two_places_of_one_page_are_told() -> None:
    events = [iommu_map(POOL + PAGE, HOST), iommu_map(ALIAS, HOST, 4 * PAGE)]
    (finding,) = found("V4", REALM, *events)
    assert finding.seen == (
        f"0x{POOL + PAGE:016x} leads to 0x{HOST:016x}, "
        f"0x{ALIAS + PAGE:016x} to 0x{HOST + PAGE:016x}"
    )


def test_a_mapping_over_several_wrong_pages_is_one_finding() -> None:
    backed = [shared(POOL), dataclasses.replace(shared(POOL + PAGE), pa=HOST + 16 * PAGE)]
    assert told("V2", REALM, *backed, iommu_map(ALIAS, HOST, 2 * PAGE)) == VMM
    twins = [iommu_map(POOL, HOST), iommu_map(POOL + PAGE, HOST)]
    assert told("V4", REALM, *twins, iommu_map(ALIAS, HOST + 8 * PAGE, 2 * PAGE)) == VMM
