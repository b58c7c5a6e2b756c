"""The modelled dma-direct and the kernel's own, compiled unchanged, give the same addresses.

On seven platforms, for masks, bus limits, dma-ranges, attributes and pools at random, from a seed
that is printed: address, slots used, and which line the kernel prints; and required mask, supported
masks and the longest mapping.
"""

import os
from pathlib import Path

import pytest

import needs
from direct_oracle import Twin, run_kernels
from swiotlb_oracle import build
from topbit.addressing.kernel_policy import policy_for

SEED = int(os.environ.get("TOPBIT_DIRECT_SEED", "1"))
DEVICES, MAPPINGS = 500, 20


def agree(series: str, seed: int, folder: Path) -> None:
    program = build(needs.source(series), folder / series, "direct_drive.c")
    twin = Twin(policy_for(series), seed)
    twin.run(DEVICES, MAPPINGS)
    theirs = run_kernels(program, twin)
    for at, (mine, answer) in enumerate(zip(twin.results, theirs, strict=True)):
        assert mine == answer, f"Linux {series}, seed {seed}, answer {at}"
    print(f"Linux {series}: {len(theirs)} answers agree, from seed {seed}")


@pytest.mark.parametrize("series", ["7.2", "7.3"])
def test_random_mappings(series: str, tmp_path: Path) -> None:
    agree(series, SEED, tmp_path)
