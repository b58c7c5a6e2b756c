"""Which parts of the address space are enlarged?"""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from map_events import EVERY, GIVEN, PLATFORM, POOL, RAM, REFUSED
from topbit.events import Event
from topbit.recording import Platform, Recording
from topbit.report.address_map import AddressMap, address_map
from topbit.report.map_windows import Seen, ranges, windows


def made(*events: Event, platform: Platform = PLATFORM, most: int = 6) -> AddressMap:
    return address_map(Recording.of_events(platform, events), [], most)


def test_the_enlarged_places() -> None:
    windows = made(GIVEN, REFUSED, EVERY).windows
    assert [(w.title, w.start, w.end, w.inside) for w in windows] == [
        ("RAM", RAM, 0x8000_0000, None),
        ("MSI doorbell", 0x809_0000, 0x80A_0000, None),
        ("swiotlb pool", POOL, POOL + (64 << 20), 0),
        ("refused accesses", RAM, RAM + 0x1_0000, 0),
    ]
    assert [w.title for w in made(GIVEN, REFUSED, EVERY, most=1).windows] == ["RAM"]


@pytest.mark.parametrize(
    ("facts", "title"),
    [
        ({"ram": [(0, 4096)]}, "outside RAM"),
        ({"ram": []}, "addresses used"),
        ({"ram": [], "pools": [(POOL, 1 << 20)]}, "swiotlb pool"),
        ({"ram": [], "msi_doorbells": [POOL]}, "MSI doorbell"),
    ],
)
def test_what_an_enlarged_place_without_ram_is(facts: dict[str, object], title: str) -> None:
    nothing = Platform(realm=True, ipa_bits=41)
    platform = dataclasses.replace(nothing, **facts)  # type: ignore[arg-type]
    assert title in [w.title for w in made(GIVEN, platform=platform).windows]


def test_a_pool_that_fills_its_window_is_not_enlarged() -> None:
    platform = dataclasses.replace(PLATFORM, pools=[(RAM, 1 << 29)])
    assert [w.title for w in made(GIVEN, platform=platform).windows] == ["RAM"]


def points(*addresses: int) -> np.ndarray[tuple[int], np.dtype[np.uint64]]:
    return np.array(addresses, dtype=np.uint64)


@pytest.mark.parametrize(("refused", "found", "title"), [((RAM,), (), "refused accesses"),
                                                         ((), (RAM,), "findings")])  # fmt: skip
def test_a_place_with_trouble_is_enlarged(
    refused: tuple[int, ...], found: tuple[int, ...], title: str
) -> None:
    seen = Seen([], points(), points(*refused), points(*found))
    names = [window.title for window in windows(PLATFORM, seen, 6)]
    assert names == ["RAM", "swiotlb pool", title]


def test_ranges_are_joined() -> None:
    assert ranges([]).size == 0
    assert ranges([(0x1000, 0x1000), (0x2000, 0x1000)]).size == 0x2000
