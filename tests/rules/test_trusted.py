"""T: who is at fault where a trusted device is refused, and which devices are not to be trusted?"""

from __future__ import annotations

import pytest

from cases_trusted import ENABLED, LOCKED, STARTED
from rule_events import BUFFER, REALM, access, bad_ste, vdev
from rule_findings import found, told
from topbit.events import Event

DISABLED = vdev("STARTED", detail="RSI_VDEV_DMA_DISABLE")
TAKEN = vdev("STARTED", detail="RMI_VDEV_UNLOCK")
FAILED = vdev("ERROR", detail="the interface is not in RUN")
ABORTED = vdev("ERROR", detail="RMI_VDEV_ABORT")
SILENT = vdev("ERROR", detail="the host has no response")
OTHER = vdev("STARTED", dma=True, sid=0x21)


@pytest.mark.parametrize(
    ("before", "agent", "says"),
    [
        ([OTHER, vdev("UNLOCKED")], "guest", "before it has accepted it"),
        (LOCKED, "guest", "before it has accepted it"),
        (STARTED, "guest", "without enabling its DMA"),
        ([*ENABLED, DISABLED], "guest", "whose DMA it has disabled"),
        ([*ENABLED, TAKEN], "host", "took a trusted device back"),
        ([*ENABLED, TAKEN, vdev("UNLOCKED")], "host", "took a trusted device back"),
        ([*ENABLED, TAKEN, vdev("UNLOCKED"), vdev("LOCKED")], "host", "took a trusted device back"),
        ([*ENABLED, FAILED], "device", "it failed"),
        ([*STARTED, FAILED], "device", "it failed"),
        ([*ENABLED, ABORTED], "host", "took a trusted device back"),
        ([*ENABLED, DISABLED, *ENABLED[3:], TAKEN], "host", "took a trusted device back"),
    ],
)
def test_t1_who_is_at_fault(before: list[Event], agent: str, says: str) -> None:
    (finding,) = found("T1", REALM, *before, bad_ste(), *ENABLED)
    assert (finding.agent, finding.device) == (agent, "tdisp")
    assert says in finding.message
    assert len(finding.evidence) == 2


def test_t1_leaves_other_refusals_and_other_streams_alone() -> None:
    refused = access(BUFFER, "F_TRANSLATION", device="tdisp", sid=0x20)
    others = [refused, access(BUFFER, "C_BAD_STE")]
    assert found("T1", REALM, *ENABLED, *others) == []
    assert told("F9", REALM, *ENABLED, *others) == [("host", "disk", 1)]
    assert told("F9", REALM, bad_ste()) == [("host", "tdisp", 1)], "nobody told of the interface"


@pytest.mark.parametrize(
    ("event", "who"),
    [
        (FAILED, [("device", "tdisp", 1)]),
        (ABORTED, [("host", "tdisp", 1)]),
        (SILENT, [("host", "tdisp", 1)]),
        (Event("rmm", "pdev", sid=0x99, status="ERROR"), [("device", "StreamID 0x99", 1)]),
        (vdev("STARTED"), []),
    ],
)
def test_t2_who_did_not_prove_it(event: Event, who: list[tuple[str, str, int]]) -> None:
    assert told("T2", REALM, *LOCKED, event) == who
