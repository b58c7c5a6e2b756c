"""Which bounces are followed by a map of another buffer?"""

from __future__ import annotations

import dataclasses

import pytest

from rule_events import BUFFER, FAILED, PAGE, REALM, bounced, dma_map, dma_sync
from topbit.events import Event
from topbit.recording import Platform, Recording
from topbit.replay import bounce_pairs as module
from topbit.replay.bounce_pairs import unlike_pairs

RANGES = dataclasses.replace(REALM, dma_ranges=[(0x4000_0000, 0, 1 << 30)])
OTHER = BUFFER + PAGE


@pytest.mark.parametrize("stretch", [1, 2, 1 << 16])
@pytest.mark.parametrize(
    ("platform", "events", "pairs"),
    [
        (REALM, [], []),
        (REALM, [bounced(), dma_map()], []),
        (REALM, [bounced(OTHER), dma_map()], [(0, 1)]),
        (REALM, [bounced(OTHER), dma_sync(), dma_sync(), dma_map()], [(0, 3)]),
        (REALM, [bounced(OTHER, size=1), dma_map()], []),
        (REALM, [bounced(OTHER), bounced(), dma_map()], []),
        (REALM, [dma_map(), bounced(OTHER)], []),
        (REALM, [dma_map(), dma_map(phys=OTHER)], []),
        (REALM, [bounced(OTHER), dma_map(), bounced(OTHER), dma_map()], [(0, 1), (2, 3)]),
        (REALM, [bounced(OTHER), dma_map(phys=None)], []),
        (REALM, [dataclasses.replace(bounced(), phys=None), dma_map()], []),
        (REALM, [dataclasses.replace(bounced(OTHER), size=None), dma_map(size=None)], []),
        # A bounce tells its buffer as the bus does, a map as the CPU does.
        (RANGES, [bounced(BUFFER - 0x4000_0000), dma_map()], []),
        (RANGES, [bounced(OTHER - 0x4000_0000), dma_map()], [(0, 1)]),
    ],
)
def test_the_map_after_a_bounce_is_of_its_buffer_or_not(
    platform: Platform,
    events: list[Event],
    pairs: list[tuple[int, int]],
    stretch: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "STRETCH", stretch)
    found = unlike_pairs(Recording.of_events(platform, events))
    assert found.columns == ["number", "next", "own"]
    assert found.select("number", "next").rows() == pairs


OF_ANOTHER = dataclasses.replace(dma_map(phys=OTHER), device="0000:00:09.0")
REFUSED = dma_map(FAILED, phys=OTHER)
MANY = [dma_map(phys=OTHER + at * PAGE) for at in range(1, 20)]


@pytest.mark.parametrize("stretch", [1, 3, 1 << 16])
@pytest.mark.parametrize(
    ("between", "own"),
    [
        ([dma_map(phys=OTHER)], True),
        ([dma_sync(), dma_map(phys=OTHER + PAGE), dma_map(phys=OTHER), bounced()], True),
        ([], False),
        ([bounced(OTHER)], False),
        ([dma_map(phys=OTHER, size=1)], False),
        ([OF_ANOTHER], False),
        ([REFUSED], False),
        ([*MANY, dma_map(phys=OTHER)], False),
    ],
)
def test_a_scatterlist_maps_what_it_bounced_soon(
    between: list[Event], own: bool, stretch: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "STRETCH", stretch)
    events = [bounced(), bounced(OTHER), dma_map(), *between]
    found = unlike_pairs(Recording.of_events(REALM, events))
    assert found.rows() == [(1, 2, own)]
