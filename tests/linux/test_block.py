"""How does a block driver use its buffer, its transport and the DMA API?"""

import pytest

from guest_bench import POOL, GuestBench
from guest_cpu import PAGE, RAM, S
from topbit.linux.block import BlockDriver

FIRST = RAM + PAGE  # the first page that the kernel gives


class Medium:
    """A transport that moves bytes between guest memory and a disk, or fails."""

    def __init__(self, bench: GuestBench) -> None:
        self.bench = bench
        self.disk = bytearray(b"disk" * 2048)
        self.requests: list[tuple[int, int, int, bool]] = []
        self.works = True

    def probe(self) -> bool:
        return self.works

    def submit(self, dma_addr: int, size: int, sector: int, *, to_device: bool) -> bool:
        self.requests.append((dma_addr, size, sector, to_device))
        phys, at, memory = dma_addr & ~S, sector * 512, self.bench.kernel.memory
        if not self.works:
            return False
        if to_device:
            self.disk[at : at + size] = memory.read(phys, size)
        else:
            memory.write(phys, bytes(self.disk[at : at + size]))
        return True

    def remove(self) -> None:
        raise AssertionError("nobody asked")


class Bench(GuestBench):
    def __init__(self, mask_bits: int = 64) -> None:
        super().__init__()
        self.medium = Medium(self)
        self.driver = BlockDriver(self.kernel, self.device(mask_bits), self.medium)

    def nothing_is_left(self) -> bool:
        return self.kernel.pool.slots_used() == 0


def test_what_is_written_reaches_the_disk() -> None:
    bench = Bench()
    assert bench.driver.write(2, b"payload" * 100)
    assert bench.medium.disk[1024:1724] == b"payload" * 100
    assert bench.medium.requests == [(POOL | S, 700, 2, True)]
    assert bench.driver.status == "ok"
    assert [event.direction for event in bench.of("dma_map")] == ["TO_DEVICE"]
    assert [event.direction for event in bench.of("dma_unmap")] == ["TO_DEVICE"]
    assert bench.nothing_is_left()
    assert bench.kernel.alloc_pages(1) == FIRST


def test_what_the_disk_holds_is_read() -> None:
    bench = Bench()
    bench.medium.disk[512:516] = b"here"
    assert bench.driver.read(1, 6) == b"heredi"
    assert bench.medium.requests == [(POOL | S, 6, 1, False)]
    assert [event.direction for event in bench.of("dma_map")] == ["FROM_DEVICE"]
    assert bench.nothing_is_left()
    assert bench.kernel.alloc_pages(1) == FIRST


@pytest.mark.parametrize(("size", "pages"), [(1, 1), (PAGE, 1), (PAGE + 1, 2)])
def test_a_buffer_is_whole_pages_and_goes_back(size: int, pages: int) -> None:
    bench = Bench()
    assert bench.driver.read(0, size) is not None
    assert bench.kernel.alloc_pages(pages) == FIRST
    assert bench.kernel.alloc_pages(1) == FIRST + pages * PAGE


def test_a_request_that_failed_is_an_io_error_and_leaves_nothing() -> None:
    bench = Bench()
    bench.medium.works = False
    assert bench.driver.read(5, 512) is None
    assert bench.driver.status == "io error"
    assert bench.logs() == ["nvme0: I/O error, sector 5"]
    assert bench.driver.write(6, b"x") is False
    assert bench.logs()[1:] == ["nvme0: I/O error, sector 6"]
    assert bench.nothing_is_left()
    bench.medium.works = True
    assert bench.driver.write(6, b"x")
    assert bench.driver.status == "ok"


def test_a_buffer_that_cannot_be_mapped_is_no_request() -> None:
    bench = Bench(mask_bits=32)
    assert bench.driver.write(0, b"x") is False
    assert bench.driver.status == "map failed"
    assert bench.driver.read(0, 1) is None
    assert bench.medium.requests == []
    assert bench.kernel.alloc_pages(1) == FIRST


def test_a_probe_that_failed_is_told() -> None:
    bench = Bench()
    assert bench.driver.probe()
    assert bench.logs() == []
    assert bench.driver.status == "ok"
    bench.medium.works = False
    assert not bench.driver.probe()
    assert bench.logs() == ["nvme0: probe failed with error -12"]
    assert bench.driver.status == "probe failed"


def test_a_guest_without_memory_says_so() -> None:
    with pytest.raises(MemoryError, match="the modelled guest is out of memory"):
        Bench().driver.read(0, 4 << 20)
