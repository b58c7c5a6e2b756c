"""How does the guest drive the model's DMA engine?"""

import struct

import pytest

from guest_bench import GuestBench
from guest_cpu import PAGE, RAM, S
from topbit.arch import dma_engine
from topbit.linux.dma_engine import EngineRing

PHYS = RAM + PAGE
MSI = 0x1_0809_0040


class Registers:
    """An engine that notes register writes, and at the doorbell does what the test says."""

    def __init__(self, bench: GuestBench) -> None:
        self.bench = bench
        self.written: list[tuple[int, int]] = []
        self.status: int | None = dma_engine.DONE
        self.ring: EngineRing | None = None
        self.command = b""

    def read_register(self, offset: int) -> int:
        raise AssertionError("the engine shows nothing")

    def write_register(self, offset: int, value: int) -> None:
        self.written.append((offset, value))
        if offset == dma_engine.DOORBELL:
            memory = self.bench.kernel.memory
            self.command = memory.read(PHYS, dma_engine.COMMAND_SIZE)
            if self.status is not None:
                memory.write(PHYS + dma_engine.STATUS_OFFSET, self.status.to_bytes(8, "little"))
            if self.ring is not None:
                self.ring.interrupt()


class Bench(GuestBench):
    def __init__(self, msi: int = 0, mask_bits: int = 64) -> None:
        super().__init__()
        self.port = Registers(self)
        interrupts = (msi,) if msi else ()
        self.ring = EngineRing(self.kernel, self.device(mask_bits), self.port, *interrupts)

    def submit(self, *, to_device: bool = True) -> bool:
        return self.ring.submit(0x1234_5678 | S, 512, 7, to_device=to_device)


def test_the_device_is_told_where_its_command_page_and_its_doorbell_are() -> None:
    bench = Bench(MSI)
    assert bench.ring.probe()
    assert (bench.ring.phys, bench.ring.dma_addr) == (PHYS, PHYS | S)
    assert bench.kernel.memory.ipa(PHYS) == PHYS | S
    assert bench.port.written == [
        (dma_engine.RING_LOW, PHYS & 0xFFFF_FFFF),
        (dma_engine.RING_HIGH, (PHYS | S) >> 32),
        (dma_engine.MSI_LOW, 0x0809_0040),
        (dma_engine.MSI_HIGH, 1),
    ]


def test_a_driver_that_polls_gives_no_doorbell() -> None:
    bench = Bench()
    assert bench.ring.probe()
    assert bench.port.written[2:] == [(dma_engine.MSI_LOW, 0), (dma_engine.MSI_HIGH, 0)]


def test_a_device_that_no_memory_fits_is_not_probed() -> None:
    bench = Bench(mask_bits=32)
    assert not bench.ring.probe()
    assert bench.port.written == []


@pytest.mark.parametrize(
    ("to_device", "opcode"), [(True, dma_engine.READ_MEMORY), (False, dma_engine.WRITE_MEMORY)]
)
def test_a_command_says_what_to_move(to_device: bool, opcode: int) -> None:
    bench = Bench()
    bench.ring.probe()
    assert bench.submit(to_device=to_device)
    expected = (opcode, 512, 0x1234_5678 | S, 7, dma_engine.PENDING)
    assert struct.unpack(dma_engine.COMMAND, bench.port.command) == expected
    assert bench.port.written[-1] == (dma_engine.DOORBELL, 1)


@pytest.mark.parametrize("status", [None, dma_engine.FAILED, dma_engine.PENDING])
def test_no_status_of_success_is_a_failure(status: int | None) -> None:
    bench = Bench(MSI)
    bench.ring.probe()
    bench.port.status = status
    assert not bench.submit()
    assert bench.logs() == []


@pytest.mark.parametrize(
    ("msi", "interrupts", "log"),
    [
        (MSI, True, []),
        (MSI, False, ["nvme0: I/O timeout, completion polled"]),
        (0, False, []),
    ],
)
def test_a_completion_without_its_interrupt_is_found_when_the_time_is_up(
    msi: int, interrupts: bool, log: list[str]
) -> None:
    bench = Bench(msi)
    bench.ring.probe()
    bench.port.ring = bench.ring if interrupts else None
    assert bench.submit()
    assert bench.submit()
    assert bench.logs() == log * 2
    assert bench.ring.interrupts == (2 if interrupts else 0)


def test_a_removed_driver_gives_its_page_back() -> None:
    bench = Bench()
    bench.ring.probe()
    bench.ring.remove()
    assert bench.kernel.memory.ipa(PHYS) == PHYS
    assert bench.kernel.alloc_pages(1) == PHYS
    (freed,) = bench.of("dma_free")
    assert (freed.address, freed.size) == (PHYS | S, dma_engine.COMMAND_PAGE)
