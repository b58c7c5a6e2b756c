"""How are addresses, bits, events and refusals written?"""

from __future__ import annotations

import dataclasses

import polars as pl
import pytest

from rule_events import (
    BUFFER,
    POOL,
    REALM,
    UNKNOWN_WIDTH,
    S,
    access,
    dma_alloc,
    dma_map,
    helper,
    smmu_event,
)
from topbit.events import Event
from topbit.recording import Platform, Recording
from topbit.rules.finding import Evidence
from topbit.rules.wording import (
    address,
    bits_of,
    by_device,
    describe,
    device_name,
    evidence,
    evidence_of,
    gives_no_alias,
    refused_access,
    release_hint,
    shared_bit_name,
)


def rows(*events: Event) -> pl.DataFrame:
    return Recording.of_events(REALM, events).frame


def row(event: Event) -> dict[str, object]:
    return rows(event).row(0, named=True)


def test_an_address_has_16_digits() -> None:
    assert address(0x1234) == "0x0000000000001234"


@pytest.mark.parametrize(
    ("mask", "said"),
    [(1 << 40, "bit 40"), (1, "bit 0"), (0x201, "bits 0 and 9"), (0x7 << 50, "bits 50, 51 and 52")],
)
def test_bits_are_numbered(mask: int, said: str) -> None:
    assert bits_of(mask) == said


def test_the_shared_bit_is_numbered_where_its_number_is_known() -> None:
    assert shared_bit_name(REALM) == "bit 40, the shared bit"
    assert shared_bit_name(UNKNOWN_WIDTH) == "the shared bit"


@pytest.mark.parametrize(
    ("device", "sid", "name"),
    [
        ("nvme0", 0x20, "nvme0"),
        (None, 0x10, "disk"),
        (None, 0x99, "StreamID 0x99"),
        (None, None, None),
    ],
)
def test_a_device_is_named_by_the_kernel_or_by_its_stream(
    device: str | None, sid: int | None, name: str | None
) -> None:
    assert device_name(Recording.of_events(REALM, []), device, sid) == name


@pytest.mark.parametrize(
    ("event", "line"),
    [
        (Event("guest", "log", detail="a line"), "a line"),
        (
            helper("dma_to_phys", BUFFER, BUFFER | S, "disk"),
            f"dma_to_phys() disk address=0x{BUFFER | S:016x} phys=0x{BUFFER:016x}",
        ),
        (
            dma_map(attrs="MMIO", mask=0xFF, status="ok"),
            f"dma_map disk FROM_DEVICE dma_addr=0x{POOL | S:016x} phys_addr=0x{BUFFER:016x} "
            "size=64 dma_mask=0xff ok MMIO",
        ),
        (
            access(POOL, "GPF", "w", pa=0x1000),
            f"access disk StreamID 0x10 write address=0x{POOL:016x} pa=0x{0x1000:016x} size=64 GPF",
        ),
        (
            Event("guest", "swiotlb_bounced", phys=BUFFER),
            f"swiotlb_bounced phys_addr=0x{BUFFER:016x}",
        ),
        (Event("rmm", "ripas", phys=0, size=0), f"ripas phys=0x{0:016x} size=0"),
        (Event("smmu", "smmu_event", sid=0), "smmu_event StreamID 0x0"),
        (Event("guest", "step", detail="rebind-x", status="begin"), "step rebind-x begin"),
    ],
)
def test_an_event_is_one_line(event: Event, line: str) -> None:
    assert describe(row(event)) == line


@pytest.mark.parametrize(
    ("event", "said"),
    [
        (
            access(POOL | S),
            f"disk (StreamID 0x10) read 0x{POOL | S:016x} (bit 40, the shared bit, set): "
            "F_TRANSLATION",
        ),
        (
            smmu_event(POOL, direction="w"),
            f"disk (StreamID 0x10) wrote 0x{POOL:016x} (bit 40, the shared bit, clear): "
            "F_TRANSLATION, stage 2",
        ),
        (
            dataclasses.replace(access(0, device=None, sid=0x99), direction=None),
            f"StreamID 0x99 used 0x{0:016x} (bit 40, the shared bit, clear): F_TRANSLATION",
        ),
        (
            dataclasses.replace(access(0, device=None, sid=None)),
            f"a device read 0x{0:016x} (bit 40, the shared bit, clear): F_TRANSLATION",
        ),
        (
            Event("smmu", "smmu_event", sid=0x10, status="C_BAD_STE"),
            "disk (StreamID 0x10): C_BAD_STE",
        ),
        (Event("smmu", "smmu_event", sid=0x99, status="C_BAD_STE"), "StreamID 0x99: C_BAD_STE"),
    ],
)
def test_a_refused_access_is_told_with_its_half(event: Event, said: str) -> None:
    assert refused_access(Recording.of_events(REALM, []), row(event)) == said


def test_evidence_has_its_place_and_agent() -> None:
    event = Event("guest", "log", detail="text", source="console.log", line=7)
    assert evidence_of(row(event)) == Evidence("text", "console.log", 7, "guest")
    nowhere = evidence_of(row(Event("guest", "log", detail="text")))
    assert (nowhere.source, nowhere.place) == ("", "")


def test_the_first_few_events_are_shown() -> None:
    events = [Event("guest", "log", detail=str(number)) for number in range(6)]
    assert [shown.text for shown in evidence(rows(*events))] == ["0", "1", "2", "3"]
    assert [shown.text for shown in evidence(rows(*events), 2)] == ["0", "1"]
    lazily = (row(event) for event in events)
    assert [shown.text for shown in evidence(lazily, 3)] == ["0", "1", "2"]
    assert evidence(rows(), 3) == []


def test_devices_come_in_the_order_in_which_they_appear() -> None:
    frame = rows(*(dma_map(device=name) for name in ("b", "a", "b", None)))  # type: ignore[arg-type]
    assert [(device, len(group)) for device, group in by_device(frame)] == [
        ("b", 2), ("a", 1), (None, 1),
    ]  # fmt: skip


def test_what_a_build_does_counts_more_than_its_release() -> None:
    hint = release_hint(Platform(kernel="7.2.12"), no_alias=True)
    assert "does not keep the convention of its release, Linux 7.2.12" in hint
    assert "dma_addr_unencrypted()" in hint
    old = release_hint(Platform(kernel="6.14.1"), no_alias=True)
    assert old == release_hint(Platform(kernel="6.14.1"))


@pytest.mark.parametrize(
    ("platform", "events", "expected"),
    [
        (REALM, [dma_map(POOL), dma_alloc(POOL)], True),
        (REALM, [dma_map(POOL), dma_alloc(POOL | S)], False),
        (REALM, [], False),
        (UNKNOWN_WIDTH, [dma_map(POOL)], False),
    ],
)
def test_a_build_that_gives_no_alias_is_seen(
    platform: Platform, events: list[Event], expected: bool
) -> None:
    assert gives_no_alias(Recording.of_events(platform, events)) == expected


@pytest.mark.parametrize(
    ("kernel", "says"),
    [
        (None, "use Linux 6.15, 6.14.2 or 6.13.11 or later in the guest (commit 7d953a062416)"),
        ("strange", "or later in the guest (commit 7d953a062416)"),
        ("6.14.1", "; this one is 6.14.1"),
        ("6.18.15", "Linux 6.18.15 sets the bit itself: look for a driver"),
    ],
)
def test_what_mends_a_guest_depends_on_its_kernel(kernel: str | None, says: str) -> None:
    hint = release_hint(Platform(kernel=kernel))
    assert says in hint
    assert ("sets the bit itself" in hint) == (kernel == "6.18.15")
    assert hint.endswith("(commit 7d953a062416)") == (kernel in (None, "strange"))
