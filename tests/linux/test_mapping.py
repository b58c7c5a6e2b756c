"""What does the kernel trace when a driver maps memory?"""

import pytest

from guest_bench import BUFFER, POOL, GuestBench
from guest_cpu import PAGE, RAM, S
from topbit.addressing.dma_direct import DMA_MAPPING_ERROR, BusDmaRegion
from topbit.events import Event

ALL = (1 << 64) - 1


@pytest.mark.parametrize(("release", "forced"), [("7.2", "FORCE"), ("7.3", "NORMAL")])
def test_a_bounced_mapping_is_traced_by_the_original_buffer(release: str, forced: str) -> None:
    bench = GuestBench(release)
    dma_addr = bench.kernel.dma.dma_map_phys(bench.device(), BUFFER, 100, "TO_DEVICE")
    assert dma_addr == POOL | S
    said = [event for event in bench.events if event.event != "helper"]
    assert said == [
        Event(
            "guest", "swiotlb_bounced", device="nvme0", phys=BUFFER, size=100, mask=ALL,
            status=forced,
        ),
        Event(
            "guest", "dma_map", device="nvme0", address=POOL | S, phys=BUFFER, size=100,
            direction="TO_DEVICE", mask=ALL, status="ok",
        ),
    ]  # fmt: skip


def test_the_bounced_address_is_the_originals_behind_dma_ranges_too() -> None:
    bench = GuestBench()
    device = bench.device(dma_ranges=(BusDmaRegion(RAM, 0, 4 << 20),))
    bench.kernel.dma.dma_map_phys(device, BUFFER, 100, "TO_DEVICE")
    (bounced,) = bench.of("swiotlb_bounced")
    assert bounced.phys == BUFFER - RAM
    (mapped,) = bench.of("dma_map")
    assert (mapped.phys, mapped.address) == (BUFFER, POOL - RAM | S)


def test_what_did_not_bounce_is_not_traced_as_bounced() -> None:
    bench = GuestBench()
    device = bench.device()
    device.force_unencrypted = False
    assert bench.kernel.dma.dma_map_phys(device, BUFFER, 100, "FROM_DEVICE") == BUFFER
    (event,) = bench.events
    assert (event.event, event.address, event.direction) == ("dma_map", BUFFER, "FROM_DEVICE")


def test_a_mapping_that_failed_is_an_error() -> None:
    bench = GuestBench()
    got = bench.kernel.dma.dma_map_phys(bench.device(32), BUFFER, 100, "TO_DEVICE")
    assert got == DMA_MAPPING_ERROR
    (event,) = bench.of("dma_map")
    assert (event.status, event.address, event.mask) == ("error", DMA_MAPPING_ERROR, 0xFFFF_FFFF)


def test_an_unmap_is_traced_and_ends_the_mapping() -> None:
    bench = GuestBench()
    device, dma = bench.device(), bench.kernel.dma
    dma_addr = dma.dma_map_phys(device, BUFFER, 4, "FROM_DEVICE")
    bench.kernel.memory.write(POOL, b"data")
    bench.events.clear()
    dma.dma_unmap_phys(device, dma_addr, 4, "FROM_DEVICE")
    assert bench.events[0] == Event(
        "guest", "dma_unmap", device="nvme0", address=dma_addr, size=4, direction="FROM_DEVICE"
    )
    assert bench.kernel.memory.read(BUFFER, 4) == b"data"
    assert bench.kernel.pool.slots_used() == 0


def test_coherent_memory_is_traced_both_ways() -> None:
    bench = GuestBench()
    device, dma = bench.device(), bench.kernel.dma
    got = dma.dma_alloc_coherent(device, PAGE)
    assert got is not None
    phys, dma_addr = got
    dma.dma_free_coherent(device, PAGE, phys, dma_addr)
    where = {"device": "nvme0", "address": phys | S, "size": PAGE, "direction": "BIDIRECTIONAL"}
    assert bench.of("dma_alloc") == [
        Event("guest", "dma_alloc", phys=phys, mask=ALL, status="ok", **where)
    ]
    assert bench.of("dma_free") == [Event("guest", "dma_free", **where)]
    assert bench.kernel.memory.ipa(phys) == phys
    assert bench.kernel.alloc_pages(1) == phys


def test_coherent_memory_that_no_address_fits_is_an_error() -> None:
    bench = GuestBench()
    assert bench.kernel.dma.dma_alloc_coherent(bench.device(32), PAGE) is None
    (event,) = bench.of("dma_alloc")
    assert (event.status, event.address, event.phys, event.mask) == ("error", 0, None, 0xFFFF_FFFF)
