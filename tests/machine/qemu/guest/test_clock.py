"""Host and guest on one clock."""

import pytest

from topbit.arch.ipa import IpaSpace
from topbit.events import Event
from topbit.machine.qemu.guest.clock import interleave, lateness, merge

SPACE = IpaSpace(41)


def convert(time: float, page: int, status: str = "shared", size: int = 4096) -> Event:
    return Event("vmm", "convert", phys=page, size=size, status=status, time=time)


def alloc(time: float, page: int, size: int = 512) -> Event:
    return Event("guest", "dma_alloc", address=SPACE.unprotected(page), size=size, time=time)


def test_the_closest_pair_tells_how_late_the_host_is() -> None:
    host = [convert(1.1, 0x1000), convert(2.095, 0x2000), convert(3.1, 0x3000)]
    guest = [alloc(1.02, 0x1000), alloc(2.0, 0x2000), alloc(3.01, 0x3000)]
    assert lateness(host, guest, SPACE) == pytest.approx(0.095, abs=1e-5)


def test_a_host_that_is_early_comes_closer() -> None:
    assert lateness([convert(1.0, 0x1000)], [alloc(1.2, 0x1000)], SPACE) == pytest.approx(
        -0.2, abs=1e-5
    )


def test_a_page_that_is_shared_again_is_matched_in_turn() -> None:
    host = [convert(1.1, 0x1000), convert(1.105, 0x1000, "private"), convert(1.11, 0x1000)]
    guest = [alloc(1.0, 0x1000), alloc(1.01, 0x1000)]
    assert lateness(host, guest, SPACE) == pytest.approx(0.1, abs=1e-5)


def test_where_events_are_lost_the_last_ones_are_matched() -> None:
    host = [convert(1.1, 0x1000), convert(1.105, 0x1000, "private"), convert(1.31, 0x1000)]
    guest = [alloc(1.21, 0x1000)]  # the one at 1.0 is lost
    assert lateness(host, guest, SPACE) == 0.0
    assert lateness(host, guest, SPACE, lost=True) == pytest.approx(0.1, abs=1e-5)
    (shared, *_, used) = merge(host, guest, SPACE, lost=True)
    assert (shared.time, used.event) == (pytest.approx(1.0, abs=1e-5), "dma_alloc")


def test_memory_of_a_pool_tells_nothing() -> None:
    host = [convert(0.1, 0x10000, size=0x4000)]
    guest = [alloc(5.0, 0x10000), alloc(5.1, 0x10000)]
    assert lateness(host, guest, SPACE) == 0.0
    assert lateness([], [], SPACE) == 0.0


def test_merged_events_are_in_order_and_the_first_use_follows_the_sharing() -> None:
    host = [convert(1.1, 0x1000), convert(2.1, 0x2000)]
    guest = [alloc(1.0, 0x1000), alloc(2.0, 0x2000)]
    merged = merge(host, guest, SPACE)
    assert [event.event for event in merged] == ["convert", "dma_alloc"] * 2
    times = [event.time or 0 for event in merged]
    assert times == sorted(times)


def test_an_event_without_time_stays_where_it_stands() -> None:
    host = [convert(1.0, 0x1000), Event("rmm", "state"), convert(3.0, 0x9000)]
    merged = merge(host, [Event("guest", "log", time=2.0)], SPACE)
    assert [event.event for event in merged] == ["convert", "state", "log", "convert"]


def test_sources_that_share_a_clock_are_put_in_order() -> None:
    steps = [Event("guest", "step", time=1.0), Event("guest", "step", time=None)]
    others = [convert(0.5, 0x1000), convert(1.0, 0x2000), convert(2.0, 0x3000)]
    told = [(event.event, event.time) for event in interleave(others, steps)]
    # At one time in the order of the sources; without a time behind its own.
    assert told == [
        ("convert", 0.5), ("convert", 1.0), ("step", 1.0), ("step", None), ("convert", 2.0),
    ]  # fmt: skip
    assert interleave() == []
