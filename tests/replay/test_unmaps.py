"""What does each unmap end, and does it fit that?"""

from __future__ import annotations

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rule_events import PAGE, POOL, REALM, S, dma_map, dma_unmap
from topbit.events import Event
from topbit.recording import Recording
from topbit.replay import given_addresses
from topbit.replay import loops as loops_module
from topbit.replay import unmaps as module
from topbit.replay.given_addresses import GivenAddresses
from topbit.replay.unmap_terms import FITS, LONE, TWICE, WRONG_SIZE, WRONG_WAY
from topbit.replay.unmaps import unmaps

ALIAS, NEXT = POOL | S, (POOL | S) + PAGE
Misfit = tuple[int, str | None, int, int]


def told(*events: Event) -> tuple[dict[tuple[str | None, int], int], list[Misfit]]:
    recording = Recording.of_events(REALM, events)
    addresses = GivenAddresses(recording, "dma_map", "dma_unmap")
    counts, misfits = unmaps(recording, addresses, recording.rows([]))
    assert misfits.columns == ["number", "device", "does", "mapping"]
    columns = counts.select("device", "does", "len").rows()
    return {(device, does): count for device, does, count in columns}, misfits.rows()


@pytest.mark.usefixtures("loops")
@pytest.mark.parametrize(
    ("events", "counts", "misfits"),
    [
        ([dma_map(), dma_unmap()], {}, []),  # nothing odd, nothing to look at
        ([dma_map(size=128), dma_unmap()], {("disk", WRONG_SIZE): 1},
         [(1, "disk", WRONG_SIZE, 0)]),
        ([dma_map(direction="TO_DEVICE", size=1), dma_unmap()],
         {("disk", WRONG_SIZE | WRONG_WAY): 1}, [(1, "disk", WRONG_SIZE | WRONG_WAY, 0)]),
        ([dma_map(), dma_unmap(), dma_unmap()], {("disk", FITS): 1, ("disk", TWICE): 1},
         [(2, "disk", TWICE, 1)]),
        ([dma_unmap(), dma_map(), dma_unmap()], {("disk", LONE): 1, ("disk", FITS): 1}, []),
        ([dma_map(device="nic"), dma_unmap()], {("disk", LONE): 1}, []),
        ([dma_map(size=None), dma_unmap()], {("disk", FITS): 1}, []),
        ([dma_map(direction=None), dma_unmap()], {("disk", FITS): 1}, []),
        ([dma_map(), dma_unmap(size=None)], {("disk", FITS): 1}, []),
        ([dma_map(), dma_unmap(direction=None)], {("disk", FITS): 1}, []),
        ([dma_map(NEXT, size=1), dma_map(size=1), dma_unmap(), dma_unmap(NEXT)],
         {("disk", WRONG_SIZE): 2}, [(2, "disk", WRONG_SIZE, 1), (3, "disk", WRONG_SIZE, 0)]),
    ],
)  # fmt: skip
def test_an_unmap_ends_what_stands_before_it(
    events: list[Event], counts: dict[tuple[str, int], int], misfits: list[Misfit]
) -> None:
    if not any(event.device == "nic" for event in events) and counts:
        assert told(*events) == (counts, misfits)
    else:
        assert told(*events)[1] == misfits


DEVICES = ("disk", "nic", None)


def expected(events: list[Event], odd: set[int]) -> tuple[dict[object, int], list[Misfit]]:
    """The same, event by event."""
    before: dict[object, tuple[int, Event]] = {}
    counts: dict[object, int] = {}
    misfits: list[Misfit] = []
    for number, event in enumerate(events):
        assert event.address is not None
        if event.address not in odd:
            continue
        key = event.device, event.address
        known = before.get(key)
        if event.event == "dma_unmap":
            does = LONE
            if known is not None and known[1].event == "dma_unmap":
                does = TWICE
            elif known is not None:
                does = (known[1].size != event.size) * WRONG_SIZE
                does += (known[1].direction != event.direction) * WRONG_WAY
            counts[event.device, does] = counts.get((event.device, does), 0) + 1
            if known is not None and does:
                misfits.append((number, event.device, does, known[0]))
        before[key] = number, event
    return counts, misfits


def odd_of(events: list[Event]) -> set[int]:
    sides: dict[int, tuple[list[object], list[object]]] = {}
    for event in events:
        assert event.address is not None
        side = sides.setdefault(event.address, ([], []))[event.event == "dma_unmap"]
        side.append((event.size, event.direction))
    return {
        address
        for address, (maps, ends) in sides.items()
        if ends and sorted(map(str, maps)) != sorted(map(str, ends))
    }


@pytest.mark.parametrize(
    ("sequences", "stretch", "by_numba"),
    [(0, 1 << 16, False), *((1 << 22, stretch, by) for stretch in (1, 4) for by in (False, True))],
)
@settings(deadline=None, max_examples=60)
@given(
    st.lists(
        st.builds(
            lambda unmap, address, device, size, way: (
                dma_unmap(address, device, size, way)
                if unmap
                else dma_map(address, device, size=size, direction=way)
            ),
            st.booleans(),
            st.sampled_from([ALIAS, NEXT, ALIAS + 0x800]),
            st.sampled_from(DEVICES),
            st.sampled_from([64, 100]),
            st.sampled_from(["TO_DEVICE", "FROM_DEVICE"]),
        ),
        max_size=24,
    )
)
def test_a_table_and_a_sorted_list_say_the_same(
    sequences: int, stretch: int, by_numba: bool, events: list[Event]
) -> None:
    if by_numba:
        pytest.importorskip("numba")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "MOST_SEQUENCES", sequences)
        patch.setattr(given_addresses, "STRETCH", stretch)
        patch.setattr(loops_module, "MANY", 0 if by_numba else 1 << 60)
        assert told(*events) == expected(events, odd_of(events))


def test_words_may_be_numbers_to_the_machine() -> None:
    events = [dma_map(size=1), dma_map(NEXT, "nic", size=2), dma_unmap(NEXT, "nic"), dma_unmap()]
    recording = Recording.of_events(REALM, events)
    frame = recording.frame.with_columns(
        pl.col("device").cast(pl.Enum(["disk", "nic"])),
        pl.col("direction").cast(pl.Enum(["FROM_DEVICE"])),
    )
    recording = Recording(REALM, frame)
    addresses = GivenAddresses(recording, "dma_map", "dma_unmap")
    _, misfits = unmaps(recording, addresses, recording.rows([]))
    assert misfits.rows() == [(2, "nic", WRONG_SIZE, 1), (3, "disk", WRONG_SIZE, 0)]
