"""Which mappings of a trusted device are confidential? One thing against it is enough."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rule_events import (
    BUFFER,
    HOST,
    LOG,
    PAGE,
    POOL,
    REALM,
    UNKNOWN_WIDTH,
    S,
    access,
    convert,
    dma_alloc,
    dma_map,
    dma_unmap,
    iommu_map,
    iommu_unmap,
    ripas,
    rtt,
    set_memory,
    vdev,
)
from topbit.events import Event
from topbit.recording import Platform, Recording
from topbit.rules.privacy import Privacy
from topbit.rules.private_dma import private_dma

RAM = [ripas(BUFFER, "RAM", 2 * PAGE), rtt("rtt_map", BUFFER, 2 * PAGE)]
ENABLED = vdev("STARTED", dma=True, detail="RSI_VDEV_DMA_ENABLE")
STOPPED = vdev("STARTED", detail="RMI_VDEV_UNLOCK")
READY = [*RAM, vdev("STARTED"), ENABLED]
MAP = dma_map(BUFFER, "tdisp")
UNMAP = dma_unmap(BUFFER, "tdisp")
UNMAP_SG = Event("guest", "dma_unmap_sg", "tdisp", phys=BUFFER)
TOLD = Event("rmm", "realm_config", address=S)
YES, NO, OPEN = Privacy.CONFIDENTIAL, Privacy.NOT, Privacy.INCONCLUSIVE


def reached(status: str = "ok", attrs: str = "private", **more: object) -> Event:
    return access(BUFFER, status, device="tdisp", sid=0x20, attrs=attrs, **more)


def answers(events: list[Event], platform: Platform = REALM) -> list[tuple[Privacy, str]]:
    found = private_dma(Recording.of_events(platform, events))
    return [(mapping.reason.answer, mapping.reason.why) for mapping in found]


def answer(events: list[Event], platform: Platform = REALM) -> tuple[Privacy, str]:
    (only,) = answers(events, platform)
    return only


@pytest.mark.parametrize(
    "events",
    [
        [*READY, MAP],
        [*READY, MAP, reached(), UNMAP],
        [*READY, dma_alloc(BUFFER, "tdisp")],
        [*READY, MAP, reached("F_TRANSLATION", attrs="s2")],
        [*READY, MAP, set_memory(BUFFER + PAGE, "shared"), convert(BUFFER + PAGE, "shared")],
        [set_memory(BUFFER, "shared"), set_memory(BUFFER, "private"), *READY, MAP],
        [*READY, iommu_map(S, HOST), iommu_unmap(S), MAP],
        [*READY, iommu_map(S, HOST + 2 * PAGE), MAP],
        [*READY, MAP, vdev("UNLOCKED", sid=0x21)],
        [rtt("rtt_map", BUFFER | S), rtt("rtt_unmap", BUFFER | S), *READY, MAP],
        [TOLD, *READY, MAP],
    ],
)
def test_nothing_speaks_against_it(events: list[Event]) -> None:
    assert answer(events) == (YES, "")


@pytest.mark.parametrize(
    ("events", "why"),
    [
        ([*READY, dma_map(BUFFER | S, "tdisp")], "its address has bit 40, the shared bit, set"),
        ([*READY, dma_map(1 << 41 | BUFFER, "tdisp")], "its address lies beyond the IPA space"),
        ([*READY, dma_map(BUFFER, "tdisp", phys=BUFFER + PAGE)], "bounced"),
        ([*READY, dma_alloc(POOL, "tdisp")], "bounced"),
        ([*RAM, MAP, vdev("STARTED"), ENABLED], "DMA was not enabled"),
        ([*RAM, vdev("LOCKED"), MAP, ENABLED], "DMA was not enabled"),
        ([*READY, STOPPED, MAP], "DMA was not enabled"),
        ([*READY, set_memory(BUFFER, "shared"), MAP], "its page is shared"),
        ([*READY, convert(BUFFER, "shared"), MAP], "its page is shared"),
        ([*READY, rtt("rtt_map", BUFFER | S), MAP], "has a shared alias"),
        ([*READY, iommu_map(S, HOST), MAP], "a table of the host"),
        ([*READY, iommu_map(S, HOST), iommu_unmap(S, status="error"), MAP], "a table of the host"),
        # While it lives.
        ([*READY, MAP, iommu_map(S, HOST)], "a table of the host"),
        ([*READY, MAP, STOPPED, ENABLED], "it outlived the device's DMA"),
        ([*READY, MAP, set_memory(BUFFER, "shared")], "shared while it was mapped"),
        ([*READY, MAP, convert(BUFFER - PAGE, "shared", 2 * PAGE)], "shared while it was mapped"),
        ([*READY, MAP, rtt("rtt_map", BUFFER | S)], "got a shared alias"),
        ([*READY, MAP, rtt("rtt_unmap", BUFFER)], "taken out of the Realm's table"),
        ([*READY, MAP, ripas(BUFFER, "DESTROYED")], "became DESTROYED"),
        ([*READY, MAP, ripas(BUFFER, "EMPTY")], "became EMPTY"),
        ([*READY, MAP, reached(attrs="shared")], "reached shared memory"),
        ([*READY, MAP, reached("ok", size=PAGE, attrs="shared")], "reached shared memory"),
        ([*READY, MAP, access(BUFFER, "ok", attrs="private")], "a device that is not trusted"),
        # Until it really ends.
        ([*READY, MAP, dma_unmap(BUFFER, "disk"), ripas(BUFFER, "EMPTY")], "became EMPTY"),
        ([*READY, MAP, dma_unmap(BUFFER + 8, "tdisp"), ripas(BUFFER, "EMPTY")], "became EMPTY"),
    ],
)
def test_one_thing_speaks_against_it(events: list[Event], why: str) -> None:
    found, said = answer(events)
    assert why in said
    assert found is NO


@pytest.mark.parametrize(
    ("events", "platform", "why"),
    [
        ([*RAM, MAP], REALM, "no RMM tells whether its device was accepted"),
        ([ENABLED, MAP], REALM, "not known to have it in the Realm's own table"),
        ([ENABLED, RAM[0], MAP], REALM, "not known to have it"),
        ([ENABLED, RAM[1], MAP], REALM, "not known to have it"),
        ([*READY, dma_map(BUFFER, "tdisp", size=2 * PAGE + 1)], REALM, "not known to have it"),
        ([*READY, dma_map(BUFFER, "tdisp", phys=None)], REALM, "does not tell its buffer"),
        ([*READY, dma_map(BUFFER, "tdisp", detail="truncated")], REALM, "a part of its scatter"),
        ([*READY, MAP], LOG, "in which order"),
        ([*READY, MAP], UNKNOWN_WIDTH, "IPA space"),
        ([*READY, MAP], dataclasses.replace(REALM, lost_events=3), "3 events of the trace"),
        ([*READY, MAP], dataclasses.replace(REALM, scheme="amd-sev"), "amd-sev"),
        ([*READY, MAP, dataclasses.replace(iommu_map(S, 0), pa=None)], REALM, "where the host's"),
        ([dataclasses.replace(TOLD, address=S >> 1), *READY, MAP], REALM, "another shared bit"),
    ],
)
def test_what_nobody_tells_leaves_it_open(
    events: list[Event], platform: Platform, why: str
) -> None:
    found, said = answer(events, platform)
    assert found is OPEN
    assert why in said


def test_a_doubt_does_not_hide_what_is_certain() -> None:
    shared = dma_map(BUFFER | S, "tdisp", detail="truncated")
    assert answer([*READY, shared], LOG)[0] is NO
    assert answer([MAP, set_memory(BUFFER, "shared")])[0] is NO


@pytest.mark.parametrize("end", [UNMAP, UNMAP_SG, MAP])
def test_what_comes_after_its_end_is_none_of_its(end: Event) -> None:
    events = [*READY, MAP, end, set_memory(BUFFER, "shared"), STOPPED, iommu_map(S, HOST)]
    found = answers(events)
    assert found[0] == (YES, "")
    assert [each[0] for each in found[1:]] == ([NO] if end is MAP else [])


def test_mappings_of_one_page_live_and_end_each_by_itself() -> None:
    beside = dma_map(BUFFER + 64, "tdisp", phys=BUFFER + 64)
    found = answers([*READY, MAP, beside, UNMAP, ripas(BUFFER, "EMPTY"), beside])
    assert [each[0] for each in found] == [YES, NO, OPEN]


def test_devices_that_nobody_trusts_are_not_asked_about() -> None:
    failed = dma_map(1 << 64 - 1, "tdisp", status="error")
    assert answers([*READY, dma_map(BUFFER, "disk"), failed]) == []


CHANGES = {
    "stop": [STOPPED],
    "enable": [ENABLED],
    "share": [set_memory(BUFFER, "shared")],
    "hide": [set_memory(BUFFER, "private")],
    "destroy": [rtt("rtt_unmap", BUFFER), ripas(BUFFER, "DESTROYED")],
    "give": [ripas(BUFFER, "RAM"), rtt("rtt_map", BUFFER)],
    "alias": [rtt("rtt_map", BUFFER | S)],
    "unalias": [rtt("rtt_unmap", BUFFER | S)],
    "host": [iommu_map(S, HOST)],
    "unhost": [iommu_unmap(S)],
    "map": [MAP],
    "unmap": [UNMAP],
}
LEAVES = {"enable": "stop", "hide": "share", "give": "destroy", "unalias": "alias"} | {
    "unhost": "host"
}


@settings(deadline=None)
@given(st.lists(st.sampled_from(sorted(CHANGES)), max_size=12))
def test_it_is_confidential_only_if_all_is_well_all_the_time(names: list[str]) -> None:
    """Five things can be bad; none of them may be, from a mapping's beginning to its end."""
    bad, live = {"stop", "destroy"}, False
    wanted: list[bool] = []
    for name in names:
        if name == "map":
            wanted.append(not bad)
            live = True
        elif name == "unmap":
            live = False
        elif name in LEAVES:
            bad.discard(LEAVES[name])
        else:
            bad.add(name)
            if live:
                wanted[-1] = False
    events = [event for name in names for event in CHANGES[name]]
    assert [each[0] is YES for each in answers(events)] == wanted
