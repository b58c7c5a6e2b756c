"""M3, M5, M6, M8, M10, M11: is each bounced mapping what the pool can have given?"""

from __future__ import annotations

import dataclasses

import pytest

from rule_events import (
    BUFFER,
    FAILED,
    PAGE,
    PLAIN,
    POOL,
    REALM,
    S,
    bounced,
    dma_alloc,
    dma_map,
    dma_unmap,
    pair,
    set_memory,
)
from rule_findings import found, told
from topbit.events import Event
from topbit.recording import DeviceFacts, Platform, Recording, Unparsed
from topbit.rules import check

KIB = 1 << 10
ALIAS = POOL | S


def changed(**facts: object) -> Platform:
    return dataclasses.replace(REALM, **facts)  # type: ignore[arg-type]


TDX = changed(scheme="intel-tdx", realm=False, ipa_bits=None)
NVME = changed(devices={"disk": DeviceFacts(driver="nvme"), "nic": DeviceFacts(driver="e1000e")})


@pytest.mark.parametrize(
    ("platform", "event", "count"),
    [
        (REALM, dma_map(size=256 * KIB), 0),
        (REALM, dma_map(size=256 * KIB + 1), 1),
        (REALM, dma_map(size=1 << 40), 1),
        (REALM, dma_map(FAILED, size=1 << 30), 0),
        (REALM, dma_map(size=1 << 30, status="error"), 0),
        (REALM, dma_map(BUFFER | S, size=1 << 20), 0),  # M2: not bounced
        (REALM, dma_map(size=1 << 20, device="tdisp"), 0),
        (REALM, dma_alloc(size=1 << 20), 0),
        (TDX, dma_map(POOL, size=1 << 20), 1),
    ],
)
def test_m3_a_bounce_fits_a_segment(platform: Platform, event: Event, count: int) -> None:
    found_all = told("M3", platform, dma_map(), event)
    assert [each[2] for each in found_all] == ([count] if count else [])


def test_m3_is_of_guests_that_bounce() -> None:
    checked = check(Recording.of_events(PLAIN, [dma_map(POOL, size=1 << 20)]))
    assert "M3" in {each.rule for each in checked.not_checked}


@pytest.mark.parametrize(
    ("device", "address", "phys", "lost"),
    [
        ("disk", ALIAS, BUFFER + 0xA00, True),
        ("disk", ALIAS + 0xA00, BUFFER + 0xA00, False),
        ("disk", ALIAS + 0xFFF, BUFFER + 0xFFE, True),
        ("disk", ALIAS + 0x5000, BUFFER + 0x3000, False),  # the page may differ
        ("nic", ALIAS, BUFFER + 0xA00, False),  # its driver needs no offset
        ("disk", FAILED, BUFFER + 0xA00, False),
    ],
)
def test_m5_nvme_needs_the_offset_in_its_page(
    device: str, address: int, phys: int, lost: bool
) -> None:
    assert bool(found("M5", NVME, dma_map(address, device=device, phys=phys))) == lost


def test_m6_two_live_mappings_have_two_slots() -> None:
    both = [dma_map(), dma_map(phys=BUFFER + PAGE)]
    (finding,) = found("M6", REALM, *both, dma_unmap(), dma_unmap())
    assert (finding.agent, finding.count) == ("guest", 1)
    assert f"dma_addr=0x{ALIAS:016x}" in finding.seen
    # Mapped again without an unmap: the trace has gaps.
    assert found("M6", REALM, *both, dma_unmap()) == []
    assert found("M6", REALM, *both, dma_unmap(), *both, dma_unmap()) == []
    # Two scatterlists share no address, and a coherent buffer is in no pool.
    assert found("M6", REALM, dma_map(), dma_map(ALIAS + 0x800), dma_unmap(), dma_unmap()) == []


@pytest.mark.parametrize("facts", [{"lost_events": 1}, {"unparsed": [Unparsed("t", 1, 1, "x")]}])
def test_m6_needs_a_trace_without_gaps(facts: dict[str, object]) -> None:
    events = [dma_map(), dma_map(phys=BUFFER + PAGE), dma_unmap(), dma_unmap()]
    checked = check(Recording.of_events(changed(**facts), events))
    assert "M6" in {each.rule for each in checked.not_checked}


MANY = [event for n in range(4) for event in pair(BUFFER + n * PAGE, POOL + n * PAGE)]
OTHER = [bounced(0x44000000), dma_map(ALIAS + 64 * PAGE, phys=0x44100000)]


@pytest.mark.parametrize(
    ("events", "count"),
    [
        ([*MANY, *OTHER], 1),
        ([*MANY, *OTHER, bounced(0x44100000)], 0),  # it is there, of another CPU
        ([*MANY, *OTHER, dma_map(ALIAS + 65 * PAGE, phys=0x44000000)], 0),
        ([*MANY, OTHER[0], dma_map(ALIAS, phys=0x44100000, size=128)], 0),
        ([*MANY, OTHER[0], dma_map(FAILED, phys=0x44100000)], 0),
        ([*MANY, OTHER[1]], 0),
        ([*OTHER], 0),  # no bounce has its map: dev_addr has the C bit, perhaps
        (MANY[::-1], 0),
    ],
)
def test_m8_a_bounce_is_of_the_buffer_that_is_mapped(events: list[Event], count: int) -> None:
    assert [each[2] for each in told("M8", REALM, *events)] == ([count] if count else [])


@pytest.mark.parametrize(
    ("kernel", "status", "told_of"),
    [
        ("7.2.13", "NORMAL", True), ("6.13.0", "NORMAL", True), ("7.2.13", "FORCE", False),
        ("7.3.0", "NORMAL", False), ("6.12.1", "NORMAL", False), (None, "NORMAL", False),
    ],
)  # fmt: skip
def test_m8_up_to_7_2_a_realm_forces_all(kernel: str | None, status: str, told_of: bool) -> None:
    events = [bounced(status=status), dma_map()]
    assert bool(found("M8", changed(kernel=kernel), *events)) == told_of
    assert found("M8", changed(kernel=kernel, scheme="intel-tdx"), *events) == []


PRIVATE = set_memory(POOL + PAGE, "private", PAGE)
THERE = dma_map(ALIAS + PAGE)


@pytest.mark.parametrize(
    ("events", "expected"),
    [
        ([PRIVATE, THERE], 1),
        ([PRIVATE, THERE, THERE], 2),
        ([THERE, PRIVATE], 0),
        ([PRIVATE, dma_map()], 0),
        ([PRIVATE, set_memory(POOL, "shared", 4 * PAGE), THERE], 0),
        ([PRIVATE, THERE, set_memory(POOL, "shared", 4 * PAGE)], 1),
        ([set_memory(BUFFER, "private"), dma_map(BUFFER | S)], 0),
    ],
)
def test_m10_a_pool_stays_shared(events: list[Event], expected: int) -> None:
    assert [each[2] for each in told("M10", REALM, *events)] == ([expected] if expected else [])


@pytest.mark.parametrize(
    ("attrs", "wrong"),
    [("ALLOC_CC_SHARED", True), ("NO_WARN|ALLOC_CC_SHARED", True), ("CC_SHARED", False),
     (None, False)],
)  # fmt: skip
def test_m11_an_attribute_of_the_api_itself(attrs: str | None, wrong: bool) -> None:
    assert bool(found("M11", PLAIN, dma_map(attrs=attrs))) == wrong
