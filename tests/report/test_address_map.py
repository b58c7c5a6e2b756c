"""What lies where, in both halves, and what of it is enlarged."""

from __future__ import annotations

import dataclasses

import pytest

from map_events import EVERY, GIVEN, LET, PLATFORM, POOL, RAM, REFUSED, SERVED, SHARED, TABLE, S
from topbit.events import Event
from topbit.recording import Platform, Recording
from topbit.report.address_map import (
    ALL_STREAMS,
    PROTECTED,
    UNPROTECTED,
    AddressMap,
    address_map,
    why_one_half,
)  # fmt: skip
from topbit.rules.finding import Finding
from topbit.rules.wording import evidence_of


def made(*events: Event, platform: Platform = PLATFORM, most: int = 6) -> AddressMap:
    return address_map(Recording.of_events(platform, events), [], most)


@pytest.mark.parametrize(
    ("event", "device", "half", "counts"),
    [
        (GIVEN, "nvme0", UNPROTECTED, (0, 1, 0, 0)),
        (dataclasses.replace(GIVEN, address=RAM), "nvme0", PROTECTED, (0, 1, 0, 0)),
        (dataclasses.replace(GIVEN, event="dma_alloc"), "nvme0", UNPROTECTED, (0, 1, 0, 0)),
        (REFUSED, "nvme0", UNPROTECTED, (0, 0, 0, 1)),
        (dataclasses.replace(REFUSED, sid=9), "StreamID 0x9", UNPROTECTED, (0, 0, 0, 1)),
        (LET, "nvme0", UNPROTECTED, (0, 0, 1, 0)),
        (dataclasses.replace(LET, status="GPF"), "nvme0", UNPROTECTED, (0, 0, 0, 1)),
        (SERVED, "virtio0", UNPROTECTED, (0, 0, 1, 0)),
        (TABLE, "nvme0", PROTECTED, (0x2000, 0, 0, 0)),
        (EVERY, ALL_STREAMS, PROTECTED, (0x2000, 0, 0, 0)),
        (
            Event("host", "trouble", device="nvme0", status="dmar", address=RAM),
            "nvme0", PROTECTED, (0, 0, 0, 1),
        ),
    ],
)  # fmt: skip
def test_whose_and_in_which_half(
    event: Event, device: str, half: str, counts: tuple[int, ...]
) -> None:
    (only,) = made(event).devices
    assert only.name == device
    told = {h: (x.mapped.size, len(x.given), len(x.reached), len(x.refused))
            for h, x in only.halves.items()}  # fmt: skip
    assert told.pop(half) == counts
    assert list(told.values()) == [(0, 0, 0, 0)]


@pytest.mark.parametrize(
    "event",
    [
        dataclasses.replace(GIVEN, status="error"),
        dataclasses.replace(GIVEN, address=(1 << 64) - 1),
        dataclasses.replace(TABLE, status="error"),
        Event("guest", "dma_unmap", device="nvme0", address=S | POOL),
        Event("host", "trouble", device="nvme0", status="timeout", address=RAM),
    ],
)
def test_what_was_not_given_mapped_or_used_is_on_no_map(event: Event) -> None:
    assert made(event).devices == ()


def test_devices_with_refused_accesses_are_told_first() -> None:
    devices = made(SERVED, SERVED, GIVEN, REFUSED).devices
    assert [(each.name, each.refused, each.uses) for each in devices] == [
        ("nvme0", 1, 2), ("virtio0", 0, 2),
    ]  # fmt: skip
    assert devices[0].stream == 8


@pytest.mark.parametrize(
    ("facts", "why"),
    [
        ({}, "which bit is the shared bit is not known (--ipa-bits N tells it)"),
        ({"realm": True}, "which bit is the shared bit is not known (--ipa-bits N tells it)"),
        ({"realm": False}, "only a Realm's address space has two"),
        ({"scheme": "amd-sev"}, "only a Realm's address space has two"),
    ],
)
def test_why_there_is_one_half(facts: dict[str, object], why: str) -> None:
    platform = dataclasses.replace(Platform(), **facts)  # type: ignore[arg-type]
    assert why_one_half(platform) == why


def test_shared_pages_and_pools() -> None:
    whole = made(SHARED, dataclasses.replace(SHARED, phys=0, status="private"))
    assert (whole.shared.starts.tolist(), whole.shared.size) == ([POOL], 0x3000)
    assert (whole.ram.size, whole.pools.size) == (1 << 30, 64 << 20)


def test_addresses_beyond_the_space_are_counted_and_on_no_map() -> None:
    whole = made(dataclasses.replace(REFUSED, address=1 << 41))
    assert (whole.beyond, whole.devices) == (1, ())


def test_dma_ranges_are_undone() -> None:
    platform = dataclasses.replace(PLATFORM, dma_ranges=[(RAM, 0, 1 << 30)])
    (device,) = made(dataclasses.replace(GIVEN, address=S | 0x3000), platform=platform).devices
    assert device.halves[UNPROTECTED].given.tolist() == [RAM + 0x3000]


def test_without_a_width_nothing_has_the_shared_bit() -> None:
    whole = made(REFUSED, platform=Platform())
    assert whole.space is None
    assert len(whole.devices[0].halves[PROTECTED].refused) == 1


def test_a_finding_is_marked_at_its_first_address() -> None:
    recording = Recording.of_events(PLATFORM, [SHARED, REFUSED])
    rows = [evidence_of(recording.row(number)) for number in (1, 0)]
    findings = [
        Finding("F1", "violation", "vmm", "x"),
        Finding("F1", "violation", "vmm", "x", evidence=rows),
        Finding("V2", "violation", "vmm", "x", evidence=rows[1:]),
    ]
    markers = address_map(recording, findings, 6).markers
    assert [(m.number, m.address, m.half) for m in markers] == [
        (2, RAM + 0x5000, UNPROTECTED), (3, POOL, PROTECTED),
    ]  # fmt: skip


def test_an_empty_recording_has_no_windows() -> None:
    whole = made(platform=Platform())
    assert (whole.windows, whole.devices, whole.markers) == ((), (), ())
