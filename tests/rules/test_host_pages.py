"""P: which pages does the host take from the Realm?"""

from __future__ import annotations

import dataclasses

import pytest

from rule_events import (
    BUFFER,
    PAGE,
    POOL,
    REALM,
    S,
    asked,
    set_memory,
    unshared,
)
from rule_findings import found
from topbit.events import Event
from topbit.recording import DeviceFacts

ALIAS = BUFFER | S
GUEST = [("guest", "disk", 1)]
PRIVATE = set_memory(BUFFER, "private")
GUARDED = dataclasses.replace(REALM, devices={"disk": DeviceFacts(behind_iommu=True)})


@pytest.mark.parametrize(("attrs", "count"), [("DESTROYED", 1), ("RAM", 0), ("EMPTY", 0)])
def test_p5_ram_is_not_destroyed(attrs: str, count: int) -> None:
    event = Event("rmm", "ripas", phys=BUFFER, size=2 * PAGE, status="ok", attrs=attrs)
    findings = found("P10", REALM, event)
    assert len(findings) == count
    for finding in findings:
        assert finding.agent == "host"
        assert finding.seen == f"IPA 0x{BUFFER:016x}, 8192 bytes: RIPAS DESTROYED"


@pytest.mark.parametrize(
    ("registers", "count"), [([], 1), ([BUFFER], 0), ([BUFFER + PAGE], 1), ([BUFFER] * 2, 0)]
)
def test_p5_registers_of_a_device_are_no_ram(registers: list[int], count: int) -> None:
    dev = [Event("rmm", "ripas", phys=at, size=PAGE, status="ok", attrs="DEV") for at in registers]
    gone = Event("rmm", "ripas", phys=BUFFER, size=PAGE, status="ok", attrs="DESTROYED")
    assert len(found("P10", REALM, *dev, gone)) == count
    assert len(found("P10", REALM, *dev, gone, gone)) == 1, "it became RAM meanwhile"


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
    findings = found("P11", REALM, *events)
    assert len(findings) == count
    for finding in findings:
        assert finding.agent == "host"
        assert f"0x{events[-1].address or 0:016x}, {events[-1].size} bytes" in finding.seen
