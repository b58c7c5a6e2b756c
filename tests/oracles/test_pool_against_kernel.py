"""The modelled atomic pool and the kernel's own, compiled unchanged, do the same.

kernel/dma/pool.c on the tree's lib/genalloc.c: places chosen, what is free, how the pool grows,
what is given back, bytes and printed lines must agree, for requests from a seed that is printed.
"""

import os
from pathlib import Path

import pytest

import needs
from pool_oracle import Twin, run_kernels
from swiotlb_oracle import build

SEED = int(os.environ.get("TOPBIT_POOL_SEED", "1"))
SHORT, LONG = 6_000, 100_000
EACH = 2_000  # requests of one run


def agree(series: str, requests: int, folder: Path) -> None:
    program = build(needs.source(series), folder / series, "pool_drive.c")
    for number in range(requests // EACH):
        seed = SEED * 1_000_000 + number
        twin = Twin(series_release(series), seed, shared=number % 3 > 0)
        twin.run(EACH)
        results, checksum, printed = run_kernels(program, twin)
        where = f"Linux {series}, seed {seed}"
        for at, (mine, theirs) in enumerate(zip(twin.results, results, strict=True)):
            assert mine == theirs, f"{where}, request {at}: {twin.lines[at]}"
        assert twin.checksum() == checksum, where
        assert twin.printed()[-50:] == printed[-50:], where
    print(f"Linux {series}: {requests} requests agree, from seed {SEED * 1_000_000}")


def series_release(series: str) -> str:
    """Of which release are the sources? Their folder says it."""
    return needs.source(series).name.partition("-")[2]


def test_random_requests(tmp_path: Path) -> None:
    agree("7.3", SHORT, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("series", ["6.12", "7.2", "7.3"])
def test_many_random_requests(series: str, tmp_path: Path) -> None:
    agree(series, LONG, tmp_path)
