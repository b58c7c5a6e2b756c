"""How much of what does a recording hold?"""

from __future__ import annotations

import dataclasses

import pytest

from topbit.events import Event
from topbit.recording import Platform, Recording
from topbit.report.summary import Summary, summarise

S, FAILED = 1 << 40, (1 << 64) - 1
POOL, BUFFER = 0x7000_0000, 0x4100_0000
REALM = Platform(realm=True, ipa_bits=41, pools=[(POOL, 1 << 20)])


def summary(*events: Event, platform: Platform = REALM) -> Summary:
    return summarise(Recording.of_events(platform, events))


def dma(
    kind: str, address: int | None, phys: int | None = BUFFER, status: str | None = None
) -> Event:
    return Event("guest", kind, "disk", address=address, phys=phys, status=status)


def test_nothing_is_nothing() -> None:
    assert summary() == Summary(0, 0, 0, 0, 0, 0, 0, 0, 0, ())
    assert summary(platform=Platform()).with_shared_bit is None


@pytest.mark.parametrize(
    ("event", "counted"),
    [
        (dma("dma_map", POOL | S), 1),
        (dma("dma_alloc", POOL | S), 1),
        (dma("dma_unmap", POOL | S), 1),
        (dma("dma_free", POOL | S), 1),
        (dma("dma_sync", POOL | S), 1),
        (dma("dma_free", 0), 0),
        (dma("dma_map", FAILED), 0),
        (dma("dma_map", POOL | S, status="error"), 0),
        (dma("access", POOL | S), 0),
    ],
)
def test_which_dma_addresses_count(event: Event, counted: int) -> None:
    made = summary(event)
    assert (made.events, made.dma_addresses, made.with_shared_bit) == (1, counted, counted)


def test_addresses_without_the_bit_are_told_apart() -> None:
    made = summary(dma("dma_map", POOL), dma("dma_map", POOL | S), dma("dma_map", BUFFER))
    assert (made.dma_addresses, made.with_shared_bit) == (3, 1)


@pytest.mark.parametrize(
    ("address", "phys", "bounced"),
    [
        (POOL | S, BUFFER, 1),
        (BUFFER | S, BUFFER, 0),
        (POOL | S, POOL, 1),  # the buffer is in the pool itself
        (BUFFER + 1 | S, BUFFER, 1),
    ],
)
def test_which_maps_bounced(address: int, phys: int, bounced: int) -> None:
    made = summary(dma("dma_map", address, phys), dma("dma_alloc", POOL | S))
    assert (made.streaming_maps, made.bounced) == (1, bounced)


@pytest.mark.parametrize(("others", "bounced"), [((), 0), ((dma("swiotlb_bounced", None),), 2)])
@pytest.mark.parametrize("facts", [{"realm": None}, {"realm": False, "scheme": "none"}])
def test_what_is_no_guest_of_shared_memory_bounces_only_as_its_trace_says(
    facts: dict[str, object], others: tuple[Event, ...], bounced: int
) -> None:
    platform = dataclasses.replace(REALM, ipa_bits=None, **facts)  # type: ignore[arg-type]
    maps = [dma("dma_map", 0xFFFF_F000_0000 + n * 0x1000, BUFFER) for n in (1, 2)]
    made = summary(*maps, *others, platform=platform)
    assert (made.streaming_maps, made.bounced) == (2, bounced)


def test_dma_ranges_are_undone_before_a_bounce_is_judged() -> None:
    platform = dataclasses.replace(REALM, dma_ranges=[(0x4000_0000, 0, 1 << 30)])
    made = summary(dma("dma_map", (BUFFER - 0x4000_0000) | S), platform=platform)
    assert (made.streaming_maps, made.bounced) == (1, 0)


def test_maps_that_failed_are_told_apart() -> None:
    made = summary(dma("dma_map", FAILED), dma("dma_map", None), dma("dma_alloc", FAILED))
    assert (made.streaming_maps, made.failed_maps) == (0, 1)


def test_accesses_and_smmu_events() -> None:
    ok = Event("device", "access", "disk", address=1, status="ok")
    gpf = dataclasses.replace(ok, status="GPF")
    fault = Event("smmu", "smmu_event", sid=1, status="F_TRANSLATION")
    made = summary(ok, gpf, dataclasses.replace(ok, status="F_TRANSLATION"), fault)
    assert (made.accesses, made.refused, made.smmu_events) == (3, 2, 1)


def test_transfers_are_in_it() -> None:
    payload = Event("device", "payload", "disk", size=512, direction="r", status="ok")
    (transfer,) = summary(payload).transfers
    assert (transfer.device, transfer.size, transfer.right) == ("disk", 512, 1)


def test_events_are_counted_by_kind() -> None:
    """Those too that no rule could use."""
    made = summary(dma("access", None), dma("dma_map", POOL | S), dma("access", POOL))
    assert (made.kinds, made.accesses) == ({"access": 2, "dma_map": 1}, 1)
