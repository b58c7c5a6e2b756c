"""What does a recording tell of one address?"""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

import topbit
from topbit.events import Event
from topbit.recording import Platform, Recording
from topbit.report.story import story_of

S = 1 << 40
PAGE = 0x7AC6_1000
REALM = Platform(
    realm=True, ipa_bits=41, ram=[(0x4000_0000, 1 << 30)], pools=[(0x7AC0_0000, 1 << 20)],
    msi_doorbells=[0x809_0040],
)  # fmt: skip


def event(kind: str, **columns: Any) -> Event:
    return dataclasses.replace(Event("guest", kind), **columns)


def told(address: int, *events: Event, platform: Platform = REALM) -> list[tuple[str, str, int]]:
    """Place, kind and count of each episode."""
    story = story_of(Recording.of_events(platform, events), address)
    return [(e.place, e.first["event"], e.count) for e in story.episodes]


@pytest.mark.parametrize(
    ("columns", "asked", "place"),
    [
        # An address is of its half, whichever half is asked about.
        ({"address": PAGE | S, "size": 16}, PAGE | S, "unprotected"),
        ({"address": PAGE | S, "size": 16}, PAGE, "unprotected"),
        ({"address": PAGE, "size": 16}, PAGE | S, "protected"),
        # A range holds it, from its first to its last byte.
        ({"address": PAGE - 8 | S, "size": 16}, PAGE, "unprotected"),
        ({"address": PAGE | S, "size": 16}, PAGE + 15, "unprotected"),
        ({"address": PAGE | S, "size": 16}, PAGE + 16, None),
        ({"address": PAGE | S, "size": 16}, PAGE - 1, None),
        # Without a size it is the page.
        ({"address": PAGE + 8 | S}, PAGE + 0xFFF, "unprotected"),
        ({"address": PAGE + 8 | S, "size": 0}, PAGE, "unprotected"),
        ({"address": PAGE + 8 | S}, PAGE + 0x1000, None),
        # What names the page alone is of no half.
        ({"phys": PAGE, "size": 4096}, PAGE | S, "page"),
        ({"phys": PAGE | S, "size": 4096}, PAGE, "page"),
        ({"phys": PAGE, "address": 0x5000, "size": 4096}, PAGE, "page"),
        ({"phys": 0x5000, "address": PAGE, "size": 4096}, PAGE, "protected"),
        ({"phys": PAGE, "address": PAGE | S}, PAGE, "unprotected"),
        ({"pa": PAGE, "size": 4096}, PAGE, None),
        ({}, 0, None),
        ({"address": (1 << 64) - 1, "size": 64}, PAGE, None),
    ],
)
def test_which_events_are_of_an_address(
    columns: dict[str, int], asked: int, place: str | None
) -> None:
    for kind in ("smmu_event", "dma_map"):
        assert told(asked, event(kind, **columns)) == [(place, kind, 1)] * (place is not None)


def test_while_the_width_is_not_known_an_address_is_itself_alone() -> None:
    unknown = dataclasses.replace(REALM, ipa_bits=None)
    events = [event("iommu_map", address=address, size=64) for address in (PAGE, PAGE | S)]
    assert told(PAGE | S, *events, platform=unknown) == [("protected", "iommu_map", 1)]
    story = story_of(Recording.of_events(unknown, events), PAGE | S)
    assert story.halves == {"protected": PAGE | S}
    known = story_of(Recording.of_events(REALM, events), PAGE | S)
    assert known.halves == {"protected": PAGE, "unprotected": PAGE | S}


def test_what_the_bus_adds_to_the_guests_addresses_is_undone() -> None:
    moved = dataclasses.replace(REALM, dma_ranges=[(0x4000_0000, 0x8000_0000, 1 << 30)])
    there = (PAGE + 0x4000_0000) | S
    events = [event("dma_map", address=there, size=64), event("iommu_map", address=there, size=64)]
    assert told(there, *events, platform=moved) == [
        ("unprotected", "dma_map", 1), ("unprotected", "iommu_map", 1),
    ]  # fmt: skip


def test_the_same_again_is_one_episode() -> None:
    again = [event("access", address=PAGE | S, device="a", status="ok", time=n) for n in (1.0, 2.0)]
    other = [
        dataclasses.replace(again[0], **{name: value})  # type: ignore[arg-type]
        for name, value in (("device", "b"), ("status", "GPF"), ("direction", "w"), ("sid", 9),
                            ("agent", "vmm"), ("attrs", "shared"), ("event", "payload"))
    ]  # fmt: skip
    recording = Recording.of_events(REALM, [again[0], *other, again[1]])
    episodes = story_of(recording, PAGE).episodes
    assert [episode.count for episode in episodes] == [2, *[1] * len(other)]
    assert (episodes[0].first["time"], episodes[0].last["time"]) == (1.0, 2.0)


@pytest.mark.parametrize(
    ("address", "lies_in"),
    [
        (PAGE, ("guest RAM", "a swiotlb pool")),
        (0x5000_0000 | S, ("guest RAM",)),
        (0x809_0000, ("an interrupt's doorbell",)),
        (0x1000, ()),
        (0x8000_0000, ()),
    ],
)
def test_what_stands_there(address: int, lies_in: tuple[str, ...]) -> None:
    assert story_of(Recording.of_events(REALM, []), address).lies_in == lies_in


def test_findings_that_judge_it_are_told() -> None:
    recording = topbit.run("vmm-maps-protected")
    fault = recording.of_kind("access").row(0, named=True)
    assert "F1" in {f.rule for f in story_of(recording, fault["address"]).findings}
    assert story_of(recording, 0x4100_0000).findings == ()


def test_findings_in_logs_are_known_by_their_lines() -> None:
    plain = [
        event("dma_map", device="a", address=page, phys=0x4300_0000, size=64, source="log", line=n)
        for n, page in enumerate((PAGE, PAGE + 0x1000), 1)
    ]
    recording = Recording.of_events(REALM, [plain[0]])
    assert [f.rule for f in story_of(recording, PAGE).findings] == ["M1"]
    assert story_of(recording, PAGE + 0x1000).findings == ()
