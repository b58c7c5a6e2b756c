"""Of which addresses do the maps and unmaps not add up?"""

from __future__ import annotations

import polars as pl
import pytest

from rule_events import FAILED, PAGE, POOL, REALM, S, dma_map, dma_sync, dma_unmap
from topbit.events import Event
from topbit.recording import Recording
from topbit.replay import given_addresses as module
from topbit.replay.given_addresses import GivenAddresses
from topbit.replay.odd_addresses import odd_addresses, odd_places
from topbit.replay.word_codes import WordCodes

ALIAS, NEXT = POOL | S, (POOL | S) + PAGE


@pytest.mark.usefixtures("loops")
@pytest.mark.parametrize("stretch", [1, 3, 1 << 16])
@pytest.mark.parametrize(
    ("events", "live", "odd"),
    [
        ([dma_map(), dma_unmap()], [], []),
        ([dma_map(size=128), dma_unmap()], [], [ALIAS]),
        ([dma_map(direction="TO_DEVICE"), dma_unmap()], [], [ALIAS]),
        ([dma_map(), dma_unmap(), dma_unmap()], [], [ALIAS]),
        ([dma_unmap(), dma_map(NEXT), dma_unmap(NEXT)], [], [ALIAS]),
        # Two that cancel each other out in all, and not one by one.
        (
            [dma_map(size=128), dma_map(NEXT), dma_unmap(), dma_unmap(NEXT, size=128)],
            [],
            [ALIAS, NEXT],
        ),
        (
            [
                *(dma_map(size=128, direction="TO_DEVICE"), dma_unmap(size=128)),
                *(dma_map(), dma_unmap(direction="TO_DEVICE")),
            ],
            [],
            [ALIAS],
        ),
        ([dma_map(), dma_unmap(), dma_map()], [2], []),
        ([dma_map(), dma_unmap(), dma_map(size=128)], [2], []),
        ([dma_map(), dma_unmap(), dma_map()], [], [ALIAS]),
        # Without an unmap there is nothing that may not fit.
        ([dma_map(), dma_map(), dma_map(NEXT), dma_unmap(NEXT)], [], []),
        ([dma_map(), dma_map(status="error"), dma_map(FAILED), dma_sync(), dma_unmap()], [], []),
        ([dma_map(size=None), dma_unmap(size=0)], [], []),
        ([dma_map(direction=None), dma_unmap()], [], [ALIAS]),
    ],
)
def test_maps_and_unmaps_add_up_or_not(
    events: list[Event],
    live: list[int],
    odd: list[int],
    stretch: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "STRETCH", stretch)
    recording = Recording.of_events(REALM, events)
    words = pl.col("direction").cast(pl.Enum(["FROM_DEVICE", "TO_DEVICE"]))
    for frame in (recording.frame, recording.frame.with_columns(words)):
        recording = Recording(REALM, frame)
        addresses = GivenAddresses(recording, "dma_map", "dma_unmap", "dma_sync")
        assert addresses.places is not None
        ways = WordCodes.of(recording.frame["direction"])
        found = odd_places(recording, addresses, addresses.places, ways, recording.rows(live))
        assert addresses.places.address(found.nonzero()[0]).tolist() == odd
        assert odd_addresses(recording, recording.rows(live)).sort().to_list() == odd
