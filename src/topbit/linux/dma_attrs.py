"""With which attributes does a driver map memory? (include/linux/dma-mapping.h, DMA_ATTR_*)"""

from __future__ import annotations

from enum import IntFlag

TO_DEVICE, FROM_DEVICE, BIDIRECTIONAL = "TO_DEVICE", "FROM_DEVICE", "BIDIRECTIONAL"
"""Directions of a mapping, as trace events name them (enum dma_data_direction)."""


class DmaAttr(IntFlag):
    """Attributes of a mapping, with the kernel's values and the names that traces show."""

    SKIP_CPU_SYNC = 1 << 5  # neither copied nor flushed
    NO_WARN = 1 << 8  # "swiotlb buffer is full" is not printed
    MMIO = 1 << 10  # device registers, no RAM (6.18 on; before: dma_map_resource)
    REQUIRE_COHERENT = 1 << 12  # must not bounce
    CC_SHARED = 1 << 13  # the memory is shared already (7.2 on)


NO_ATTRS = DmaAttr(0)


def shown(attrs: DmaAttr) -> str | None:
    """How do traces show them? MMIO|CC_SHARED; None for none."""
    return "|".join(attr.name or "" for attr in attrs) or None
