"""H7, F8: has the guest's shared bit the form that page tables give it?"""

from __future__ import annotations

import dataclasses

import pytest

from rule_events import BUFFER, LOG, PAGE, POOL, dma_alloc, dma_map, full, smmu_event
from rule_findings import found, told
from topbit.events import Event
from topbit.recording import Platform, Reading, Recording
from topbit.rules.wide_ipa import wrong_bits


def wide(bits: int = 52, kernel: str | None = "7.3.4", **facts: object) -> Platform:
    return dataclasses.replace(LOG, ipa_bits=bits, kernel=kernel, **facts)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("platform", "events", "told_of"),
    [
        (wide(), [full(used=0)], True),
        (wide(51, "7.0.1"), [full(used=0)], True),
        (wide(51, "6.19.10"), [full(used=0)], True),
        (wide(51, "6.18.15"), [full(used=0)], False),  # before the form came
        (wide(kernel=None), [full(used=0)], False),
        (wide(50), [full(used=0)], False),
        (wide(), [full(used=1)], False),
        (wide(), [full(used=0, total=0)], False),  # no pool at all
        (wide(), [full(0x40001, used=0)], False),  # it never fits
    ],
)
def test_h7_from_the_messages_of_a_full_pool(
    platform: Platform, events: list[Event], told_of: bool
) -> None:
    assert [agent for agent, _, _ in told("H7", platform, *events)] == ["guest"] * told_of
    assert told("S1", platform, *events)


def test_h7_from_messages_is_no_violation_where_the_width_is_a_guess() -> None:
    reading = Reading("ipa_bits", "52", "a guess", "--ipa-bits N")
    (finding,) = found("H7", wide(readings=[reading]), full(used=0))
    assert (finding.severity, finding.readings) == ("note", ["ipa_bits 52: a guess"])


@pytest.mark.parametrize(
    ("platform", "addresses", "count"),
    [
        (wide(), [BUFFER | 0x200, (BUFFER + PAGE) | 0x200], 2),
        (wide(51), [BUFFER | 0x100, (BUFFER + PAGE) | 0x140], 2),
        (wide(kernel=None), [BUFFER | 0x200, (BUFFER + PAGE) | 0x200], 2),
        (wide(), [BUFFER | 0x200], 0),  # may be the middle of a page
        (wide(), [BUFFER | 0x200, BUFFER | 0x240], 0),
        (wide(), [POOL | 0x200], 1),
        (
            wide(),
            [BUFFER | 0x200, (BUFFER + PAGE) | 0x200, BUFFER + 2 * PAGE, BUFFER + 3 * PAGE],
            0,
        ),
        (wide(50), [BUFFER | 0x200, (BUFFER + PAGE) | 0x200], 0),
        (wide(kernel="6.18.15"), [BUFFER | 0x200, (BUFFER + PAGE) | 0x200], 0),
        (wide(), [1 << 51 | BUFFER | 0x200, 1 << 51 | (BUFFER + PAGE) | 0x200], 0),
    ],
)
def test_f8_refused_addresses_show_it(platform: Platform, addresses: list[int], count: int) -> None:
    events = [smmu_event(address) for address in addresses]
    assert sum(each[2] for each in told("F8", platform, *events)) == count
    if count:
        assert found("F2", platform, *events) == []


def test_f8_of_an_address_that_was_mapped_so() -> None:
    events = [dma_alloc(0x7BC2_0200), smmu_event(0x7BC2_0200)]
    (finding,) = found("F8", wide(), *events)
    assert finding.expected == f"0x{1 << 51 | 0x7BC2_0000:016x}: bit 51 set"
    assert len(finding.evidence) == 2


@pytest.mark.parametrize(
    ("events", "count"),
    [
        ([dma_alloc(0x1_0000_4001_1000 + (n << 16)) for n in range(4)], 4),
        ([dma_alloc(0x1_0000_4001_1000 + (n << 16)) for n in range(3)], 0),
        ([*(dma_alloc(0x1_0000_4001_1000 + (n << 16)) for n in range(4)),
          dma_map(0x1_0000_7000_0000)], 0),  # 4K pages: bit 12 is part of the address
        ([*(dma_alloc(0x1_0000_4001_1000 + (n << 16)) for n in range(4)),
          dma_map(0x1_0000_7000_1000)], 5),
    ],
)  # fmt: skip
def test_h7_with_64k_pages_bit_12_is_in_every_address(events: list[Event], count: int) -> None:
    assert sum(each[2] for each in told("H7", wide(49), *events)) == count


@pytest.mark.parametrize(
    ("bits", "small", "large"),
    [
        (48, 0, 0),
        (49, 0, 1 << 48 | 1 << 12),
        (50, 0, 1 << 49 | 1 << 13),
        (51, 0x100, 1 << 14),
        (52, 0x200, 1 << 15),
    ],
)
def test_the_wrong_bits_of_each_width_with_small_and_large_pages(
    bits: int, small: int, large: int
) -> None:
    recording = Recording.of_events(wide(bits), [])
    assert (wrong_bits(recording), wrong_bits(recording, 16)) == (small, large)
