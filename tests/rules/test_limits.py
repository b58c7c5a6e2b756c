"""M4: what do the kernel's own messages tell of addresses that do not fit?"""

from __future__ import annotations

import dataclasses

import pytest

from rule_events import FAILED, PLAIN, POOL, REALM, S, trouble
from rule_findings import found
from topbit.recording import Platform

LOW = 0xFFFFFFFF
SME_HOST = dataclasses.replace(PLAIN, machine="log")


@pytest.mark.parametrize(
    ("platform", "agent", "address", "mask", "limit", "about", "says"),
    [
        (REALM, "guest", POOL | S, LOW, 0, "guest", "mask cannot carry bit 40, the shared bit"),
        (REALM, "guest", POOL | S, LOW, LOW, "guest", "mask cannot carry bit 40"),
        (REALM, "guest", POOL | S, FAILED, LOW, "vmm", "leaves out bit 40, the shared bit"),
        (REALM, "guest", POOL | S, FAILED, S - 1, "vmm", "leaves out bit 40"),
        (REALM, "guest", 1 << 33, FAILED, LOW, "vmm", "(dma-ranges) is below the memory"),
        (PLAIN, "guest", 1 << 33, LOW, 0, "guest", "mask is too narrow"),
        (PLAIN, "host", 1 << 33, LOW, 0, "host", "mask is too narrow"),
        (PLAIN, "host", 1 << 33, FAILED, LOW, "host", "(dma-ranges) is below"),
        (dataclasses.replace(REALM, ipa_bits=None), "guest", POOL | S, LOW, 0, "guest",
         "mask is too narrow"),
    ],
)  # fmt: skip
def test_who_an_overflow_is_about(
    platform: Platform, agent: str, address: int, mask: int, limit: int, about: str, says: str
) -> None:
    event = trouble(
        "bounce_overflow", address=address, size=4096, mask=mask, attrs=f"bus_limit=0x{limit:x}"
    )
    (finding,) = found("M4", platform, dataclasses.replace(event, agent=agent))
    assert (finding.severity, finding.agent) == ("warning", about)
    assert says in finding.message
    assert (
        finding.seen == f"0x{address:016x}+4096: overflow (mask 0x{mask:x}, bus limit 0x{limit:x})"
    )


def test_messages_of_one_device_are_one_finding_and_judge_what_follows() -> None:
    event = trouble("dma_overflow", address=1 << 33, size=64, mask=LOW, source="log", line=3)
    again = dataclasses.replace(event, line=4)
    failed = trouble("map_failed", source="log", line=5)
    other = trouble("map_failed", device="nic", source="log", line=6)
    (finding,) = found("M4", PLAIN, event, again, failed, other)
    assert finding.count == 2
    assert finding.places() == {("log", 3), ("log", 4), ("log", 5)}
    assert found("M4", PLAIN, failed) == []


def test_m4_a_message_without_an_address_is_left_to_whoever_reads_it() -> None:
    assert found("M4", REALM, trouble("dma_overflow", mask=LOW, source="log", line=3)) == []
