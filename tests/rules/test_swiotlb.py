"""S: why was the swiotlb pool full?"""

from __future__ import annotations

import dataclasses

import pytest

from rule_events import REALM, WIDE, dma_alloc, full, trouble
from rule_findings import found, told
from topbit.events import Event
from topbit.recording import Platform

KIB, MIB = 1 << 10, 1 << 20


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
    (finding,) = found("S1", REALM, full(300 * KIB, 1), full(400 * KIB, 2))
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
    ("ram", "total", "kernel", "shrunk"),
    [
        ([(0, 1024 * MIB)], 512, "7.3.4", True),
        ([(0, 512 * MIB), (1 << 32, 512 * MIB)], 512, "7.3.1", True),
        ([(0, 1024 * MIB)], 512, None, False),
        ([(0, 1024 * MIB)], 512, "7.2.13", False),
        ([(0, 1024 * MIB)], 512, "7.4.0", False),
        ([(0, 1024 * MIB)], 513, "7.3.4", False),
        ([], 512, "7.3.4", False),
    ],
)
def test_what_gives_a_larger_pool(
    ram: list[tuple[int, int]], total: int, kernel: str | None, shrunk: bool
) -> None:
    platform: Platform = dataclasses.replace(REALM, ram=ram, kernel=kernel)
    (finding,) = found("S1", platform, full(total=total, used=1))
    assert finding.hint.startswith("raise the pool with swiotlb=SLOTS of 2 KiB")
    assert ("any swiotlb= but 32768, the default itself, raises it" in finding.hint) == shrunk


@pytest.mark.parametrize(
    ("scheme", "kernel", "total", "used", "asked", "says"),
    [
        ("arm-cca", "6.18.15", 512, 510, 2048, "(swiotlb=2048, 4 MiB, would have held)"),
        ("arm-cca", "6.18.15", 16384 - 128, 100, 256 * KIB, "(swiotlb=32768, 64 MiB, would"),
        ("arm-cca", "7.3.4", 16384 - 128, 100, 256 * KIB, "(swiotlb=65536, 128 MiB, would"),
        ("intel-tdx", "7.2.13", 524288, 524001, 256 * KIB, "ends at 1 GiB"),
        ("amd-sev-snp", "6.5.1", 512, 511, 64, "CONFIG_SWIOTLB_DYNAMIC (Linux 6.6 and later)"),
        ("amd-sev", "6.12.1", 512, 511, 64, "without a panic from Linux 7.3 on"),
        ("intel-tdx", "7.3.1", 512, 511, 64, "CONFIG_SWIOTLB_DYNAMIC lets it grow; smaller"),
        ("s390-pv", "6.5.1", 32768, 28249, 256 * KIB, "swiotlb=262144 gives 512 MiB"),
    ],
)
def test_the_advice_is_of_the_scheme_and_the_release(
    scheme: str, kernel: str, total: int, used: int, asked: int, says: str
) -> None:
    realm = scheme == "arm-cca"
    platform = dataclasses.replace(REALM, scheme=scheme, kernel=kernel, realm=realm)
    (finding,) = found("S1", platform, full(asked, used, total))
    assert says in finding.hint


def test_a_machine_without_a_pool() -> None:
    (finding,) = found("S1", REALM, full(total=0, used=0), trouble("pool_missing"))
    assert finding.message == "there is no bounce pool at all, and a buffer needs one"
    assert "121660bba631" in finding.hint
    (finding,) = found("S1", REALM, trouble("pool_missing", device=None))
    assert (finding.device, finding.seen) == (None, "a line of pool_missing")


def test_a_nearly_full_pool_is_said_of_a_request_that_never_fits() -> None:
    for used, nearly in ((515875, True), (564, False)):
        (finding,) = found("S1", REALM, full(2 * MIB, used, 524288))
        assert ("nearly full as well" in finding.seen) == nearly
        assert finding.hint.endswith("a larger pool does not help")


def test_an_old_kernel_tells_neither_size_nor_use() -> None:
    event = Event("guest", "swiotlb_full", "disk", size=9100)
    (finding,) = found("S1", REALM, event, event)
    assert "tells neither its size nor its use" in finding.message
    assert (finding.count, "would have held" in finding.hint) == (2, False)
    (finding,) = found("S1", REALM, trouble("bounce_failed", size=9100))
    assert finding.seen == "a line of bounce_failed"


def test_a_pool_used_to_its_last_slot_may_leak() -> None:
    (leak,) = found("S1", REALM, *[full(used=512)] * 3)
    assert "may not give back what it maps" in leak.message
    assert leak.hint.startswith("look at M7")
    (busy,) = found("S1", REALM, full(used=512), full(used=512), full(used=511))
    assert "too small for the load" in busy.message


def test_how_long_it_lasted() -> None:
    def at(time: float) -> Event:
        return dataclasses.replace(full(used=500), time=time)

    (finding,) = found("S1", REALM, at(1.5), at(2.5), at(2.0))
    assert finding.seen.endswith("; 3 messages from 1.500000 to 2.500000 s")


def test_a_hosts_pool_is_the_hosts() -> None:
    (finding,) = found("S1", REALM, dataclasses.replace(full(), agent="host"))
    assert finding.agent == "host"


def test_devices_are_told_apart() -> None:
    events = [full(), full(device="narrow"), full(), full(used=0)]
    assert told("S1", REALM, *events) == [
        ("guest", "disk", 1), ("guest", "disk", 2), ("guest", "narrow", 1),
    ]  # fmt: skip
    assert told("S1", REALM, full(total=512)) == [("guest", "disk", 1)]
