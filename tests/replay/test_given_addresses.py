"""Which addresses were given to devices, and at which place of a table does each stand?"""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from rule_events import FAILED, POOL, REALM, S, dma_map, dma_sync, dma_unmap
from topbit.events import Event
from topbit.recording import Recording
from topbit.replay import given_addresses as module
from topbit.replay.given_addresses import GivenAddresses, Places

ALIAS = POOL | S
KINDS = ("dma_map", "dma_unmap")


def given(*events: Event, words: bool = False) -> GivenAddresses:
    recording = Recording.of_events(REALM, events)
    if words:
        status = recording.frame["status"]
        as_numbers = status.cast(pl.Enum(status.unique().drop_nulls().sort()))
        recording = Recording(REALM, recording.frame.with_columns(as_numbers))
    return GivenAddresses(recording, *KINDS)


@pytest.mark.parametrize(
    ("offsets", "places"),
    [
        ([0], Places(ALIAS, 0, 1)),
        ([0, 0x800], Places(ALIAS, 11, 2)),
        ([0x1000, 0, 0x5000], Places(ALIAS, 12, 6)),
        ([0x800, 0, 0x840], Places(ALIAS, 6, 34)),
        ([0, (1 << 22) - 1], Places(ALIAS, 0, 1 << 22)),
        ([0, 1 << 22, 1], None),
    ],
)
def test_a_table_has_a_place_for_each(offsets: list[int], places: Places | None) -> None:
    assert given(*(dma_map(ALIAS + at) for at in offsets)).places == places


def test_nothing_given_has_no_places() -> None:
    assert given().places is None
    assert given(dma_map(FAILED), dma_sync()).places is None


def test_an_address_has_the_place_that_gives_it_back() -> None:
    places = Places(ALIAS, 11, 8)
    addresses = np.array([ALIAS, ALIAS + 0x1000, ALIAS + 0x3800], np.uint64)
    assert places.of(addresses).tolist() == [0, 2, 7]
    assert places.address(places.of(addresses)).tolist() == addresses.tolist()


@pytest.mark.parametrize("words", [False, True])
@pytest.mark.parametrize("failure", ["error", "FORCE"])
def test_what_was_not_given_is_of_no_kind(
    words: bool, failure: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "STRETCH", 2)
    events = [
        *(dma_map(FAILED), dma_sync()),
        *(dma_sync(), dma_unmap(ALIAS + 0x800)),
        *(dma_map(ALIAS, status=failure), dma_map(ALIAS + 64)),
        Event("guest", "dma_map"),
    ]
    told = [
        (start, kinds.tolist(), addresses.tolist())
        for start, kinds, addresses in given(*events, words=words).stretches()
    ]
    other = ALIAS + 0x800
    failed = (2, other) if failure == "error" else (0, ALIAS)
    assert told == [
        (2, [2, 1], [other, other]),
        (4, [failed[0], 0], [failed[1], ALIAS + 64]),
        (6, [2], [other]),
    ]
