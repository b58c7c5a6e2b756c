"""P and D: pages that turn private or vanish while somebody uses them."""

from __future__ import annotations

import dataclasses

import pytest

from rule_events import (
    BUFFER,
    FAILED,
    HOST,
    PAGE,
    POOL,
    REALM,
    S,
    access,
    asked,
    dma_alloc,
    dma_map,
    dma_unmap,
    set_memory,
    unshared,
)
from rule_findings import found, told
from topbit.events import Event
from topbit.recording import DeviceFacts

ALIAS = BUFFER | S
GUEST = [("guest", "disk", 1)]
PRIVATE = set_memory(BUFFER, "private")
GUARDED = dataclasses.replace(REALM, devices={"disk": DeviceFacts(behind_iommu=True)})


@pytest.mark.parametrize(
    ("events", "expected"),
    [
        ([dma_alloc(), PRIVATE], GUEST),
        ([dma_alloc(ALIAS + PAGE), PRIVATE], []),
        ([dma_alloc(ALIAS - PAGE), PRIVATE], []),
        ([dma_alloc(ALIAS - PAGE, size=2 * PAGE), PRIVATE], GUEST),
        ([dma_map(ALIAS + PAGE - 64), PRIVATE], GUEST),
        ([dma_map(ALIAS), dma_unmap(ALIAS), PRIVATE], []),
        ([dma_alloc(), set_memory(BUFFER, "shared")], None),
        ([dma_alloc(), set_memory(BUFFER, "error"), set_memory(POOL, "private")], []),
        ([dma_alloc(device="tdisp"), PRIVATE], []),
        ([dma_alloc(BUFFER), PRIVATE], []),  # M1
        ([PRIVATE, dma_alloc()], GUEST),
        ([PRIVATE, dma_map(ALIAS + PAGE - 1)], GUEST),
        ([PRIVATE, dma_map(ALIAS + PAGE)], []),
        ([PRIVATE, dma_alloc(ALIAS - PAGE, size=PAGE + 1)], GUEST),
        ([PRIVATE, dma_alloc(BUFFER)], []),  # M1
        ([PRIVATE, dma_alloc(status="error")], []),
        ([PRIVATE, dma_map(FAILED)], []),
        ([PRIVATE, dma_alloc(device="tdisp")], []),
        ([PRIVATE, set_memory(BUFFER, "shared"), dma_alloc()], []),
        ([PRIVATE, dma_alloc(), dma_map(ALIAS)], [("guest", "disk", 2)]),
    ],
)
def test_p1_a_page_is_shared_while_it_is_mapped(
    events: list[Event], expected: list[object] | None
) -> None:
    assert told("P1", REALM, *events) == (expected or [])


def test_p1_leaves_devices_behind_an_iommu_alone() -> None:
    assert told("P1", GUARDED, dma_alloc(), PRIVATE) == []
    assert told("P1", GUARDED, PRIVATE, dma_alloc()) == []


def test_p1_tells_page_and_mapping() -> None:
    (finding,) = found("P1", REALM, dma_alloc(), PRIVATE)
    assert finding.seen == (
        f"IPA 0x{BUFFER:016x}, 4096 bytes, became private while dma_addr=0x{ALIAS:016x} was mapped"
    )
    assert [each.text.split()[0] for each in finding.evidence] == ["dma_alloc", "set_memory"]
    (finding,) = found("P1", REALM, PRIVATE, dma_map(ALIAS + 8))
    assert finding.seen == f"dma_addr=0x{ALIAS + 8:016x}; IPA 0x{BUFFER + 8:016x} is private"


@pytest.mark.parametrize(
    ("event", "says"),
    [
        (access(BUFFER, "GPF", attrs="private", pa=HOST), "granule protection stopped it"),
        (access(BUFFER, "GPF"), "granule protection stopped it"),
        (access(BUFFER, "ok", attrs="private"), "let an untrusted device reach private memory"),
        (access(BUFFER, "ok", attrs="shared"), ""),
        (access(BUFFER, "ok"), ""),
        (access(BUFFER, "F_TRANSLATION", attrs="private"), ""),
        (access(BUFFER, "ok", attrs="private", device="tdisp", sid=0x20), ""),
        (access(BUFFER, "GPF", device="tdisp", sid=0x20), ""),
    ],
)
def test_p4_private_memory_is_not_reached(event: Event, says: str) -> None:
    findings = found("P4", REALM, event)
    assert [says in finding.message for finding in findings] == ([True] if says else [])
    for finding in findings:
        where = "" if event.pa is None else f" (physical 0x{HOST:016x})"
        assert finding.seen == f"0x{BUFFER:016x}{where}: {event.status}"
        assert (finding.agent, finding.device) == ("vmm", "disk")


def test_p4_counts_a_device_without_a_name() -> None:
    assert told("P4", REALM, access(BUFFER, "GPF", device=None)) == [("vmm", "disk", 1)]


@pytest.mark.parametrize(("attrs", "count"), [("DESTROYED", 1), ("RAM", 0), ("EMPTY", 0)])
def test_p5_ram_is_not_destroyed(attrs: str, count: int) -> None:
    event = Event("rmm", "ripas", phys=BUFFER, size=2 * PAGE, status="ok", attrs=attrs)
    findings = found("P5", REALM, event)
    assert len(findings) == count
    for finding in findings:
        assert finding.agent == "host"
        assert finding.seen == f"IPA 0x{BUFFER:016x}, 8192 bytes: RIPAS DESTROYED"


NOTHING = asked(POOL, "EMPTY")


@pytest.mark.parametrize(
    ("events", "count"),
    [
        ([asked(BUFFER, "EMPTY"), unshared(BUFFER)], 1),
        ([asked(BUFFER, "EMPTY"), asked(BUFFER, "RAM"), unshared(BUFFER)], 0),
        ([asked(BUFFER, "RAM"), asked(BUFFER, "EMPTY"), unshared(BUFFER)], 1),
        ([NOTHING, unshared(BUFFER)], 0),  # nobody said that it was shared
        ([asked(BUFFER + PAGE, "EMPTY"), unshared(BUFFER)], 0),
        ([asked(BUFFER, "EMPTY"),
          dataclasses.replace(unshared(BUFFER - PAGE), size=2 * PAGE)], 1),
        ([asked(BUFFER, "EMPTY"), dataclasses.replace(unshared(BUFFER), attrs="protected")], 0),
        ([asked(BUFFER, "EMPTY"), dataclasses.replace(unshared(BUFFER), size=None)], 0),
        ([asked(BUFFER, "EMPTY"), dataclasses.replace(unshared(BUFFER), phys=None)], 0),
        ([dataclasses.replace(asked(BUFFER, "EMPTY"), status="IRQ"), unshared(BUFFER)], 0),
    ],
)  # fmt: skip
def test_p6_a_shared_page_stays_mapped(events: list[Event], count: int) -> None:
    findings = found("P6", REALM, *events)
    assert len(findings) == count
    for finding in findings:
        assert finding.agent == "host"
        assert f"0x{events[-1].address or 0:016x}, {events[-1].size} bytes" in finding.seen


@pytest.mark.parametrize(
    ("status", "direction", "says"),
    [("wrong", "w", "64 bytes, w: wrong"), ("wrong", None, "64 bytes, both ways: wrong"),
     ("ok", "w", ""), ("lost", "w", "")],
)  # fmt: skip
def test_d1_what_arrives(status: str, direction: str | None, says: str) -> None:
    event = Event("device", "payload", sid=0x10, size=64, status=status, direction=direction)
    findings = found("D1", REALM, event)
    assert [finding.seen for finding in findings] == ([says] if says else [])
    assert [finding.device for finding in findings] == (["disk"] if says else [])
