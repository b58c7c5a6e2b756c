"""F13, and whose stream a refused access is of."""

from __future__ import annotations

import dataclasses

import pytest

from rule_events import BUFFER, LOG, PAGE, POOL, REALM, S, access, dma_map, smmu_event
from rule_findings import found
from topbit.events import Event
from topbit.recording import FileFacts, Platform, Recording
from topbit.rules.streams import guest_faults

GUEST = dataclasses.replace(LOG, files=[FileFacts("console.txt", role="guest")])
HOST_ONLY = dataclasses.replace(LOG, files=[FileFacts("dmesg.txt", role="host")], devices={})
OTHER = 0x7D00


def host_fault(address: int, sid: int = OTHER, attrs: str | None = "s1|IN", **more: str) -> Event:
    return smmu_event(address, sid=sid, attrs=attrs, **more)


@pytest.mark.parametrize(
    ("platform", "events", "own"),
    [
        (GUEST, [host_fault(BUFFER)], False),
        (GUEST, [host_fault(BUFFER, attrs=None)], False),
        (GUEST, [host_fault(BUFFER, attrs="s2|IN")], True),
        (GUEST, [host_fault(BUFFER, sid=0x10)], True),  # the guest's disk
        (GUEST, [host_fault(BUFFER, device="disk")], True),
        (GUEST, [dma_map(device="nic"), host_fault(BUFFER, device="nic")], True),
        (GUEST, [host_fault((POOL + PAGE) | S)], True),  # the pool's alias
        (GUEST, [host_fault(POOL + PAGE)], False),
        (GUEST, [host_fault(BUFFER | S)], False),  # an IOVA may have any bit
        (GUEST, [dma_map(BUFFER | S), host_fault(BUFFER | S)], True),  # the guest made it
        (GUEST, [dma_map(BUFFER), host_fault(BUFFER)], False),
        (HOST_ONLY, [host_fault(BUFFER)], True),  # it is all that is asked about
        (HOST_ONLY, [dma_map(device="nic"), host_fault(BUFFER)], False),
        (dataclasses.replace(GUEST, machine="qemu"), [host_fault(BUFFER)], True),
        (GUEST, [access(BUFFER, sid=OTHER, device="nic")], True),
    ],
)
def test_whose_stream_it_is(platform: Platform, events: list[Event], own: bool) -> None:
    assert len(guest_faults(Recording.of_events(platform, events))) == own


def test_of_whom_all_streams_were_told_no_other_is_his() -> None:
    told = dataclasses.replace(GUEST, origins={"stream disk": "option"})
    mapped = dma_map(BUFFER | S, device="disk")
    theirs = [
        host_fault(BUFFER | S, attrs="s2|IN"),  # another guest's, at an address of this one's
        host_fault((POOL + PAGE) | S, attrs="s2|IN"),
    ]
    (finding,) = found("F13", told, mapped, *theirs)
    assert finding.count == 2
    assert "another guest's" in finding.message
    assert "stage 1" not in finding.seen
    for rule in ("F1", "F2", "F3"):
        assert found(rule, told, mapped, *theirs) == []
    own = dataclasses.replace(theirs[0], sid=0x10)
    assert [f.device for f in found("F1", told, mapped, own)] == ["disk"]
    # The host has a name of its own for it.
    named = dataclasses.replace(own, device="0000:01:00.0")
    assert len(found("F1", told, mapped, named)) == 1
    # Of one device nothing was told, nor that nothing was traced of it.
    for events in ([mapped, dma_map(device="nic")], []):
        recording = Recording.of_events(told, [*events, *theirs])
        assert len(guest_faults(recording)) == 2


def test_f13_tells_of_the_others_and_nobody_is_held_for_them() -> None:
    events = [
        dataclasses.replace(host_fault(BUFFER), source="dmesg", line=7),
        dataclasses.replace(host_fault(BUFFER + 8), source="dmesg", line=9),
        host_fault(POOL, sid=0x20),
    ]
    (finding,) = found("F13", GUEST, *events)
    assert (finding.severity, finding.agent, finding.device) == ("note", "host", "StreamID 0x7d00")
    assert finding.count == 2
    assert finding.places() == {("dmesg", 7), ("dmesg", 9)}
    for rule in ("F1", "F2", "F3"):
        assert found(rule, GUEST, *events[:2]) == []
    assert found("F13", REALM, *events) == []
