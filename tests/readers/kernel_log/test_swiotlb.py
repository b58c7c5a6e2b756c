"""Messages about bouncing, in every spelling that kernels have had."""

from __future__ import annotations

from typing import Any

import pytest

from log_lines import events_of, one

NVME = "nvme 0000:01:00.0: "
FULL = NVME + "swiotlb buffer is full (sz: 4096 bytes)"


@pytest.mark.parametrize(
    ("text", "attrs"),
    [
        (FULL + ", total 32768 (slots), used 32700 (slots)", "total=32768|used=32700"),
        (FULL + ", total 524288, used 564", "total=524288|used=564"),
        (FULL + ", total 0 (slots), used 0 (slots)", "total=0|used=0"),
        (FULL, None),
    ],
    ids=["5.3", "5.1", "no pool", "4.14"],
)
def test_a_full_pool(text: str, attrs: str | None) -> None:
    event = one(text)
    assert (event.event, event.status, event.size) == ("swiotlb_full", "error", 4096)
    assert (event.device, event.attrs, event.detail) == ("0000:01:00.0", attrs, text)


@pytest.mark.parametrize(
    "text",
    [
        FULL.replace("4096", "99999999999999999999"),
        FULL + ", total 32768",
        FULL + ", total 32768 (slots), used 327",
        FULL + ", total 99999999999999999999 (slots), used 1 (slots)",
        FULL[:-8],
    ],
)
def test_a_full_pool_whose_message_is_damaged(text: str, unparsed: list[str]) -> None:
    assert events_of(text, unparsed) == []
    assert unparsed == [text]


OVERFLOW: dict[str, tuple[str, dict[str, Any]]] = {
    "bounced": (
        "e1000e 0000:00:03.0: swiotlb addr 0x0000010097000000+4096 overflow (mask ffffffff, bus "
        "limit 0).",
        {"status": "bounce_overflow", "device": "0000:00:03.0", "address": 0x10097000000,
         "attrs": "bus_limit=0x0"},
    ),
    "direct": (
        "nvme 0000:00:03.0: DMA addr 0x0000000197000000+4096 overflow (mask ffffffff, bus limit "
        "1fffffff).",
        {"status": "dma_overflow", "device": "0000:00:03.0", "address": 0x197000000,
         "attrs": "bus_limit=0x1fffffff"},
    ),
    "5.4": (
        "vc4-drm gpu: overflow 0x00000001a7296000+4096 of DMA mask ffffffff bus limit ffffffff",
        {"status": "dma_overflow", "device": "gpu", "address": 0x1A7296000,
         "attrs": "bus_limit=0xffffffff"},
    ),
    "4.x": (
        "ahci 0000:00:1f.2: overflow 1a7296000+4096 of device mask ffffffff",
        {"status": "dma_overflow", "device": "0000:00:1f.2", "address": 0x1A7296000},
    ),
    "no driver": (
        "DMA addr 0x0000000197000000+4096 overflow (mask ffffffff, bus limit 0).",
        {"status": "dma_overflow", "device": None, "address": 0x197000000},
    ),
}  # fmt: skip


@pytest.mark.parametrize(("text", "expected"), OVERFLOW.values(), ids=OVERFLOW.keys())
def test_an_address_that_does_not_fit(text: str, expected: dict[str, Any]) -> None:
    event = one(text)
    assert {name: getattr(event, name) for name in expected} == expected
    assert (event.mask, event.size, event.detail) == (0xFFFFFFFF, 4096, text)


def test_an_overflow_that_is_cut_off(unparsed: list[str]) -> None:
    assert events_of("x d: swiotlb addr 0x1+4096 overflow (mask fff", unparsed) == []
    assert len(unparsed) == 1


@pytest.mark.parametrize(
    ("text", "status", "device", "size"),
    [
        ("DMA: Out of SW-IOMMU space for 9100 bytes at device 0000:02:00.0", "bounce_failed",
         "0000:02:00.0", 9100),
        ("dwc3 38200000.dwc3: DMA: Out of SW-IOMMU space for 16384 bytes ", "bounce_failed",
         "38200000.dwc3", 16384),
        ("nvme 0000:01:00.0: Can not allocate SWIOTLB buffer earlier and can't now provide you "
         "with the DMA bounce buffer", "pool_missing", "0000:01:00.0", None),
        ("software IO TLB: swiotlb_memblock_alloc: Failed to allocate 67108864 bytes tlb "
         "structure", "pool_missing", None, None),
        ("software IO TLB: No low mem", "pool_missing", None, None),
        ("software IO TLB: only able to allocate 4 MB", "pool_missing", None, None),
        ("software IO TLB: Failed to decrypt default memory pool, disabling it", "pool_disabled",
         None, None),
        ("software IO TLB: Failed to decrypt memory of SWIOTLB", "pool_disabled", None, None),
        ("nvme 0000:01:00.0: Buffer overflow detected. Allocation size: 512. Mapping size: 4096.",
         "bounce_sync", None, None),
        ("DMA pool exhausted for 0000:01:00.0", "atomic_pool", "0000:01:00.0", None),
        ("DMA: failed to allocate 128 KiB GFP_KERNEL pool for atomic allocation", "atomic_pool",
         None, None),
        ("foo foo.1: Restricted DMA pool must be accessible within the linear mapping.",
         "pool_missing", None, None),
    ],
)  # fmt: skip
def test_bouncing_that_failed(text: str, status: str, device: str | None, size: int | None) -> None:
    event = one(text)
    assert (event.event, event.status) == ("trouble", status)
    assert event.size == size
    if device:
        assert event.device == device


@pytest.mark.parametrize(
    "text",
    [
        "software IO TLB: area num 4.",
        "software IO TLB: mapped [mem 0x0000000097000000-0x000000009b000000] (64MB)",
        "software IO TLB: Memory encryption is active and system is using DMA bounce buffers",
        "software IO TLB: SWIOTLB bounce buffer size adjusted to 491MB",
    ],
)
def test_a_pool_that_is_well(text: str) -> None:
    assert events_of(text) == []
