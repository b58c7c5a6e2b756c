"""By which event was each address used last, in a table and by groups?"""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rule_events import FAILED, POOL, REALM, S, dma_map, dma_sync, dma_unmap
from topbit.events import Event
from topbit.recording import Recording
from topbit.replay import given_addresses as module
from topbit.replay.given_addresses import GivenAddresses
from topbit.replay.last_events import last_events

KINDS = ("dma_map", "dma_unmap", "dma_sync")
MAKE = {"dma_map": dma_map, "dma_unmap": dma_unmap, "dma_sync": dma_sync}


def last(*events: Event) -> list[tuple[int, int | None, int | None, int | None]]:
    recording = Recording.of_events(REALM, events)
    frame = last_events(recording, GivenAddresses(recording, *KINDS))
    assert frame.columns == ["address", *KINDS]
    return frame.rows()


pytestmark = pytest.mark.usefixtures("loops")


def test_the_last_event_of_each_kind() -> None:
    events = [
        dma_map(POOL | S),
        dma_unmap(POOL | S),
        dma_map((POOL + 0x800) | S),
        dma_map(POOL | S),
    ]
    assert last(*events) == [(POOL | S, 3, 1, None), ((POOL + 0x800) | S, 2, None, None)]


def test_what_gave_no_address_is_left_out() -> None:
    assert last(dma_map(FAILED), dma_map(status="error"), dma_sync(POOL)) == [(POOL, None, None, 2)]
    assert last(dma_map(FAILED)) == []
    assert last() == []


@pytest.mark.parametrize(("places", "stretch"), [(0, 1), (1 << 22, 3), (1 << 22, 1 << 16)])
@settings(deadline=None, max_examples=60)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(KINDS),
            st.sampled_from(
                [POOL | S, (POOL + 64) | S, (POOL + 0x800) | S, S, POOL + (1 << 33), FAILED]
            ),
        ),
        max_size=20,
    )
)
def test_a_table_and_groups_say_the_same(
    places: int, stretch: int, steps: list[tuple[str, int]]
) -> None:
    expected: dict[int, dict[str, int]] = {}
    for number, (kind, address) in enumerate(steps):
        if address != FAILED:
            expected.setdefault(address, {})[kind] = number
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "MOST_PLACES", places)
        patch.setattr(module, "STRETCH", stretch)
        assert last(*(MAKE[kind](address) for kind, address in steps)) == [
            (address, *(expected[address].get(kind) for kind in KINDS))
            for address in sorted(expected)
        ]
