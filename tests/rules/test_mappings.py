"""M: which addresses did the guest give that it should not have given?"""

from __future__ import annotations

import dataclasses

import pytest

from rule_events import (
    BUFFER,
    FAILED,
    PAGE,
    POOL,
    REALM,
    UNKNOWN_WIDTH,
    WIDE,
    S,
    bounced,
    dma_alloc,
    dma_map,
)
from rule_findings import found, told
from topbit.events import Event
from topbit.recording import DeviceFacts, Platform, Recording
from topbit.rules import check

ALIAS = POOL | S
RAM_END = 0x8000_0000


def changed(**facts: object) -> Platform:
    return dataclasses.replace(REALM, **facts)  # type: ignore[arg-type]


def disk(**facts: object) -> Platform:
    return changed(devices={"disk": DeviceFacts(**facts)})  # type: ignore[arg-type]


# M1


@pytest.mark.parametrize(
    ("platform", "address", "says"),
    [
        (REALM, POOL, "plain (protected) addresses"),
        (REALM, 0, "plain (protected) addresses"),
        (REALM, S - 1, "plain (protected) addresses"),
        (REALM, S, ""),
        (REALM, 2 * S - 1, ""),
        (REALM, 2 * S, "beyond its 41-bit IPA space"),
        (REALM, 3 * S, "beyond its 41-bit IPA space"),
        (UNKNOWN_WIDTH, 0x4000_0000, "plain (protected) addresses"),
        (UNKNOWN_WIDTH, RAM_END - 1, "plain (protected) addresses"),
        (UNKNOWN_WIDTH, RAM_END, ""),
        (UNKNOWN_WIDTH, 0x3FFF_FFFF, ""),
        (UNKNOWN_WIDTH, 1 << 60, ""),
    ],
)
def test_m1_an_address_has_the_shared_bit_and_no_bit_above(
    platform: Platform, address: int, says: str
) -> None:
    findings = found("M1", platform, dma_map(address, phys=None))
    assert [says in finding.message for finding in findings] == ([True] if says else [])


def test_m1_tells_the_address_that_would_be_right() -> None:
    (finding,) = found("M1", REALM, dma_map(POOL), dma_map(POOL + PAGE), dma_map())
    assert (finding.agent, finding.device, finding.count) == ("guest", "disk", 2)
    assert finding.seen == f"dma_addr=0x{POOL:016x}: bit 40, the shared bit, clear"
    assert finding.expected == f"dma_addr=0x{ALIAS:016x}"
    assert len(finding.evidence) == 2
    (finding,) = found("M1", UNKNOWN_WIDTH, dma_map(POOL))
    assert finding.expected == "the shared bit, set"
    (finding,) = found("M1", REALM, *[dma_map(ALIAS | 1 << 45 | 1 << 47)] * 3)
    assert finding.count == 3
    assert finding.seen == f"dma_addr=0x{ALIAS | 1 << 45 | 1 << 47:016x}: bits 45 and 47 set"
    assert finding.expected == "no bit above bit 40, the shared bit"


def test_m1_leaves_the_page_table_form_of_the_bit_to_h7() -> None:
    wrong = dma_alloc(0x7BC2_0200, size=10246)
    assert found("M1", WIDE, wrong) == []
    assert told("M1", WIDE, wrong, dma_map(POOL)) == [("guest", "disk", 1)]


@pytest.mark.parametrize(
    ("facts", "says"),
    [({"ipa_bits": None, "ram": []}, "neither the width"), ({"ipa_bits": None}, ""),
     ({"ram": []}, "")],
)  # fmt: skip
def test_m1_needs_the_width_or_the_place_of_ram(facts: dict[str, object], says: str) -> None:
    checked = check(Recording.of_events(changed(**facts), [dma_map()]))
    reasons = [each.reason for each in checked.not_checked if each.rule == "M1"]
    assert [says in reason for reason in reasons] == ([True] if says else [])


# M2


@pytest.mark.parametrize(
    ("platform", "event", "expected"),
    [
        (REALM, dma_map(BUFFER | S), 1),
        (REALM, dma_map(BUFFER), 1),
        (REALM, dma_map(), 0),
        (REALM, dma_map((BUFFER + 1) | S), 0),
        (REALM, dma_map(ALIAS, phys=POOL), 0),  # the buffer is in the pool itself
        (REALM, dma_map(BUFFER | S, attrs="CC_SHARED"), 0),
        (REALM, dma_map(BUFFER | S, phys=None), 0),
        (REALM, dma_alloc(BUFFER | S, phys=BUFFER), 0),
        (REALM, dma_map(BUFFER | S, status="error"), 0),
        (changed(pools=[]), dma_map(BUFFER | S), 1),
    ],
)
def test_m2_a_streaming_map_bounces(platform: Platform, event: Event, expected: int) -> None:
    assert len(found("M2", platform, dma_map(), event)) == expected


def test_m2_tells_buffer_and_pool() -> None:
    (finding,) = found("M2", REALM, dma_map(BUFFER | S), dma_map(BUFFER | S))
    assert finding.count == 2
    assert finding.seen == (
        f"dma_addr=0x{BUFFER | S:016x} is the buffer at phys_addr=0x{BUFFER:016x} itself"
    )
    assert finding.expected == (
        f"an address in a swiotlb pool (0x{POOL:016x}-0x{POOL + (64 << 20) - 1:016x})"
    )
    (finding,) = found("M2", changed(pools=[]), dma_map(BUFFER | S))
    assert finding.expected == "an address in a swiotlb pool"


# M4


LOW = 0xFFFF_FFFF


@pytest.mark.parametrize(
    ("platform", "events", "expected"),
    [
        (REALM, [bounced(mask=LOW), dma_map(LOW - 63)], 0),
        (REALM, [bounced(mask=LOW), dma_alloc(), dma_map(LOW - 63)], 0),
        (REALM, [bounced(mask=LOW), dma_map(LOW - 62)], 1),
        (REALM, [bounced(mask=LOW), dma_map(LOW + 1)], 1),
        (REALM, [bounced(mask=LOW), dma_map(LOW, size=1)], 0),
        (REALM, [bounced(mask=LOW), dma_map(LOW, size=None)], 0),
        (REALM, [bounced(mask=LOW), dma_map(LOW, size=0)], 0),
        (REALM, [dma_map(), bounced(mask=LOW)], 0),  # told afterwards
        (REALM, [bounced(mask=LOW, device="narrow"), dma_map()], 0),
        (REALM, [bounced(mask=LOW), dma_alloc()], 0),  # of streaming maps only
        (REALM, [dma_alloc(mask=LOW)], 1),
        (REALM, [dma_map(mask=LOW), dma_map(ALIAS + PAGE)], 2),
        (REALM, [dma_alloc(device="narrow")], 1),
        (REALM, [dma_map(device="narrow")], 1),
        (REALM, [dma_alloc(device="narrow", mask=FAILED)], 0),
        (REALM, [bounced(mask=FAILED, device="narrow"), dma_map(device="narrow")], 0),
        (REALM, [dma_map()], 0),
        (REALM, [bounced(mask=LOW), dma_map(FAILED), dma_map(status="error")], 0),
        (disk(bus_dma_limit=LOW), [dma_map()], 1),
        (disk(bus_dma_limit=LOW), [bounced(mask=FAILED), dma_map()], 1),
        (disk(bus_dma_limit=FAILED), [bounced(mask=LOW), dma_map()], 1),
        (disk(bus_dma_limit=FAILED, dma_mask=FAILED), [dma_map()], 0),
    ],
)
def test_m4_an_address_fits_mask_and_bus(
    platform: Platform, events: list[Event], expected: int
) -> None:
    counts = [count for _, _, count in told("M4", platform, *events)]
    assert counts == ([expected] if expected else [])


def test_m4_tells_the_limit() -> None:
    (finding,) = found("M4", REALM, bounced(mask=LOW), dma_map())
    assert finding.seen == f"dma_addr=0x{ALIAS:016x} size=64, limit 0xffffffff"


SEV = changed(scheme="amd-sev-snp", realm=False, ipa_bits=None, c_bit=51)


@pytest.mark.parametrize(
    ("platform", "address", "wrong"),
    [
        (SEV, POOL | 1 << 51, True),
        (SEV, POOL, False),
        (SEV, POOL | 1 << 47, False),
        (dataclasses.replace(SEV, c_bit=47, scheme="amd-sev"), POOL | 1 << 47, True),
    ],
)
def test_m1_an_sev_guests_addresses_have_no_c_bit(
    platform: Platform, address: int, wrong: bool
) -> None:
    findings = found("M1", platform, dma_map(address))
    assert [("C bit, set" in finding.seen) for finding in findings] == ([True] if wrong else [])
    assert all("shared bit" not in finding.message + finding.hint for finding in findings)


@pytest.mark.parametrize(
    ("scheme", "reason"),
    [("amd-sev", "the position of the C bit"), ("intel-tdx", "no shared bit in DMA addresses"),
     ("amd-sme", "need no shared memory"), ("none", "need no shared memory")],
)  # fmt: skip
def test_m1_says_what_a_scheme_lacks(scheme: str, reason: str) -> None:
    platform = changed(scheme=scheme, realm=False, ipa_bits=None)
    checked = check(Recording.of_events(platform, [dma_map(POOL)]))
    (told_reason,) = [each.reason for each in checked.not_checked if each.rule == "M1"]
    assert reason in told_reason


@pytest.mark.parametrize(
    ("scheme", "judged"),
    [("intel-tdx", True), ("amd-sev-snp", True), ("s390-pv", True), ("power-svm", True),
     ("hyperv", True), ("arm-pkvm", False), ("amd-sme", False), ("none", False)],
)  # fmt: skip
def test_m2_is_of_every_guest_that_bounces_all(scheme: str, judged: bool) -> None:
    platform = changed(scheme=scheme, realm=False, ipa_bits=None)
    checked = check(Recording.of_events(platform, [dma_map(BUFFER, phys=BUFFER)]))
    assert ("M2" in {finding.rule for finding in checked.findings}) == judged


@pytest.mark.parametrize(("kernel", "judged"), [("7.3.4", True), ("7.2.13", False), (None, False)])
def test_m2_is_of_pkvms_guests_from_7_3_on(kernel: str | None, judged: bool) -> None:
    platform = changed(scheme="arm-pkvm", realm=False, ipa_bits=None, kernel=kernel)
    checked = check(Recording.of_events(platform, [dma_map(BUFFER, phys=BUFFER)]))
    assert ("M2" in {finding.rule for finding in checked.findings}) == judged


@pytest.mark.parametrize(
    ("platform", "events", "wrong"),
    [
        (REALM, [dma_map(0x10000000, phys=0x10000000)], False),  # dma_map_resource() of 6.16
        (REALM, [dma_map(BUFFER, phys=BUFFER)], True),
        (REALM, [dma_map(0x10000000, phys=BUFFER)], True),
        (changed(ram=[]), [bounced(BUFFER), dma_map(0x10000000, phys=0x10000000)], False),
        (changed(ram=[]), [bounced(BUFFER), bounced(BUFFER + 9 * PAGE),
                           dma_map(BUFFER + PAGE, phys=BUFFER + PAGE)], True),
    ],
)  # fmt: skip
def test_what_lies_outside_of_ram_is_a_devices_own(
    platform: Platform, events: list[Event], wrong: bool
) -> None:
    assert bool(found("M1", platform, *events)) == wrong


@pytest.mark.parametrize(
    ("events", "count"),
    [
        ([bounced(mask=0xFFFFFFFF), dma_map()], 1),
        ([bounced(mask=0xFFFFFFFF), dma_map(phys=BUFFER + PAGE)], 0),  # of another map
        ([bounced(mask=0xFFFFFFFF, size=128), dma_map()], 0),
        ([bounced(mask=0xFFFFFFFF), bounced(device="nic"), dma_map()], 1),
        ([bounced(mask=0xFFFFFFFF), dma_alloc(), dma_map()], 0),
    ],
)
def test_m4_a_mask_is_of_the_map_that_it_was_told_with(events: list[Event], count: int) -> None:
    assert sum(each[2] for each in told("M4", REALM, *events)) == count
