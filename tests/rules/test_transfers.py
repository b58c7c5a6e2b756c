"""D: which data did not arrive as it was sent?"""

from __future__ import annotations

import dataclasses

import pytest

from rule_events import (
    BUFFER,
    REALM,
    S,
    set_memory,
)
from rule_findings import found
from topbit.events import Event
from topbit.recording import DeviceFacts

ALIAS = BUFFER | S
GUEST = [("guest", "disk", 1)]
PRIVATE = set_memory(BUFFER, "private")
GUARDED = dataclasses.replace(REALM, devices={"disk": DeviceFacts(behind_iommu=True)})


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
