"""What does a kernel's line about a refused request to its DMA API say, in short?

Source: Linux 7.2 kernel/dma/swiotlb.c:swiotlb_map, kernel/dma/direct.h:dma_direct_map_phys,
kernel/dma/pool.c:dma_alloc_from_pool.
"""

from __future__ import annotations

FULL = "swiotlb full"
_SHORT = {
    "swiotlb addr": "swiotlb overflow",
    "DMA addr": "DMA addr overflow",
    "buffer is full": FULL,
    "pool exhausted": "DMA pool exhausted",
    "suitable pool": "no suitable pool",
}
OOPS = "kernel oops"
"""What is said where the kernel itself meets an abort."""


def in_short(line: str) -> str:
    """What does the line say? Empty if it is about something else."""
    return next((short for words, short in _SHORT.items() if words in line), "")
