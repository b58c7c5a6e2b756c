"""Which events do rules look at, and what do addresses mean?"""

from __future__ import annotations

import dataclasses

import polars as pl
import pytest

from rule_events import (
    BUFFER,
    DOORBELL,
    FAILED,
    INTERRUPTS,
    PAGE,
    POOL,
    REALM,
    UNKNOWN_WIDTH,
    S,
    dma_alloc,
    dma_map,
    iommu_map,
    iommu_unmap,
)
from topbit.events import Event
from topbit.recording import DeviceFacts, Platform, Recording
from topbit.replay.columns import (
    NEEDED,
    as_read,
    at_doorbell,
    beyond_ipa_space,
    canonical,
    canonical_of,
    devices_where,
    exempt_devices,
    given,
    has_attr,
    in_ranges,
    input_address,
    is_beyond_ipa_space,
    lies_in,
    shared_mappings,
    succeeded,
    usable,
    with_c_bit,
)

# Two regions with a gap between them on both sides.
RANGES = dataclasses.replace(
    REALM, dma_ranges=[(0x4000_0000, 0, 0x1000), (0x5000_0000, 0x2000, 0x2000)]
)


@pytest.mark.parametrize(
    ("address", "ipa"),
    [
        (0, 0x4000_0000),
        (0xFFF, 0x4000_0FFF),
        (0x1000, 0x1000),
        (0x1FFF, 0x1FFF),
        (0x2000, 0x5000_0000),
        (0x3FFF, 0x5000_1FFF),
        (0x4000, 0x4000),
        (1 << 50 | 0x2000, 1 << 50 | 0x2000),
    ],
)
def test_an_address_means_the_page_that_the_bus_leads_to(address: int, ipa: int) -> None:
    for bit in (0, S):
        assert canonical_of(RANGES, address | bit) == ipa
        assert input_address(RANGES, address | bit) == ipa | bit
        frame = pl.DataFrame({"address": [address | bit]}, schema={"address": pl.UInt64})
        assert frame.select(canonical(RANGES)).item() == ipa


@pytest.mark.parametrize(("c_bit", "carrying"), [(51, [True, False]), (None, [False, False])])
def test_an_address_carries_the_c_bit_or_not(c_bit: int | None, carrying: list[bool]) -> None:
    platform = Platform(scheme="amd-sev", realm=False, c_bit=c_bit)
    rows = pl.DataFrame({"address": [1 << 51 | 0x1000, 1 << 50]}, schema={"address": pl.UInt64})
    assert rows.select(with_c_bit(platform)).to_series().to_list() == carrying


def test_without_a_known_width_no_bit_is_cleared() -> None:
    assert canonical_of(UNKNOWN_WIDTH, POOL | S) == input_address(UNKNOWN_WIDTH, POOL | S)
    assert canonical_of(UNKNOWN_WIDTH, POOL | S) == POOL | S


@pytest.mark.parametrize(
    ("address", "there"),
    [
        (DOORBELL, True),
        (DOORBELL & ~0xFFF, True),
        (DOORBELL | 0xFFF, True),
        ((DOORBELL | 0xFFF) + 1, False),
        ((DOORBELL & ~0xFFF) - 1, False),
        (None, False),
    ],
)
def test_a_doorbell_is_a_page(address: int | None, there: bool) -> None:
    assert at_doorbell(INTERRUPTS, address) is there
    assert not at_doorbell(REALM, address)


@pytest.mark.parametrize(
    ("address", "inside"),
    [(9, False), (10, True), (14, True), (15, False), (20, True), (21, False)],
)
def test_an_address_lies_in_a_range_or_not(address: int, inside: bool) -> None:
    ranges = [(10, 5), (20, 1)]
    assert lies_in(address, ranges) is inside
    frame = pl.DataFrame({"a": [address]})
    assert frame.select(in_ranges(pl.col("a"), ranges)).item() is inside
    assert frame.select(in_ranges(pl.col("a"), [])).item() is False


def test_devices_are_found_by_all_their_facts() -> None:
    assert devices_where(REALM, trusted=True) == ["tdisp"]
    assert devices_where(REALM, trusted=False, emulated=False) == ["disk", "narrow"]
    assert devices_where(REALM, sid=0x20, trusted=False) == []


@pytest.mark.parametrize(
    ("event", "counts"),
    [
        (dma_map(), True),
        (dma_alloc(), True),
        (dma_map(status="ok"), True),
        (dma_map(device="unheard of"), True),
        (dma_map(device=None), True),
        (dma_map(FAILED), False),
        (dma_map(status="error"), False),
        (dma_map(attrs="WEAK_ORDERING|MMIO"), False),
        (dma_map(attrs="WEAK_ORDERING"), True),
        (dma_map(device="tdisp"), False),
        (dma_map(device="guarded"), False),
        (dataclasses.replace(dma_map(), address=None), False),
        (Event("guest", "dma_unmap", device="disk", address=POOL | S), False),
    ],
)
def test_which_mappings_are_of_shared_memory(event: Event, counts: bool) -> None:
    guarded = {"guarded": DeviceFacts(behind_iommu=True)}
    platform = dataclasses.replace(REALM, devices=REALM.devices | guarded)
    rows = shared_mappings(Recording.of_events(platform, [event]))
    assert len(rows) == int(counts)
    assert set(exempt_devices(platform)) == {"tdisp", "guarded"}


def test_kinds_of_mappings_and_a_condition_may_be_chosen() -> None:
    recording = Recording.of_events(REALM, [dma_map(), dma_alloc(), dma_map(attrs="MMIO")])
    assert shared_mappings(recording, "dma_alloc")["event"].to_list() == ["dma_alloc"]
    streaming = pl.col("event") == "dma_map"
    assert shared_mappings(recording, where=streaming)["event"].to_list() == ["dma_map"]


@pytest.mark.parametrize(
    ("attrs", "found"), [("A|B", True), ("B", True), ("AB", False), (None, False), ("", False)]
)
def test_an_attribute_is_a_whole_word(attrs: str | None, found: bool) -> None:
    frame = pl.DataFrame({"attrs": [attrs]}, schema={"attrs": pl.String})
    assert frame.select(has_attr("B")).item() is found


@pytest.mark.parametrize(
    ("address", "status", "good"),
    [(BUFFER, None, True), (BUFFER, "ok", True), (BUFFER, "error", False), (FAILED, None, False)],
)
def test_a_mapping_succeeded_or_not(address: int, status: str | None, good: bool) -> None:
    frame = pl.DataFrame(
        {"address": [address], "status": [status]},
        schema={"address": pl.UInt64, "status": pl.String},
    )
    assert frame.select(succeeded).item() is good
    assert frame.select(given).item() is good


def test_an_event_without_address_gave_none() -> None:
    frame = pl.DataFrame(
        {"address": [None], "status": ["ok"]}, schema={"address": pl.UInt64, "status": pl.String}
    )
    assert not frame.select(given).item()


@pytest.mark.parametrize(
    ("platform", "address", "beyond"),
    [
        (REALM, (1 << 41) - 1, False),
        (REALM, 1 << 41, True),
        (REALM, 1 << 63, True),
        (UNKNOWN_WIDTH, FAILED, False),
        (dataclasses.replace(REALM, ipa_bits=64), FAILED, False),
    ],
)
def test_an_address_is_beyond_the_ipa_space_or_not(
    platform: Platform, address: int, beyond: bool
) -> None:
    frame = pl.DataFrame({"address": [address]}, schema={"address": pl.UInt64})
    assert frame.select(beyond_ipa_space(platform)).item() is beyond
    assert is_beyond_ipa_space(platform, address) is beyond


@pytest.mark.parametrize("kind", [*NEEDED, "dma_map", "payload"])
def test_events_without_what_their_kind_needs_are_left_out(kind: str) -> None:
    agent = "vmm" if kind.startswith("iommu") else "guest"
    whole = Event(agent, kind, address=1, phys=PAGE, pa=PAGE)
    for column in ("address", "phys"):
        lacking = dataclasses.replace(whole, **{column: None})
        used = usable(Recording.of_events(REALM, [lacking, whole]))
        numbers = [1] if column in NEEDED.get(kind, ()) else [0, 1]
        assert used.scan(kind).collect()["number"].to_list() == numbers
        assert used.told == len(numbers)


def test_a_recording_of_which_everything_is_usable_is_not_copied() -> None:
    recording = Recording.of_events(REALM, [dma_map(), Event("vmm", "convert", phys=1)])
    assert usable(recording) is recording


@pytest.mark.parametrize(
    ("event", "kept"),
    [
        (dma_map(), True),
        (dataclasses.replace(dma_map(), agent="host"), False),  # a device of the host's own
        (Event("host", "swiotlb_full", "disk"), False),
        (Event("guest", "swiotlb_full", "disk"), True),
        (Event("host", "trouble", "disk"), True),
        (iommu_map(POOL, PAGE), True),
        (dataclasses.replace(iommu_map(POOL, PAGE), agent="guest"), False),
        (dataclasses.replace(iommu_unmap(POOL), agent="host"), False),
        (iommu_unmap(POOL), True),
    ],
)
def test_what_concerns_others_is_left_out(event: Event, kept: bool) -> None:
    events = [Event("guest", "step"), event, Event("guest", "step")]
    recording = Recording.of_events(REALM, events)
    left = usable(recording)
    assert left.of_kind("step", event.event)["event"].to_list() == [
        "step",
        *[event.event] * kept,
        "step",
    ]
    assert (left.told, left.has(event.event)) == (2 + kept, kept)
    assert as_read(left) is recording
