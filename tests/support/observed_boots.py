"""Boots of `topbit table --observe` that were recorded: the guest's records, nothing else.

Recorded with `topbit.machine.qemu.observe.observe` on Debian's kernels; of the kernel's own drivers
the first few mappings are kept.
"""

from __future__ import annotations

import functools

from paths import ROOT
from topbit.machine.qemu.observe import Observation, seen_in
from topbit.recording import Recording
from topbit.report.dma_asks import Asked, asked, questions
from topbit.report.dma_observed import compared
from topbit.report.dma_observed_table import ObservedTable

FOLDER = ROOT / "tests/data/observe"


@functools.cache
def recorded(series: str, bits: int) -> Recording:
    """Which recording is of this kernel in a Realm of this width?"""
    return Recording.read(FOLDER / f"{series}-{bits}.parquet")


def rows(series: str, bits: int) -> list[Asked]:
    release = recorded(series, bits).platform.kernel
    assert release is not None
    return asked(release, bits)


def observation(series: str, bits: int) -> Observation:
    return seen_in(recorded(series, bits), questions(rows(series, bits)))


@functools.cache
def table(*boots: tuple[str, int]) -> ObservedTable:
    """What came of these boots, of one kernel?"""
    release = recorded(*boots[0]).platform.kernel
    assert release is not None
    return ObservedTable(
        release, tuple(compared(rows(*boot), observation(*boot)) for boot in boots)
    )
