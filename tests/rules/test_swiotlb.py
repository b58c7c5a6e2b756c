"""S: why was the swiotlb pool full?"""

from __future__ import annotations

import dataclasses

import pytest

from rule_events import REALM, WIDE, dma_alloc
from rule_findings import found, told
from topbit.events import Event
from topbit.recording import Platform

KIB, MIB = 1 << 10, 1 << 20


def full(size: int = 64, used: int = 512, total: int = 512, device: str = "disk") -> Event:
    return Event("guest", "swiotlb_full", device, size=size, attrs=f"total={total}|used={used}")


@pytest.mark.parametrize(
    ("event", "says"),
    [
        (full(256 * KIB), "is too small for the load"),
        (full(256 * KIB + 1), "asked for more than the 256 KiB that one bounce can ever hold"),
        (full(256 * KIB + 1, used=0), "asked for more than the 256 KiB"),
        (full(used=0), "while it is empty: no slot has a usable address"),
        (full(used=1), "is too small for the load"),
    ],
)
def test_a_full_pool_has_one_of_three_reasons(event: Event, says: str) -> None:
    (finding,) = found("S1", REALM, event)
    assert says in finding.message
    assert (finding.severity, finding.agent, finding.device) == ("warning", "guest", "disk")


def test_an_empty_pool_of_a_guest_with_the_wrong_bit_is_a_consequence() -> None:
    (finding,) = found("S1", WIDE, dma_alloc(0x7BC2_0200), full(used=0))
    assert (finding.severity, finding.hint) == ("note", "see H7")
    assert finding.message.endswith("a consequence of the wrong bit in DMA addresses (H7)")
    (other,) = found("S1", WIDE, dma_alloc(0x7BC2_0200, device="narrow"), full(used=0))
    assert (other.severity, other.device) == ("warning", "disk")


def test_the_largest_request_and_use_are_told() -> None:
    (finding,) = found("S1", REALM, full(64, 500), full(4096, 400), full(128, 510))
    assert finding.count == 3
    assert finding.seen == "used 510 of 512 slots of 2 KiB when 4096 bytes were asked for"
    assert len(finding.evidence) == 2
    (finding,) = found("S1", REALM, full(300 * KIB), full(400 * KIB))
    assert finding.hint.endswith("a larger pool does not help")
    assert (finding.seen, finding.count) == ("sz: 409600 bytes", 2)
    assert len(finding.evidence) == 2
    (finding,) = found("S1", REALM, *[full(used=0)] * 3)
    assert (finding.seen, finding.count, len(finding.evidence)) == ("used 0 (slots)", 3, 2)


@pytest.mark.parametrize(
    ("total", "amount"),
    [(512, "1 MiB"), (511, "1022 KiB"), (1024, "2 MiB"), (32768, "64 MiB"), (1, "2 KiB")],
)
def test_the_pools_size_is_told(total: int, amount: str) -> None:
    (finding,) = found("S1", REALM, full(total=total, used=1))
    assert f"the swiotlb pool of {amount} is too small" in finding.message


@pytest.mark.parametrize(
    ("ram", "total", "kernel", "says"),
    [
        ([(0, 1024 * MIB)], 512, "7.3.4", "Linux 7.3.4 shrank it to RAM/1024"),
        ([(0, 512 * MIB), (1 << 32, 512 * MIB)], 512, None, "Linux 7.3 shrank it to RAM/1024"),
        ([(0, 1024 * MIB)], 513, "7.3.4", "raise it with swiotlb=SLOTS"),
        ([], 512, "7.3.4", "raise it with swiotlb=SLOTS"),
        ([(0, 65536 * MIB)], 32768, "7.3.4", "raise it with swiotlb=SLOTS"),
    ],
)
def test_what_gives_a_larger_pool(
    ram: list[tuple[int, int]], total: int, kernel: str | None, says: str
) -> None:
    platform: Platform = dataclasses.replace(REALM, ram=ram, kernel=kernel)
    (finding,) = found("S1", platform, full(total=total, used=1))
    assert finding.hint.startswith(says)


def test_devices_are_told_apart() -> None:
    events = [full(), full(device="narrow"), full(), full(used=0)]
    assert told("S1", REALM, *events) == [
        ("guest", "disk", 1), ("guest", "disk", 2), ("guest", "narrow", 1),
    ]  # fmt: skip
    assert told("S1", REALM, full(total=512)) == [("guest", "disk", 1)]
