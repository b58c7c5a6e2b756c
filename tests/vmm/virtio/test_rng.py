"""Emulated virtio-rng: fills what it is given, and nothing else."""

from topbit.arch.virtio import Mmio, Status
from topbit.vmm.virtio.rng import MAX_BUFFER, VirtioRng
from virtio_bench import DATA, WRITE, DeviceBench, S


def test_buffers_are_filled_through_the_alias() -> None:
    bench = DeviceBench(VirtioRng())
    bench.start()
    bench.offer(0, (DATA | S, 32, WRITE), (DATA + 0x100 | S, 32, WRITE))
    assert bench.used(0) == [64]
    first, second = bench.memory.read(DATA, 64), bench.memory.read(DATA + 0x100, 64)
    assert any(first[:32])
    assert any(second[:32])
    assert first[:32] != second[:32]
    assert not any(first[32:] + second[32:])
    assert bench.levels[-1] is True
    assert bench.mmio.backend.serve(0, bench.mmio.queues[0]) == 0


def test_a_huge_buffer_is_filled_in_part() -> None:
    bench = DeviceBench(VirtioRng())
    bench.start()
    bench.offer(0, (DATA | S, 4 * MAX_BUFFER, WRITE))
    assert bench.used(0) == [MAX_BUFFER]
    assert not any(bench.memory.read(DATA + MAX_BUFFER, 4096))


def test_private_memory_is_left_alone() -> None:
    bench = DeviceBench(VirtioRng())
    bench.start()
    bench.slot.shared[bench.slot.page(DATA)] = False
    bench.offer(0, (DATA | S, 32, WRITE))
    assert bench.mmio.read_register(Mmio.Status) & Status.NEEDS_RESET
    assert not any(bench.memory.read(DATA, 32))


def test_a_buffer_to_read_makes_no_sense() -> None:
    bench = DeviceBench(VirtioRng())
    bench.start()
    bench.offer(0, (DATA | S, 32, 0))
    assert bench.mmio.read_register(Mmio.Status) & Status.NEEDS_RESET
