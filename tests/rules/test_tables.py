"""F5, F9: which accesses did tables refuse that are not as they must be?"""

from __future__ import annotations

import pytest

from rule_events import (
    LOG,
    POOL,
    REALM,
    SHARED,
    UNKNOWN_WIDTH,
    S,
    access,
    dma_map,
    dma_unmap,
    smmu_event,
)
from rule_findings import NOBODY, blame, found, told
from topbit.events import Event
from topbit.recording import Platform

ALIAS = POOL | S


WRITE = access(ALIAS, "F_PERMISSION", "w")
READ = access(ALIAS, "F_PERMISSION", "r")


@pytest.mark.parametrize(
    ("platform", "events", "agent", "says"),
    [
        (REALM, [dma_map(direction="TO_DEVICE"), WRITE], "device", "wrote to a buffer that is"),
        (REALM, [dma_map(direction="FROM_DEVICE"), READ], "device", "read a buffer that is mapped"),
        (REALM, [dma_map(direction="FROM_DEVICE"), WRITE], "vmm", "does not allow what"),
        (REALM, [dma_map(direction="TO_DEVICE"), READ], "vmm", "does not allow what"),
        (REALM, [dma_map(direction="BIDIRECTIONAL"), WRITE], "vmm", "does not allow what"),
        (REALM, [dma_map(), dma_unmap(), WRITE], "device", "never given"),
        (REALM, [WRITE], "vmm", "does not allow what"),
        (LOG, [smmu_event(ALIAS, "F_PERMISSION")], "vmm", "does not allow what"),
        (REALM, [*SHARED, dma_map(direction="BIDIRECTIONAL"), WRITE], None, ""),  # F11
        (REALM, [dma_map(), access(ALIAS)], None, ""),
    ],
)
def test_f5_a_direction_that_is_not_allowed(
    platform: Platform, events: list[Event], agent: str | None, says: str
) -> None:
    findings = found("F5", platform, *events)
    if agent is None:
        assert findings == []
        return
    (finding,) = findings
    assert (finding.agent, finding.device) == (agent, "disk")
    assert says in finding.message
    live = "never given" not in says and events[0].event == "dma_map"
    assert len(finding.evidence) == (2 if live else 1)


@pytest.mark.parametrize(
    ("event", "expected"),
    [
        (access(ALIAS, "C_BAD_STE"), blame("host")),
        (access(ALIAS, "F_WALK_EABT"), blame("host")),
        (access(ALIAS, "F_ADDR_SIZE"), NOBODY),  # F6
        (access(1 << 41, "F_ADDR_SIZE"), NOBODY),  # F4
        (access(ALIAS, "F_TRANSLATION"), NOBODY),
        (access(ALIAS, "F_PERMISSION"), NOBODY),
        (Event("smmu", "smmu_event", sid=0x99, status="C_BAD_STREAMID"),
         blame("host", device="StreamID 0x99")),
    ],
)  # fmt: skip
def test_f9_the_hosts_own_tables(event: Event, expected: list[object]) -> None:
    assert told("F9", REALM, event) == expected


def test_f9_names_the_event() -> None:
    (finding,) = found("F9", REALM, access(ALIAS, "C_BAD_STE"), access(ALIAS, "C_BAD_STE"))
    assert finding.message.endswith("stopped the device: C_BAD_STE")
    assert finding.count == 2


@pytest.mark.parametrize("value", [ALIAS, 1 << 63, (1 << 64) - 1])
def test_f9_of_an_unknown_width_any_address_counts(value: int) -> None:
    event = access(value, "C_BAD_STE")
    assert told("F9", UNKNOWN_WIDTH, event) == told("F9", REALM, access(ALIAS, "C_BAD_STE"))
