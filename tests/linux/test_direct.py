"""Which DMA address does a buffer get, and what happens when none fits the device?"""

import dataclasses

import pytest

from guest_bench import BUFFER, POOL, POOL_SIZE, GuestBench
from guest_cpu import PAGE, RAM, S
from topbit.addressing.dma_direct import (
    DMA_MAPPING_ERROR,
    PHYS_ADDR_INVALID,
    BusDmaRegion,
    phys_to_dma_unencrypted,
)
from topbit.linux import direct as direct_module
from topbit.linux.device import Device
from topbit.linux.direct import DmaDirect

OFFSET = 0x1000_0000
RANGES = (BusDmaRegion(RAM, RAM - OFFSET, 4 << 20),)


def direct(bench: GuestBench) -> DmaDirect:
    return bench.kernel.dma.direct


def private(bench: GuestBench, mask_bits: int = 64) -> Device:
    """A device that may use private memory."""
    device = bench.device(mask_bits)
    device.force_unencrypted = False
    return device


def test_a_forced_device_gets_a_bounce_slot_at_its_alias() -> None:
    bench = GuestBench()
    bench.kernel.memory.write(BUFFER, b"payload")
    dma_addr = direct(bench).map_phys(bench.device(), BUFFER, 7, "TO_DEVICE")
    assert dma_addr == POOL | S
    assert bench.kernel.memory.read(POOL, 7) == b"payload"
    (helper,) = bench.of("helper")
    assert (helper.attrs, helper.phys, helper.address) == (
        "phys_to_dma_unencrypted",
        POOL,
        POOL | S,
    )
    assert (helper.device, bench.kernel.pool.slots_used()) == ("nvme0", 1)


def test_a_device_of_private_memory_gets_the_buffer_itself() -> None:
    bench = GuestBench()
    assert direct(bench).map_phys(private(bench), BUFFER, 7, "TO_DEVICE") == BUFFER
    assert bench.kernel.pool.slots_used() == 0
    assert bench.events == []


@pytest.mark.parametrize(("size", "fits"), [(PAGE, True), (PAGE + 1, False)])
@pytest.mark.parametrize(("release", "otherwise"), [("7.2", POOL | S), ("7.3", DMA_MAPPING_ERROR)])
def test_a_private_buffer_must_end_below_the_devices_mask(
    release: str, otherwise: int, size: int, fits: bool
) -> None:
    """Else it bounces through the shared pool; from 7.3 on that is refused without a word."""
    bench = GuestBench(release)
    phys = BUFFER
    device = private(bench, 64)
    device.dma = dataclasses.replace(device.dma, bus_dma_limit=(POOL + PAGE | S) - 1)
    assert direct(bench).map_phys(device, phys, size, "TO_DEVICE") == phys
    device.dma = dataclasses.replace(device.dma, bus_dma_limit=0, dma_mask=phys + PAGE - 1)
    got = direct(bench).map_phys(device, phys, size, "TO_DEVICE")
    if fits:
        assert got == phys
    elif release == "7.3":
        assert (got, bench.logs()) == (otherwise, [])
    else:
        assert got == DMA_MAPPING_ERROR  # the bounce buffer is out of its reach as well
        assert bench.logs() == [
            f"nvme0: swiotlb addr 0x{otherwise:016x}+{size} overflow "
            f"(mask {phys + PAGE - 1:x}, bus limit 0)."
        ]


def test_a_bounce_slot_that_the_device_cannot_drive_is_given_back() -> None:
    bench = GuestBench()
    device = bench.device(40)
    assert direct(bench).map_phys(device, BUFFER, 512, "TO_DEVICE") == DMA_MAPPING_ERROR
    assert bench.kernel.pool.slots_used() == 0
    assert bench.logs() == [
        f"nvme0: swiotlb addr 0x{POOL | S:016x}+512 overflow (mask ffffffffff, bus limit 0)."
    ]
    slot = POOL + 2048  # the search goes on behind the one that was given back
    assert direct(bench).map_phys(bench.device(41), BUFFER, 512, "TO_DEVICE") == slot | S


def test_what_a_slot_held_is_not_copied_back_when_it_is_given_back() -> None:
    bench = GuestBench()
    bench.kernel.memory.write(BUFFER, b"mine")
    direct(bench).map_phys(bench.device(40), BUFFER, 4, "TO_DEVICE")
    assert bench.kernel.memory.read(BUFFER, 4) == b"mine"


def test_a_full_pool_is_told_with_its_figures() -> None:
    bench = GuestBench()
    device = bench.device()
    for _ in range(4):
        direct(bench).map_phys(device, BUFFER, 256 << 10, "TO_DEVICE")
    assert direct(bench).map_phys(device, BUFFER, 1, "TO_DEVICE") == DMA_MAPPING_ERROR
    assert bench.logs() == [
        "nvme0: swiotlb buffer is full (sz: 1 bytes), total 512 (slots), used 512 (slots)"
    ]


def test_an_unmapped_slot_is_copied_back_and_free() -> None:
    bench = GuestBench()
    device = bench.device()
    dma_addr = direct(bench).map_phys(device, BUFFER, 4, "TO_DEVICE")
    bench.kernel.memory.write(POOL, b"data")
    bench.events.clear()
    assert direct(bench).unmap_phys(device, dma_addr, 4, "FROM_DEVICE") == POOL
    assert bench.kernel.memory.read(BUFFER, 4) == b"data"
    assert bench.kernel.pool.slots_used() == 0
    (helper,) = bench.of("helper")
    assert (helper.attrs, helper.phys, helper.address) == ("dma_to_phys", POOL, dma_addr)


def test_an_address_that_is_no_slot_ends_nothing() -> None:
    bench = GuestBench()
    device = bench.device()
    direct(bench).map_phys(device, BUFFER, 4, "TO_DEVICE")
    assert direct(bench).unmap_phys(device, POOL + 2048 | S, 4, "FROM_DEVICE") == POOL + 2048
    assert bench.kernel.pool.slots_used() == 1


@pytest.mark.parametrize(
    ("release", "alias", "looked_up", "found", "phys"),
    [
        ("6.15", S, POOL - OFFSET, POOL, POOL),
        ("6.14", 0, POOL - OFFSET, POOL, POOL),
        ("6.14", S, POOL - OFFSET | S, PHYS_ADDR_INVALID, PHYS_ADDR_INVALID & ~S),
    ],
)
def test_behind_dma_ranges_the_order_of_lookup_and_bit_decides(
    release: str, alias: int, looked_up: int, found: int, phys: int
) -> None:
    bench = GuestBench(release)
    device = bench.device(dma_ranges=RANGES)
    assert direct(bench).map_phys(device, BUFFER, 4, "TO_DEVICE") == POOL - OFFSET | (
        S if release == "6.15" else 0
    )
    bench.events.clear()
    assert direct(bench).unmap_phys(device, POOL - OFFSET | alias, 4, "TO_DEVICE") == phys
    told = [(event.attrs, event.phys, event.address) for event in bench.of("helper")]
    assert told == [
        ("translate_dma_to_phys", found, looked_up),
        ("dma_to_phys", phys, POOL - OFFSET | alias),
    ]
    assert bench.kernel.pool.slots_used() == (0 if phys == POOL else 1)


def test_the_pool_stands_at_the_end_of_memory() -> None:
    bench = GuestBench()
    assert (bench.kernel.pool.start, bench.kernel.pool.size) == (POOL, POOL_SIZE)


@pytest.mark.parametrize("ranges", [(), RANGES])
@pytest.mark.parametrize("release", ["6.14", "7.3"])
def test_an_address_is_looked_up_once(
    release: str, ranges: tuple[BusDmaRegion, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = GuestBench(release)
    device = bench.device(dma_ranges=ranges)
    lookups = []
    look_up = direct_module.translate_dma_to_phys
    monkeypatch.setattr(
        direct_module,
        "translate_dma_to_phys",
        lambda *args: lookups.append(args) or look_up(*args),
    )
    direct(bench).unmap_phys(device, phys_to_dma_unencrypted(device.dma, POOL), 4, "TO_DEVICE")
    assert len(lookups) == 1


def test_what_the_lookup_finds_is_what_is_unmapped(monkeypatch: pytest.MonkeyPatch) -> None:
    """A lookup that goes wrong shows in the trace and in the act alike."""
    bench = GuestBench()
    device = bench.device(dma_ranges=RANGES)
    monkeypatch.setattr(direct_module, "translate_dma_to_phys", lambda regions, bus: 0x1234)
    assert direct(bench).unmap_phys(device, POOL - OFFSET | S, 4, "TO_DEVICE") == 0x1234
    assert [(event.attrs, event.phys, event.address) for event in bench.of("helper")] == [
        ("translate_dma_to_phys", 0x1234, POOL - OFFSET),
        ("dma_to_phys", 0x1234, POOL - OFFSET | S),
    ]
