"""Which event a piece of evidence shows: by its place, or by its words."""

from __future__ import annotations

import dataclasses

import pytest

import topbit
from paths import DATA
from topbit.events import Event
from topbit.recording import Platform, Recording
from topbit.report.evidence_events import events_of, key_of
from topbit.rules.finding import Evidence
from topbit.rules.wording import evidence_of

A = Event("guest", "dma_map", device="a", address=0x1000, size=64, source="t", line=7)
B = dataclasses.replace(A, address=0x2000)
C = dataclasses.replace(A, source=None, line=None)
D = Event("guest", "helper", attrs="phys_to_dma", address=1, phys=2)
E = Event("host", "trouble", status="timeout", detail="nvme nvme0: I/O timeout")
RECORDING = Recording.of_events(Platform(), [C, A, B, D, E, C])


@pytest.mark.parametrize(("number", "first"), [(0, 0), (1, 1), (2, 2), (3, 3), (4, 4), (5, 0)])
def test_each_event_is_found_by_its_evidence_the_first_of_equal_ones(
    number: int, first: int
) -> None:
    piece = evidence_of(RECORDING.row(number))
    assert events_of(RECORDING, [piece]) == {key_of(piece): first}


@pytest.mark.parametrize(
    "piece", [Evidence("dma_map a", "t", 7), Evidence("dma_map a"), Evidence("x", "t", 8)]
)
def test_what_is_no_event_is_left_out(piece: Evidence) -> None:
    assert events_of(RECORDING, [piece]) == {}


@pytest.mark.parametrize("made", [{"vmm.smmu_map": "protected"}, "vmm-maps-protected-half"])
def test_all_evidence_of_a_run_and_of_logs_is_found(made: object) -> None:
    if isinstance(made, dict):
        report = topbit.check(topbit.run("seed", settings=made))
    else:
        report = topbit.check(DATA / "recordings" / str(made))
    pieces = {key_of(p): p for finding in report.findings for p in finding.evidence}
    assert len(pieces) > 5
    assert events_of(report.boots[0].recording, pieces.values()).keys() == pieces.keys()
