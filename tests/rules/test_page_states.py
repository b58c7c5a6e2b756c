"""P2, P3, P6, P7, P8: do shared and private pages change as they must?"""

from __future__ import annotations

import dataclasses

import pytest

from rule_events import (
    BUFFER,
    PAGE,
    PLAIN,
    POOL,
    REALM,
    S,
    dma_alloc,
    dma_map,
    ripas,
    set_memory,
    trouble,
)
from rule_findings import found, told
from topbit.events import Event

ALIAS = POOL | S


def failed(phys: int = POOL, wanted: str = "shared", size: int = PAGE) -> Event:
    return Event("guest", "set_memory", phys=phys, size=size, status="error", attrs=wanted)


@pytest.mark.parametrize(
    ("events", "times"),
    [
        ([failed(), dma_map()], 1),
        ([failed(), dma_map(), dma_alloc(ALIAS)], 2),
        ([failed(wanted="private"), dma_map()], 1),
        ([dma_map(), failed()], 0),
        ([failed(), dma_map((POOL + PAGE) | S)], 0),
        ([failed(size=2 * PAGE), dma_map((POOL + PAGE) | S)], 1),
        ([failed(), set_memory(POOL, "shared"), dma_map()], 0),
        ([failed(), dma_map(status="error")], 0),
        ([failed(), dma_map(device="tdisp")], 0),
    ],
)
def test_p2_a_page_that_could_not_change_is_left_alone(events: list[Event], times: int) -> None:
    assert sum(count for _, _, count in told("P2", REALM, *events)) == times


@pytest.mark.parametrize(
    ("rule", "status"),
    [("P2", "share_failed"), ("P2", "leaked"), ("P2", "ripas"), ("P6", "pool_disabled"),
     ("P7", "conversion_stopped")],
)  # fmt: skip
def test_what_the_kernel_tells_is_judged(rule: str, status: str) -> None:
    event = trouble(status, device=None, source="log", line=2)
    (finding,) = found(rule, PLAIN, event, dataclasses.replace(event, line=3))
    assert (finding.severity, finding.agent, finding.count) == ("warning", "guest", 2)
    assert finding.seen == f"a line of {status}"
    assert finding.places() == {("log", 2), ("log", 3)}
    assert found(rule, PLAIN, trouble("timeout")) == []


@pytest.mark.parametrize(
    ("events", "severities"),
    [
        ([set_memory(POOL + 1, "shared")], ["violation"]),
        ([set_memory(POOL, "private", PAGE - 1)], ["violation"]),
        ([set_memory(POOL, "shared", 4 * PAGE)], []),
        ([set_memory(POOL, "shared")] * 2, ["warning"]),
        ([set_memory(POOL, "private")] * 2, ["warning"]),
        ([set_memory(POOL, "shared", 2 * PAGE), set_memory(POOL + PAGE, "shared")], ["warning"]),
        ([set_memory(POOL, "shared"), set_memory(POOL, "shared", 2 * PAGE)], []),  # a part is new
        ([set_memory(POOL, "shared"), set_memory(POOL, "private"), set_memory(POOL, "shared")], []),
        ([set_memory(POOL, "shared"), failed(), failed()], []),
    ],
)
def test_p3_changes_are_of_whole_pages_and_change_something(
    events: list[Event], severities: list[str]
) -> None:
    assert [finding.severity for finding in found("P3", REALM, *events)] == severities


@pytest.mark.parametrize(
    ("state", "address", "wrong"),
    [
        ("RAM", BUFFER | S, True), ("EMPTY", BUFFER, True), ("RAM", BUFFER, False),
        ("EMPTY", BUFFER | S, False), ("DESTROYED", BUFFER, False),
        ("DESTROYED", BUFFER | S, False),
        ("RAM", (BUFFER + PAGE) | S, False),
    ],
)  # fmt: skip
def test_p8_the_bit_follows_the_state(state: str, address: int, wrong: bool) -> None:
    events = [ripas(BUFFER, state), Event("rmm", "sea", address=address)]
    findings = found("P8", REALM, *events)
    assert bool(findings) == wrong
    if wrong:
        assert findings[0].expected == f"0x{address ^ S:016x}"


def test_p8_the_state_is_that_of_the_moment() -> None:
    abort = Event("rmm", "sea", address=BUFFER | S)
    events = [ripas(BUFFER, "RAM"), ripas(BUFFER, "EMPTY"), abort]
    assert found("P8", REALM, *events) == []
    assert told("P8", REALM, ripas(BUFFER, "EMPTY"), ripas(BUFFER, "RAM"), abort) == [
        ("guest", None, 1)
    ]
