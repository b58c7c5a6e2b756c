"""What would make a pool large enough? (`test_swiotlb.py` holds the advice as a whole.)"""

from __future__ import annotations

import pytest

from topbit.rules.pool_advice import amount, slots_that_hold


@pytest.mark.parametrize(
    ("size", "text"),
    [(2048, "2 KiB"), (1 << 20, "1 MiB"), (1 << 26, "64 MiB"), (1 << 30, "1 GiB"),
     (3 << 29, "1536 MiB"), (1 << 32, "4 GiB"), ((1 << 20) - 1024, "1023 KiB")],
)  # fmt: skip
def test_an_amount_of_memory(size: int, text: str) -> None:
    assert amount(size) == text


@pytest.mark.parametrize(
    ("asked", "used", "total", "slots"),
    [
        (208896, 407, 512, 2048),  # 512 + 102 slots, twice
        (2048, 510, 512, 2048),
        (2048, 511, 511, 1024),
        (2049, 511, 511, 2048),
        (None, 16384, 16384, 32768),
        (64, None, 512, None),
        (64, 512, None, None),
    ],
)
def test_how_many_slots_would_have_held(
    asked: int | None, used: int | None, total: int | None, slots: int | None
) -> None:
    assert slots_that_hold(asked, used, total) == slots
