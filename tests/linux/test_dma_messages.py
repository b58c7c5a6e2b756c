"""Lines of kernels about refused requests, in short."""

from __future__ import annotations

import pytest

from topbit.linux.dma_messages import in_short


@pytest.mark.parametrize(
    ("line", "short"),
    [
        ("dev: swiotlb addr 0x0000010076b00000+512 overflow (mask ffffffff, bus limit 0).",
         "swiotlb overflow"),
        ("dev: DMA addr 0x0000000000000000+512 overflow (mask ffffffffffffffff, bus limit 0).",
         "DMA addr overflow"),
        ("dev: swiotlb buffer is full (sz: 512 bytes), total 512 (slots), used 512 (slots)",
         "swiotlb full"),
        ("DMA pool exhausted for dev", "DMA pool exhausted"),
        ("Failed to get suitable pool for dev", "no suitable pool"),
        ("Failed to decrypt memory, 1 pages will be leaked", ""),
    ],
)  # fmt: skip
def test_in_short(line: str, short: str) -> None:
    assert in_short(line) == short
