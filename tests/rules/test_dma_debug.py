"""M13: what has the kernel's own check of the DMA API found?"""

from __future__ import annotations

import dataclasses

import pytest

from rule_events import PLAIN, trouble
from rule_findings import found
from topbit.rules.dma_debug import KINDS


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_says_what_the_driver_does(kind: str) -> None:
    (finding,) = found("M13", PLAIN, trouble("dma_debug", attrs=f"kind={kind}|unmap_size=1"))
    assert (finding.message, finding.severity) == (KINDS[kind], "warning")


def test_what_else_is_told() -> None:
    (finding,) = found("M13", PLAIN, trouble("dma_debug", attrs="kind=new-in-8.0"))
    assert finding.message == "the driver breaks the DMA API"
    (finding,) = found("M13", PLAIN, trouble("bounce_sync"))
    assert finding.message == "more is synchronised than the bounce buffer holds"


def test_kinds_and_devices_are_told_apart_and_lines_are_judged() -> None:
    one = trouble("dma_debug", attrs="kind=overlapping", source="log", line=1)
    events = [
        one, dataclasses.replace(one, line=2), dataclasses.replace(one, device="nic", line=3),
        dataclasses.replace(one, attrs="kind=from-stack", line=4, agent="host"),
    ]  # fmt: skip
    findings = found("M13", PLAIN, *events)
    assert [(f.device, f.count, f.agent) for f in findings] == [
        ("disk", 2, "guest"), ("nic", 1, "guest"), ("disk", 1, "host"),
    ]  # fmt: skip
    assert findings[0].places() == {("log", 1), ("log", 2)}
