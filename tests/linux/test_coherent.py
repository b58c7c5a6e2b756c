"""Which memory do CPU and device share for long?"""

import pytest

from guest_bench import POOL, GuestBench
from guest_cpu import PAGE, RAM, S
from topbit.addressing.dma_direct import BusDmaRegion
from topbit.arch.rsi import RsiStatus
from topbit.linux.coherent import CoherentMemory
from topbit.linux.cpu import SynchronousExternalAbort
from topbit.linux.device import Device
from topbit.linux.swiotlb import IoTlbMem


def coherent(bench: GuestBench) -> CoherentMemory:
    return bench.kernel.dma.coherent


def private(bench: GuestBench) -> Device:
    """A device that may use private memory."""
    device = bench.device()
    device.force_unencrypted = False
    return device


def test_coherent_memory_is_shared_zeroed_and_aliased() -> None:
    bench = GuestBench()
    bench.cpu.shared[:] = b"\xff" * len(bench.cpu.shared)
    got = coherent(bench).alloc(bench.device(), PAGE + 1)
    assert got is not None
    phys, dma_addr = got
    assert dma_addr == phys | S
    assert bench.kernel.memory.shared.nonzero()[0].tolist()[:2] == [
        (phys - RAM) // PAGE,
        (phys - RAM) // PAGE + 1,
    ]
    assert not any(bench.kernel.memory.read(phys, 2 * PAGE))
    assert bench.cpu.shared[phys - RAM + 2 * PAGE] == 0xFF


def test_coherent_memory_of_a_private_device_stays_private() -> None:
    bench = GuestBench()
    device = private(bench)
    got = coherent(bench).alloc(device, PAGE)
    assert got is not None
    phys, dma_addr = got
    assert dma_addr == phys
    assert bench.cpu.calls == []
    coherent(bench).free(device, phys, PAGE)
    assert bench.cpu.calls == []
    assert bench.kernel.alloc_pages(1) == phys


@pytest.mark.parametrize(("beyond", "fits"), [(0, True), (1, False)])
@pytest.mark.parametrize("bus", [False, True])
def test_coherent_memory_must_end_at_the_limit(beyond: int, fits: bool, bus: bool) -> None:
    bench = GuestBench()
    phys = bench.kernel.alloc_pages(1)
    assert phys is not None
    bench.kernel.free_pages(phys, 1)
    limit = (phys | S) + PAGE - 1 - beyond
    device = bench.device(bus_dma_limit=limit if bus else 0)
    device.coherent_dma_mask = (1 << 64) - 1 if bus else limit
    assert (coherent(bench).alloc(device, PAGE) is not None) == fits
    if not fits:
        assert bench.kernel.alloc_pages(1) == phys  # it went back
        assert bench.cpu.calls == []


def test_coherent_memory_outside_the_dma_ranges_is_none() -> None:
    bench = GuestBench()
    device = bench.device(dma_ranges=(BusDmaRegion(0, 0, PAGE),))
    assert coherent(bench).alloc(device, PAGE) is None
    assert bench.kernel.alloc_pages(1) == RAM + PAGE


def test_pages_that_cannot_be_shared_are_leaked() -> None:
    bench = GuestBench()
    bench.cpu.answers = [(RsiStatus.ERROR_INPUT, RAM, 0)]
    assert coherent(bench).alloc(bench.device(), 2 * PAGE) is None
    assert bench.logs() == ["Failed to decrypt memory, 2 pages will be leaked"]
    assert bench.kernel.alloc_pages(2) == RAM + 3 * PAGE


def test_a_kernel_without_pages_gives_no_coherent_memory() -> None:
    bench = GuestBench()
    assert coherent(bench).alloc(bench.device(), 4 << 20) is None
    assert bench.cpu.calls == []


def test_freed_coherent_memory_is_private_again() -> None:
    bench = GuestBench()
    device = bench.device()
    got = coherent(bench).alloc(device, 2 * PAGE)
    assert got is not None
    coherent(bench).free(device, got[0], PAGE + 1)
    assert bench.kernel.memory.ipa(got[0]) == got[0]
    assert bench.kernel.memory.ipa(got[0] + PAGE) == got[0] + PAGE
    assert bench.kernel.alloc_pages(2) == got[0]


def test_pages_that_cannot_be_made_private_again_are_leaked() -> None:
    bench = GuestBench()
    device = bench.device()
    got = coherent(bench).alloc(device, PAGE)
    assert got is not None
    bench.cpu.answers = [(RsiStatus.ERROR_INPUT, got[0], 0)]
    coherent(bench).free(device, got[0], PAGE)
    assert bench.logs() == ["leaking DMA memory that can't be re-encrypted"]
    assert bench.kernel.alloc_pages(1) != got[0]


def test_remapped_memory_is_shared_from_7_3_on() -> None:
    bench = GuestBench("7.3")
    device = bench.device()
    device.coherent = False
    got = coherent(bench).alloc(device, 2 * PAGE)
    assert got is not None
    phys, dma_addr = got
    assert dma_addr == phys | S
    assert bench.cpu.is_shared[(phys - RAM) // PAGE]
    coherent(bench).free(device, phys, PAGE)
    assert not bench.cpu.is_shared[(phys - RAM) // PAGE]


def test_before_a_realm_oopses_as_it_zeroes_remapped_memory() -> None:
    """A device without coherent caches was to get the alias of a private page."""
    bench = GuestBench("7.2")
    device = bench.device()
    device.coherent = False
    with pytest.raises(SynchronousExternalAbort) as aborted:
        coherent(bench).alloc(device, PAGE)
    assert aborted.value.ipa & S
    assert not bench.cpu.is_shared[((aborted.value.ipa & ~S) - RAM) // PAGE]


@pytest.mark.parametrize("release", ["7.2", "7.3"])
def test_remapped_memory_of_a_private_device_is_zeroed_where_it_stands(release: str) -> None:
    bench = GuestBench(release)
    device = private(bench)
    device.coherent = False
    bench.cpu.private[:] = b"\xff" * len(bench.cpu.private)
    got = coherent(bench).alloc(device, 2 * PAGE)
    assert got is not None
    assert got[0] == got[1]
    assert not any(bench.kernel.memory.read(got[0], 2 * PAGE))
    assert bench.kernel.memory.read(got[0] + 2 * PAGE, 1) == b"\xff"


def test_who_may_not_sleep_gets_pages_that_were_shared_before() -> None:
    bench = GuestBench()
    device = bench.device()
    first = coherent(bench).alloc(device, PAGE, atomic=True)
    assert first is not None
    bench.cpu.calls.clear()
    second = coherent(bench).alloc(device, PAGE, atomic=True)
    assert second == (first[0] + PAGE, (first[0] + PAGE) | S)
    coherent(bench).free(device, second[0], PAGE)
    assert bench.cpu.calls == []  # the pool stays shared
    assert coherent(bench).alloc(device, PAGE, atomic=True) == second


@pytest.mark.parametrize(
    ("release", "said"),
    [
        ("6.18.14", "Failed to get suitable pool for nvme0"),
        ("6.18.15", "DMA pool exhausted for nvme0"),
        ("7.3", "DMA pool exhausted for nvme0"),
    ],
)
def test_a_page_of_the_atomic_pool_that_is_out_of_reach_goes_back(release: str, said: str) -> None:
    bench = GuestBench(release)
    device = bench.device()
    device.name = "nvme0"
    device.coherent_dma_mask = 0xFFFF_FFFF
    assert coherent(bench).alloc(device, PAGE, atomic=True) is None
    assert bench.logs() == [said]
    got = coherent(bench).alloc(bench.device(), PAGE, atomic=True)
    assert got is not None
    assert coherent(bench).alloc(private(bench), PAGE, atomic=True) != got  # an ordinary page


@pytest.mark.parametrize(("release", "other"), [("7.2", POOL), ("7.3", None)])
def test_a_restricted_pool_gives_coherent_memory_too(release: str, other: int | None) -> None:
    bench = GuestBench(release)
    pool = bench.kernel.pool
    pool.for_alloc = pool.force_bounce = True
    assert isinstance(pool, IoTlbMem)
    assert coherent(bench).alloc(bench.device(), PAGE) == (POOL, POOL | S)
    assert bench.cpu.calls == []
    coherent(bench).free(bench.device(), POOL, PAGE)
    assert (pool.slots_used(), bench.cpu.calls) == (0, [])
    # From 7.3 on a device that needs private memory is refused a shared pool.
    got = coherent(bench).alloc(private(bench), PAGE)
    assert (got[0] - PAGE if got else None) == other
