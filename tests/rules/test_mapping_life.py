"""M: which mappings fail, and which are never undone?"""

from __future__ import annotations

import dataclasses

import pytest

from rule_events import (
    BUFFER,
    FAILED,
    PAGE,
    POOL,
    REALM,
    WIDE,
    S,
    dma_alloc,
    dma_map,
    dma_unmap,
    trouble,
)
from rule_findings import found, told
from topbit.events import Event
from topbit.recording import DeviceFacts, Platform
from topbit.recording.platform import Unparsed

ALIAS = POOL | S
RAM_END = 0x8000_0000


def changed(**facts: object) -> Platform:
    return dataclasses.replace(REALM, **facts)  # type: ignore[arg-type]


def disk(**facts: object) -> Platform:
    return changed(devices={"disk": DeviceFacts(**facts)})  # type: ignore[arg-type]


def bounced(mask: int, device: str = "disk") -> Event:
    return Event("guest", "swiotlb_bounced", device, mask=mask, phys=BUFFER, size=64)


LOW = 0xFFFF_FFFF


# M7

AGAIN = [dma_map(ALIAS + n * PAGE) for n in range(3)]
OTHER = [dma_map(ALIAS + 32 * PAGE), dma_unmap(ALIAS + 32 * PAGE)]


def again(**more: object) -> list[Event]:
    return [dataclasses.replace(event, **more) for event in AGAIN]  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("events", "count"),
    [
        (AGAIN, 3),
        (AGAIN[:2], 0),
        (again(direction="BIDIRECTIONAL"), 3),
        (again(direction="TO_DEVICE"), 0),
        (again(phys=None), 0),
        (again(status="error"), 0),
        ([*AGAIN, dma_unmap(ALIAS)], 0),
        ([dma_unmap(ALIAS), *AGAIN], 3),
        ([*AGAIN, dma_unmap(ALIAS, device="narrow")], 3),
        ([dma_map(ALIAS), *AGAIN], 3),  # an address that is mapped again was unmapped in between
        ([*AGAIN[:2], dma_map(ALIAS + 2 * PAGE, phys=BUFFER + PAGE)], 0),
        ([*AGAIN[:2], dma_map(ALIAS + 2 * PAGE, size=128)], 0),
        ([*AGAIN[:2], dma_map(ALIAS + 2 * PAGE, device="narrow")], 0),
        ([*AGAIN, Event("guest", "dma_unmap_sg", "disk", phys=BUFFER)], 0),
        ([*AGAIN, Event("guest", "dma_unmap_sg", "disk", phys=BUFFER + PAGE)], 3),
        ([*AGAIN, Event("guest", "dma_unmap_sg", "narrow", phys=BUFFER)], 3),
    ],
)
def test_m7_a_buffer_mapped_again_and_again(events: list[Event], count: int) -> None:
    expected = [("guest", "disk", count)] if count else []
    assert told("M7", REALM, *OTHER, *events) == expected


def test_m7_knows_scatterlists_of_a_device_without_a_name() -> None:
    nameless = again(device=None)
    assert told("M7", REALM, *OTHER, *nameless) == [("guest", None, 3)]
    unmapped = Event("guest", "dma_unmap_sg", phys=BUFFER)
    assert told("M7", REALM, *OTHER, *nameless, unmapped) == []


@pytest.mark.parametrize(
    ("platform", "more", "severity"),
    [
        (REALM, OTHER, "violation"),
        (REALM, [*OTHER, dma_unmap(ALIAS + 64 * PAGE)], "warning"),
        (REALM, [*OTHER, dma_unmap(ALIAS + 64 * PAGE, device="narrow")], "violation"),
        (changed(unparsed=[Unparsed("trace", 1, 1, "text")]), OTHER, "warning"),
    ],
)
def test_m7_is_less_certain_where_lines_may_be_missing(
    platform: Platform, more: list[Event], severity: str
) -> None:
    (finding,) = found("M7", platform, *more, *AGAIN)
    assert finding.severity == severity
    assert ("the trace has gaps" in finding.seen) == (severity == "warning")
    assert finding.seen.startswith(f"3 maps, the first of phys_addr=0x{BUFFER:016x}")


@pytest.mark.parametrize(("driver", "commit"), [("nvme", True), ("ahci", False), (None, False)])
def test_m7_knows_the_driver_that_did_so(driver: str | None, commit: bool) -> None:
    (finding,) = found("M7", disk(driver=driver), *OTHER, *AGAIN)
    assert ("a54afbc8a213" in finding.hint) == commit


# M9

FULL = Event("guest", "swiotlb_full", "disk", size=64, attrs="total=512|used=512", detail="full!")
FAIL = dma_map(FAILED)


@pytest.mark.parametrize(
    ("platform", "events", "says"),
    [
        (REALM, [FAIL], "and nothing recorded tells why"),
        (REALM, [dma_map(status="error")], "and nothing recorded tells why"),
        (REALM, [dma_alloc(0, status="error")], "and nothing recorded tells why"),
        (REALM, [FULL, FAIL], "because the swiotlb pool was full"),
        (REALM, [dataclasses.replace(FULL, device="narrow"), FAIL], "and nothing recorded"),
        (REALM, [bounced(LOW), FULL, FAIL], "mask 0xffffffff cannot carry bit 40"),
        (REALM, [bounced(S - 1), FAIL], "mask 0xffffffffff cannot carry bit 40"),
        (REALM, [bounced(S), FAIL], "and nothing recorded tells why"),
        (REALM, [bounced(LOW, "narrow"), FAIL], "and nothing recorded tells why"),
        (disk(dma_mask=LOW), [FAIL], "mask 0xffffffff cannot carry bit 40"),
        (disk(dma_mask=LOW), [bounced(FAILED), FAIL], "and nothing recorded tells why"),
        (dataclasses.replace(disk(dma_mask=LOW), realm=False), [FAIL], "and nothing recorded"),
        (WIDE, [dma_alloc(0x7BC2_0200, size=10246), FAIL], "wrong bit in their addresses (H7)"),
        (REALM, [dma_map()], ""),
    ],
)
def test_m9_why_a_mapping_failed(platform: Platform, events: list[Event], says: str) -> None:
    findings = found("M9", platform, *events)
    assert [says in finding.message for finding in findings] == ([True] if says else [])
    for finding in findings:
        assert (finding.severity, finding.agent) == ("warning", "guest")


def test_m9_shows_the_pools_own_message() -> None:
    full = dataclasses.replace(FULL, source="console.log", line=9)
    (finding,) = found("M9", REALM, full, FAIL, FAIL, FAIL)
    assert finding.count == 3
    assert [each.text for each in finding.evidence[2:]] == ["full!"]
    assert finding.evidence[2].place == "console.log:9"


@pytest.mark.parametrize("kind", ["dma_overflow", "bounce_overflow"])
def test_m9_shows_the_message_of_an_address_that_does_not_fit(kind: str) -> None:
    told_of = trouble(kind, address=1 << 33, size=64, mask=LOW, source="console.log", line=7)
    other = dataclasses.replace(told_of, device="narrow", line=6)
    (finding,) = found("M9", REALM, other, told_of, FAIL)
    assert "because an address did not fit the device (mask 0xffffffff" in finding.message
    assert [(each.text, each.place) for each in finding.evidence[1:]] == [
        (f"a line of {kind}", "console.log:7")
    ]
