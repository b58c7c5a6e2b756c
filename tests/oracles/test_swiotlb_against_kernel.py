"""The modelled swiotlb and the kernel's own, compiled unchanged, do the same.

Slots chosen, addresses, slots used, bytes and printed lines must agree, for random maps, unmaps and
syncs from a seed that is printed.
"""

import os
from pathlib import Path

import pytest

import needs
from swiotlb_growing import GrowingTwin
from swiotlb_oracle import Twin, build, run_kernels

SEED = int(os.environ.get("TOPBIT_SWIOTLB_SEED", "1"))
SHORT, LONG = 6_000, 100_000
EACH = 2_000  # operations of one run
DYNAMIC = "-DDYNAMIC"  # with CONFIG_SWIOTLB_DYNAMIC


def agree(series: str, operations: int, folder: Path, *flags: str) -> None:
    program = build(needs.source(series), folder / series, "drive.c", *flags)
    kind = GrowingTwin if flags else Twin
    for number in range(operations // EACH):
        seed = SEED * 1_000_000 + number
        nareas = (1, 2, 4)[number % 3]
        # A wrong bit in the pool's device address now and then: no slot fits, or others do.
        twin = kind(seed, nareas=nareas, bits=(0, 1 << 40, 0, 0x200)[number % 4])
        twin.run(EACH)
        kernels = run_kernels(program, twin)
        where = f"Linux {series}, seed {seed}"
        for at, (mine, theirs) in enumerate(zip(twin.results, kernels.results, strict=True)):
            assert mine == theirs, f"{where}, operation {at}"
        assert twin.pool.pools[-1].free == kernels.free, where
        assert twin.checksum() == kernels.checksum, where
        assert twin.pool.max_mapping_size(twin.device) == kernels.max_mapping_size, where
        assert twin.printed()[-50:] == kernels.printed[-50:], where
    grown = ", the pool growing" if flags else ""
    print(f"Linux {series}{grown}: {operations} operations agree, from seed {SEED * 1_000_000}")


def test_random_operations(tmp_path: Path) -> None:
    agree("7.3", SHORT, tmp_path)


def test_random_operations_while_the_pool_grows(tmp_path: Path) -> None:
    agree("7.3", SHORT, tmp_path, DYNAMIC)


@pytest.mark.slow
@pytest.mark.parametrize("series", ["6.12", "7.2", "7.3"])
def test_many_random_operations(series: str, tmp_path: Path) -> None:
    agree(series, LONG, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("series", ["6.12", "7.2", "7.3"])
def test_many_random_operations_while_the_pool_grows(series: str, tmp_path: Path) -> None:
    agree(series, LONG, tmp_path, DYNAMIC)
