"""H: which helper of the kernel formed an address wrongly?"""

from __future__ import annotations

import dataclasses

import pytest

from rule_events import BUFFER, FAILED, PLAIN, POOL, REALM, SME, WIDE, S, dma_alloc, dma_map, helper
from rule_findings import found, told
from topbit.events import Event
from topbit.recording import Platform, Recording
from topbit.rules import check
from topbit.rules.wide_ipa import wide_ipa_rows

ALIAS = BUFFER | S
C_BIT = 1 << 47
ENCRYPTED, UNENCRYPTED = "dma_addr_encrypted", "dma_addr_unencrypted"


@pytest.mark.parametrize(
    ("events", "count"),
    [
        ([helper("phys_to_dma", 1, 5), helper("dma_to_phys", 1, 5)], 0),
        ([helper("phys_to_dma", 1, 5), helper("dma_to_phys", 2, 5)], 1),
        ([helper("phys_to_dma_unencrypted", 1, 5), helper("dma_to_phys", 2, 5)], 1),
        ([helper("phys_to_dma_encrypted", 1, 5), helper("dma_to_phys", 2, 5)], 1),
        ([helper("dma_addr_encrypted", 1, 5), helper("dma_to_phys", 2, 5)], 0),
        ([helper("phys_to_dma", 1, 5), *[helper("dma_to_phys", 2, 5)] * 3], 3),
        ([helper("phys_to_dma", 1, 5), helper("dma_to_phys", 2, 6)], 0),
        ([helper("phys_to_dma", 1, FAILED), helper("dma_to_phys", 2, FAILED)], 0),
        ([helper("phys_to_dma", 1, 5, "a"), helper("dma_to_phys", 2, 5, "b")], 0),
        (
            [helper("phys_to_dma", 1, 5), helper("phys_to_dma", 2, 5), helper("dma_to_phys", 1, 5)],
            0,
        ),
    ],
)
def test_h1_an_address_leads_back_to_its_page(events: list[Event], count: int) -> None:
    assert [found_count for _, _, found_count in told("H1", REALM, *events)] == (
        [count] if count else []
    )


@pytest.mark.parametrize(
    ("name", "address", "flagged"),
    [
        ("translate_dma_to_phys", ALIAS, True),
        ("translate_dma_to_phys", BUFFER, False),
        ("translate_dma_to_phys", 1 << 41, False),
        ("dma_to_phys", ALIAS, False),
    ],
)
def test_h2_a_lookup_is_made_without_the_bit(name: str, address: int, flagged: bool) -> None:
    assert bool(found("H2", REALM, helper(name, BUFFER, address))) == flagged


POLARITY = [
    ("dma_addr_unencrypted", True),
    ("phys_to_dma_unencrypted", True),
    ("dma_addr_encrypted", False),
    ("phys_to_dma_encrypted", False),
]


@pytest.mark.parametrize(("name", "has"), POLARITY)
def test_h3_shared_addresses_have_the_bit_and_private_ones_not(name: str, has: bool) -> None:
    right, wrong = (ALIAS, BUFFER) if has else (BUFFER, ALIAS)
    assert found("H3", REALM, helper(name, BUFFER, right)) == []
    assert found("H3", REALM, helper(name, BUFFER, FAILED)) == []
    (finding,) = found("H3", REALM, helper(name, BUFFER, wrong, "disk"))
    verb = "left bit 40, the shared bit, clear" if has else "set bit 40, the shared bit"
    assert finding.message == f"{name}() {verb}"
    assert finding.expected == (
        "the bit set: shared memory" if has else "the bit clear: private memory"
    )
    assert (finding.agent, finding.device) == ("guest", "disk")
    assert finding.seen.startswith(f"{name}() disk address=0x{wrong:016x} phys=0x{BUFFER:016x}")
    assert ("6.15" in finding.hint) == has


@pytest.mark.parametrize(("name", "shared"), POLARITY)
def test_h4_the_c_bit_is_the_other_way_round(name: str, shared: bool) -> None:
    right, wrong = (BUFFER, BUFFER | C_BIT) if shared else (BUFFER | C_BIT, BUFFER)
    assert found("H4", SME, helper(name, BUFFER, right)) == []
    assert found("H4", SME, helper(name, BUFFER, FAILED)) == []
    (finding,) = found("H4", SME, helper(name, BUFFER, wrong))
    assert "bit 47, the C bit" in finding.message
    assert finding.hint == "keep to the kernel's helpers"


@pytest.mark.parametrize(
    ("rule", "platform", "says"),
    [
        ("H4", REALM, "the scheme is arm-cca, not AMD SME or SEV"),
        ("H4", dataclasses.replace(SME, c_bit=None), "the position of the C bit is not known"),
        ("H4", dataclasses.replace(SME, scheme="amd-sev"), ""),
        ("H5", SME, "amd-sme has an attribute bit in DMA addresses"),
        ("H5", dataclasses.replace(SME, scheme="amd-sev"), "amd-sev has an attribute bit"),
        ("H5", REALM, "arm-cca has an attribute bit"),
        ("H5", PLAIN, ""),
        ("H5", dataclasses.replace(PLAIN, scheme="tdx"), ""),
    ],
)
def test_schemes_that_a_rule_is_for(rule: str, platform: Platform, says: str) -> None:
    checked = check(Recording.of_events(platform, [helper(ENCRYPTED, BUFFER, BUFFER)]))
    reasons = [each.reason for each in checked.not_checked if each.rule == rule]
    assert [says in reason for reason in reasons] == ([True] if says else [])


@pytest.mark.parametrize("name", [ENCRYPTED, UNENCRYPTED, "dma_addr_canonical"])
def test_h5_without_an_attribute_bit_nothing_changes(name: str) -> None:
    assert found("H5", PLAIN, helper(name, BUFFER, BUFFER)) == []
    assert len(found("H5", PLAIN, helper(name, BUFFER, BUFFER + 1))) == 1
    assert found("H5", PLAIN, helper("phys_to_dma", BUFFER, BUFFER + 1)) == []


@pytest.mark.parametrize("name", [ENCRYPTED, UNENCRYPTED, "dma_addr_canonical"])
@pytest.mark.parametrize(
    ("change", "flagged"), [(0, False), (S, False), (S | 1, True), (1 << 63, True), (1, True)]
)
def test_h6_only_the_shared_bit_changes(name: str, change: int, flagged: bool) -> None:
    findings = found("H6", REALM, helper(name, BUFFER, BUFFER ^ change))
    assert bool(findings) == flagged
    if flagged:
        assert findings[0].expected == "only bit 40, the shared bit, may change"


def test_findings_of_helpers_are_told_by_device_and_helper() -> None:
    events = [
        helper(UNENCRYPTED, BUFFER, BUFFER, "a"),
        helper(UNENCRYPTED, BUFFER, BUFFER, "b"),
        helper("phys_to_dma_unencrypted", BUFFER, BUFFER, "a"),
        helper(UNENCRYPTED, BUFFER, BUFFER, "a"),
    ]
    assert told("H3", REALM, *events) == [
        ("guest", "a", 2), ("guest", "b", 1), ("guest", "a", 1),
    ]  # fmt: skip


# H7: 52 bits with 4K pages give bit 9, 49 bits with 64K pages bit 12, in place of the top bit.

NARROW_64K = dataclasses.replace(REALM, ipa_bits=49)


@pytest.mark.parametrize(
    ("platform", "events", "wrong"),
    [
        (WIDE, [dma_alloc(0x7BC2_0200)], 0x200),
        (WIDE, [dma_alloc(0x7BC2_0200), dma_map(POOL | 0x200)], 0x200),
        (WIDE, [dma_map(POOL | 0x200)], None),  # a low bit of a buffer tells nothing
        (WIDE, [dma_alloc(0x7BC2_0200), dma_alloc(0x7BC2_0000 | 1 << 51)], None),
        (WIDE, [dma_alloc(0x7BC2_0300)], None),
        (WIDE, [dma_alloc(0x7BC2_0201)], None),
        (WIDE, [dma_alloc(0x7BC2_0200 | 1 << 51)], None),
        (NARROW_64K, [dma_alloc(0x4001_1000)], None),  # one could be a page by chance
        (dataclasses.replace(WIDE, ipa_bits=None), [dma_alloc(0x7BC2_0200)], None),
        (dataclasses.replace(WIDE, realm=None), [dma_alloc(0x7BC2_0200)], None),
        (REALM, [dma_alloc(0x7BC2_0200)], None),
    ],
)
def test_h7_the_bit_in_its_page_table_form(
    platform: Platform, events: list[Event], wrong: int | None
) -> None:
    rows = wide_ipa_rows(Recording.of_events(platform, events))
    assert set(rows["wrong"].to_list()) == (set() if wrong is None else {wrong})
    if wrong is not None:
        assert len(rows) == len(events)


def test_h7_tells_both_bits_and_what_came_of_it() -> None:
    full = Event("guest", "swiotlb_full", "disk", attrs="total=512|used=0", source="log", line=3)
    used = dataclasses.replace(full, attrs="total=512|used=12")
    other = dataclasses.replace(full, device="narrow")
    failed = dma_map(FAILED, source="trace", line=8)
    events = [dma_alloc(0x7BC2_0200), failed, dma_map(FAILED), full, full, used, other]
    (finding,) = found("H7", WIDE, *events)
    assert finding.message == (
        "the guest kernel set bit 9 (0x200) instead of bit 51, the shared bit"
    )
    assert finding.seen == f"dma_addr=0x{0x7BC2_0200:016x}: bit 9 set, bit 51 clear"
    assert finding.expected == f"dma_addr=0x{0x7BC2_0000 | 1 << 51:016x}: bit 51 set"
    assert [(each.text, each.place) for each in finding.evidence[1:]] == [
        ("consequence: 2 streaming maps failed (DMA_MAPPING_ERROR)", "trace:8"),
        ('consequence: "swiotlb buffer is full ... used 0", 2 times', "log:3"),
    ]
    (alone,) = found("H7", WIDE, dma_alloc(0x7BC2_0200), dma_map(FAILED, device="narrow"))
    assert len(alone.evidence) == 1
