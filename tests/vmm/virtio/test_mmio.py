"""What do the registers of a virtio-mmio device answer, and what do they start?"""

import struct
from collections.abc import Callable

import pytest

from topbit.arch.virtio import Mmio, Status
from topbit.vmm.virtio.mmio import VirtioMmio
from topbit.vmm.virtio.virtqueue import Virtqueue, VirtqueueError
from virtio_bench import RING, DeviceBench

VERSION_1, ACCESS_PLATFORM = 1 << 32, 1 << 33
READY = Status.ACKNOWLEDGE | Status.DRIVER | Status.FEATURES_OK | Status.DRIVER_OK


class Backend:
    """A device with two queues that does what the test says."""

    device_id = 42
    queues = 2
    features = 1 << 3 | 1 << 35

    def __init__(self) -> None:
        self.served: list[int] = []
        self.act: Callable[[], int] = lambda: 0

    def config(self) -> bytes:
        return bytes(range(1, 7))

    def serve(self, index: int, queue: Virtqueue) -> int:
        self.served.append(index)
        return self.act()


class Bench(DeviceBench):
    def __init__(self) -> None:
        self.backend = Backend()
        super().__init__(self.backend)

    def __getitem__(self, register: int) -> int:
        return self.mmio.read_register(register)

    def __setitem__(self, register: int, value: int) -> None:
        self.mmio.write_register(register, value)


@pytest.fixture
def bench() -> Bench:
    return Bench()


def refuse() -> int:
    raise VirtqueueError("a ring of no sense")


def test_what_a_device_says_of_itself(bench: Bench) -> None:
    assert [bench[at] for at in (0, 4, 8, 12)] == [0x7472_6976, 2, 42, 0x7462_7074]
    assert bench[Mmio.QueueNumMax] == 256
    assert bench[Mmio.Status] == 0
    assert bench[0x0FC] == bench[0x18] == bench[3] == 0
    assert bench.levels == [False]
    assert bench.mmio.error == ""


def test_the_configuration_is_read_by_words_and_ends(bench: Bench) -> None:
    words = [bench[Mmio.Config + at] for at in (0, 2, 4, 6, 8, 0xF00)]
    assert words == [0x0403_0201, 0x0605_0403, 0x0605, 0, 0, 0]


@pytest.mark.parametrize(("half", "features"), [(0, 1 << 3), (1, 0b1011), (2, 0), (3, 0)])
def test_features_are_offered_in_halves(bench: Bench, half: int, features: int) -> None:
    bench[Mmio.DeviceFeaturesSel] = half
    assert bench[Mmio.DeviceFeatures] == features


@pytest.mark.parametrize(
    ("low", "high", "taken"),
    [
        (0, 2, True),
        (0, 3, True),
        (1 << 3, 0b1011, True),
        (0, 1, False),
        (1 << 3, 0, False),
        (1 << 2, 2, False),
        (0, 0b110, False),
    ],
)
def test_a_driver_takes_access_platform_and_nothing_that_is_not_offered(
    bench: Bench, low: int, high: int, taken: bool
) -> None:
    for half, value in ((1, high), (0, low), (2, 0xFFFF_FFFF)):
        bench[Mmio.DriverFeaturesSel] = half
        bench[Mmio.DriverFeatures] = value
    bench[Mmio.Status] = 11
    assert bench[Mmio.Status] == (11 if taken else 3)


def test_each_queue_has_its_own_registers(bench: Bench) -> None:
    for queue in (0, 1):
        bench[Mmio.QueueSel] = queue
        bench[Mmio.QueueNum] = 16 << queue
        for number, low in enumerate((0x80, 0x90, 0xA0)):
            bench[low] = 0x8000_0000 + 0x10 * number + queue
            bench[low + 4] = 0x100 + queue
        bench[Mmio.QueueReady] = queue
    for queue, got in enumerate(bench.mmio.queues):
        assert got.size == 16 << queue
        high = (0x100 + queue) << 32
        assert [got.desc, got.avail, got.used] == [
            high | 0x8000_0000 + 0x10 * number + queue for number in range(3)
        ]
        bench[Mmio.QueueSel] = queue
        assert bench[Mmio.QueueReady] == queue
        assert got.ready is bool(queue)


def test_a_half_of_an_address_is_replaced_alone(bench: Bench) -> None:
    for low, high in ((0xFFFF_FFFF, 0xFFFF_FFFF), (1, 2)):
        bench[Mmio.QueueDescLow] = low
        bench[Mmio.QueueDescHigh] = high
    assert bench.mmio.queues[0].desc == 2 << 32 | 1


@pytest.mark.parametrize(
    ("value", "size"), [(1, 1), (2, 2), (256, 256), (0, 8), (3, 8), (255, 8), (512, 8), (257, 8)]
)
def test_a_queue_has_a_power_of_two_of_entries(bench: Bench, value: int, size: int) -> None:
    bench[Mmio.QueueNum] = 8
    bench[Mmio.QueueNum] = value
    assert bench.mmio.queues[0].size == size


def test_a_queue_that_is_not_there_reads_zero_and_takes_nothing(bench: Bench) -> None:
    bench[Mmio.QueueSel] = 2
    assert bench[Mmio.QueueNumMax] == bench[Mmio.QueueReady] == 0
    bench[Mmio.QueueReady] = 1
    bench[Mmio.QueueNotify] = 2
    assert not any(queue.ready for queue in bench.mmio.queues)
    assert bench.backend.served == []


def test_only_the_lowest_bit_makes_a_queue_ready(bench: Bench) -> None:
    bench[Mmio.QueueReady] = 2
    assert bench[Mmio.QueueReady] == 0
    bench[Mmio.QueueReady] = 3
    assert bench[Mmio.QueueReady] == 1


def test_registers_have_32_bits(bench: Bench) -> None:
    bench[Mmio.QueueSel] = 1 << 32 | 1
    assert bench.mmio.select[Mmio.QueueSel] == 1


@pytest.mark.parametrize(
    ("status", "ready", "served"),
    [
        (READY, 1, [0]),
        (READY & ~Status.DRIVER_OK, 1, []),
        (READY, 0, []),
        (READY | Status.NEEDS_RESET, 1, []),
    ],
)
def test_a_notified_queue_is_served_once_driver_and_queue_are_ready(
    bench: Bench, status: int, ready: int, served: list[int]
) -> None:
    bench.start()
    bench[Mmio.QueueSel] = 0
    bench[Mmio.QueueReady] = ready
    bench.mmio.status = status
    bench[Mmio.QueueNotify] = 0
    assert bench.backend.served == served


def test_an_interrupt_waits_until_it_is_acknowledged(bench: Bench) -> None:
    bench.start()
    bench.levels.clear()
    bench[Mmio.QueueNotify] = 1
    assert (bench[Mmio.InterruptStatus], bench.levels) == (0, [])
    bench.backend.act = lambda: 1
    bench[Mmio.QueueNotify] = 1
    assert (bench[Mmio.InterruptStatus], bench.levels) == (1, [True])
    bench[Mmio.InterruptACK] = 2
    assert (bench[Mmio.InterruptStatus], bench.levels) == (1, [True, True])
    bench[Mmio.InterruptACK] = 1
    assert (bench[Mmio.InterruptStatus], bench.levels) == (0, [True, True, False])
    assert bench.backend.served == [1, 1]


def test_a_driver_that_wants_no_interrupt_gets_none(bench: Bench) -> None:
    bench.start()
    bench.levels.clear()
    bench.backend.act = lambda: 1
    bench.memory.write(RING + 0x100, struct.pack("<H", 1))
    bench[Mmio.QueueNotify] = 0
    assert bench.levels == []


def test_a_ring_of_no_sense_needs_a_reset_and_says_so_once(bench: Bench) -> None:
    bench.start()
    bench.backend.act = refuse
    bench.levels.clear()
    bench[Mmio.QueueNotify] = 0
    assert bench[Mmio.Status] == READY | Status.NEEDS_RESET
    assert (bench[Mmio.InterruptStatus], bench.levels) == (2, [True])
    assert bench.mmio.error == "a ring of no sense"
    bench[Mmio.QueueNotify] = 0
    assert bench.backend.served == [0]
    bench[Mmio.Status] = READY
    assert bench[Mmio.Status] == READY | Status.NEEDS_RESET


def test_a_reset_is_the_state_after_power_on(bench: Bench) -> None:
    bench.start()
    bench.backend.act = refuse
    bench[Mmio.QueueNotify] = 0
    bench[Mmio.DeviceFeaturesSel] = 1
    bench[Mmio.Status] = 0
    assert bench.levels[-1] is False
    assert [bench[at] for at in (Mmio.Status, Mmio.InterruptStatus, Mmio.QueueReady)] == [0, 0, 0]
    assert bench[Mmio.DeviceFeatures] == 1 << 3
    assert bench.mmio.features == 0
    for queue in bench.mmio.queues:
        assert (queue.size, queue.desc, queue.avail, queue.used) == (256, 0, 0, 0)
    bench.backend.act = lambda: 0
    bench.start()
    bench[Mmio.QueueNotify] = 0
    assert bench.backend.served == [0, 0]


def test_dma_that_is_refused_needs_a_reset(bench: Bench) -> None:
    bench.start()
    bench.backend.act = lambda: len(bench.dma.read(0x10, 4))
    bench[Mmio.QueueNotify] = 0
    assert bench[Mmio.Status] & Status.NEEDS_RESET
    assert bench.mmio.error == "unmapped: 0x0000000000000010"


def test_the_page_for_reads_without_a_trap_follows_each_change(bench: Bench) -> None:
    page = memoryview(bytearray(4096))
    bench.mmio = VirtioMmio(bench.backend, bench.dma, bench.levels.append, page)

    def same() -> bool:
        words = page.cast("I")
        return all(words[at // 4] == bench[at] for at in range(0, 4096, 4))

    assert same()
    bench.start()
    assert same()
    bench.backend.act = lambda: 1
    bench[Mmio.QueueNotify] = 0
    assert page[Mmio.InterruptStatus] == 1
    assert same()
    bench[Mmio.InterruptACK] = 1
    assert same()
    bench[Mmio.QueueSel] = 7
    assert same()
    bench[Mmio.DeviceFeaturesSel] = 1
    assert same()
    bench.backend.act = refuse
    bench[Mmio.QueueNotify] = 0
    assert same()
    assert page[Mmio.Status] & Status.NEEDS_RESET
    bench[Mmio.Status] = 0
    assert same()
    bench.start()
    bench.mmio.reset()
    assert same()
