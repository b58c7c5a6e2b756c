"""The names that trouble has."""

from __future__ import annotations

import re

import pytest

from topbit.events import AGENTS
from topbit.recording.schema import KINDS
from topbit.recording.trouble import BY_THEMSELVES, TROUBLE_KINDS, TROUBLES, trouble_of


def test_each_kind_of_trouble_says_what_it_tells() -> None:
    for name, trouble in {**TROUBLES, **BY_THEMSELVES}.items():
        assert re.fullmatch(r"[a-z][a-z0-9_]*", name)
        assert trouble.tells.endswith(".")
        assert trouble.matter_of in AGENTS


def test_trouble_is_made_of_kinds_that_the_table_has() -> None:
    assert set(TROUBLE_KINDS) <= set(KINDS)


@pytest.mark.parametrize(
    ("event", "status", "tells"),
    [
        ("trouble", "leaked", TROUBLES["leaked"].tells),
        ("trouble", "of a later topbit", "A line tells of DMA trouble."),
        ("trouble", None, "A line tells of DMA trouble."),
        ("smmu_event", "F_TRANSLATION", "An IOMMU refused a device's access."),
        ("smmu_lost", "lost", "Event records of an SMMU were lost."),
        ("swiotlb_full", "error", "The bounce pool had no room for a buffer."),
    ],
)
def test_what_an_event_tells(event: str, status: str | None, tells: str) -> None:
    assert event in TROUBLE_KINDS
    assert trouble_of(event, status).tells == tells
