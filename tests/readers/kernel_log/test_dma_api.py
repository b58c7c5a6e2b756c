"""Messages about drivers' use of the DMA API."""

from __future__ import annotations

import pytest

from log_lines import events_of, one
from topbit.readers.kernel_log.dma_api import KINDS

DEBUG = "DMA-API: nvme 0000:00:01.0: "
WHERE = "[device address=0x0000010078a9f000] [size=4096 bytes]"


@pytest.mark.parametrize(("words", "kind"), KINDS.items())
def test_every_kind_of_dma_debug(words: str, kind: str) -> None:
    event = one(f"{DEBUG}device driver {words} {WHERE}")
    assert (event.status, event.device, event.attrs) == (
        "dma_debug",
        "0000:00:01.0",
        f"kind={kind}",
    )
    assert (event.address, event.size) == (0x10078A9F000, 4096)


def test_both_sizes_of_an_unmap() -> None:
    event = one(
        DEBUG + "device driver frees DMA memory with different size [device "
        "address=0x0000000081f7f8c2] [map size=1536 bytes] [unmap size=42 bytes]"
    )
    assert (event.size, event.attrs) == (1536, "kind=different-size|unmap_size=42")


def test_the_device_may_stand_first() -> None:
    event = one(
        "etnaviv etnaviv: DMA-API: mapping sg segment longer than device claims to support "
        "[len=3145728] [max=65536]"
    )
    assert (event.device, event.size) == ("etnaviv", 3145728)


@pytest.mark.parametrize(
    "text",
    [
        "DMA-API: preallocated 65536 debug entries",
        "DMA-API: debugging enabled by kernel config",
        "DMA-API: Mapped at:",
        "nvme 0000:00:01.0: Using 48-bit DMA addresses",
        "mydrv 0000:00:01.0: DMA mapping errors: none, no error",
        "I think that dma_map_single() fails because the DMA mask is wrong.",
        "ACPI: No ACPI PMU IRQ for CPU0",
        "dma-pl330 fe530000.dmac: DBUFF-128x8bytes Num_Chans-8",
    ],
)
def test_what_is_no_trouble(text: str) -> None:
    assert events_of(text) == []


@pytest.mark.parametrize(
    ("text", "status"),
    [
        ("e1000e 0000:00:03.0: Rx DMA map failed", "map_failed"),
        ("mlx5_core 0000:00:04.0: failed to map dma", "map_failed"),
        ("foo 1.bar: DMA mapping error", "map_failed"),
        ("foo 1.bar: dma_map_single failed", "map_failed"),
        ("foo 1.bar: dma_alloc_coherent: cannot get 4096 bytes", "map_failed"),
        ("foo 1.bar: unable to allocate DMA memory", "map_failed"),
        ("macb ff0e0000.ethernet: DMA bus error: HRESP not OK", "io_failed"),
        ("foo 1.bar: No suitable DMA available", "mask_refused"),
        ("foo 1.bar: Failed to set 64-bit DMA mask", "mask_refused"),
    ],
)
def test_what_drivers_say(text: str, status: str) -> None:
    event = one(text)
    assert (event.event, event.status) == ("trouble", status)
    assert event.device == text.split()[1].rstrip(":")


@pytest.mark.parametrize("feature", ["ACCESS_PLATFORM", "VERSION_1"])
def test_a_virtio_device_that_was_refused(feature: str) -> None:
    event = one(f"virtio_blk virtio0: device must provide VIRTIO_F_{feature}")
    assert (event.status, event.device) == ("virtio_refused", "virtio0")
