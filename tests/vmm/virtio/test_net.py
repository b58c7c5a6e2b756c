"""Emulated virtio-net: frames cross the wire both ways, whatever the guest puts on the rings."""

import socket
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from topbit.arch.virtio import NET_HEADER_SIZE, Mmio, Status
from topbit.vmm.virtio.net import MAX_FRAME, RECEIVE, TRANSMIT, WAITING, VirtioNet
from virtio_bench import DATA, RAM, RING, SIZE, WRITE, DeviceBench, S

FRAME = bytes(range(200))


class NetBench(DeviceBench):
    def __init__(self) -> None:
        self.far, near = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.far.setblocking(False)
        self.net = VirtioNet(near, b"\x52\x54\0\0\0\1")
        super().__init__(self.net)
        self.start()

    def arrive(self, *frames: bytes) -> None:
        for frame in frames:
            self.far.send(frame)
        queue = self.net.fetch()
        if queue is not None:
            self.mmio.serve(queue)

    @property
    def broken(self) -> bool:
        return bool(self.mmio.read_register(Mmio.Status) & Status.NEEDS_RESET)

    def close(self) -> None:
        self.far.close()
        self.net.wire.close()


@pytest.fixture
def bench() -> Iterator[NetBench]:
    made = NetBench()
    yield made
    made.close()


def test_the_address_stands_in_the_configuration(bench: NetBench) -> None:
    word = bench.mmio.read_register(Mmio.Config)
    assert word.to_bytes(4, "little") == bench.net.mac[:4]


def test_there_is_a_queue_each_way_and_no_other(bench: NetBench) -> None:
    sizes = []
    for queue in (RECEIVE, TRANSMIT, TRANSMIT + 1):
        bench.mmio.write_register(Mmio.QueueSel, queue)
        sizes.append(bench.mmio.read_register(Mmio.QueueNumMax) > 0)
    assert sizes == [True, True, False]


def test_a_frame_is_sent_without_its_header(bench: NetBench) -> None:
    bench.memory.write(DATA, bytes(NET_HEADER_SIZE) + FRAME[:50])
    bench.memory.write(DATA + 0x800, FRAME[50:])
    bench.offer(TRANSMIT, (DATA | S, NET_HEADER_SIZE + 50, 0), (DATA + 0x800 | S, 150, 0))
    assert bench.far.recv(4096) == FRAME
    assert bench.used(TRANSMIT) == [0]
    assert bench.levels[-1] is True


def test_a_driver_that_wants_no_interrupt_gets_none(bench: NetBench) -> None:
    bench.memory.write(DATA, bytes(NET_HEADER_SIZE) + FRAME)
    bench.offer(TRANSMIT, (DATA | S, NET_HEADER_SIZE + len(FRAME), 0), flags=1)
    assert bench.far.recv(4096) == FRAME
    assert True not in bench.levels


def test_a_frame_that_comes_is_put_into_the_buffers(bench: NetBench) -> None:
    bench.offer(RECEIVE, (DATA | S, NET_HEADER_SIZE, WRITE), (DATA + 0x800 | S, 1514, WRITE))
    assert True not in bench.levels
    bench.arrive(FRAME)
    assert bench.used(RECEIVE) == [NET_HEADER_SIZE + len(FRAME)]
    assert bench.memory.read(DATA, NET_HEADER_SIZE) == bytes(10) + b"\1\0"
    assert bench.memory.read(DATA + 0x800, 200) == FRAME
    assert bench.levels[-1] is True


def test_a_frame_waits_for_a_buffer(bench: NetBench) -> None:
    bench.arrive(FRAME)
    assert bench.used(RECEIVE) == []
    bench.offer(RECEIVE, (DATA | S, 2048, WRITE))
    assert bench.memory.read(DATA + NET_HEADER_SIZE, 200) == FRAME


def test_too_many_frames_are_lost_not_kept(bench: NetBench) -> None:
    for _ in range(WAITING + 10):
        bench.arrive(FRAME)
    assert bench.net.lost == 10


def test_the_longest_frame_goes_both_ways(bench: NetBench) -> None:
    longest = bytes(range(253)) * 6
    assert len(longest) == MAX_FRAME
    bench.memory.write(DATA, bytes(NET_HEADER_SIZE) + longest)
    bench.offer(TRANSMIT, (DATA | S, NET_HEADER_SIZE + MAX_FRAME, 0))
    assert bench.far.recv(4096) == longest
    bench.offer(RECEIVE, (DATA + 0x1000 | S, NET_HEADER_SIZE + MAX_FRAME, WRITE))
    bench.arrive(longest)
    assert bench.memory.read(DATA + 0x1000 + NET_HEADER_SIZE, MAX_FRAME) == longest
    assert bench.net.lost == 0


def test_an_empty_frame_is_no_frame(bench: NetBench) -> None:
    bench.offer(TRANSMIT, (DATA | S, NET_HEADER_SIZE, 0))
    assert bench.net.lost == 1
    bench.arrive(b"")
    bench.offer(RECEIVE, (DATA | S, 2048, WRITE))
    assert bench.used(RECEIVE) == []
    assert bench.net.lost == 1


def test_what_the_card_says_of_itself(bench: NetBench) -> None:
    assert bench.mmio.read_register(Mmio.DeviceID) == 1
    assert bench.mmio.read_register(Mmio.DeviceFeatures) == 1 << 5
    assert bench.net.config() == b"\x52\x54\0\0\0\1"


def test_serving_tells_how_many_chains_were_completed(bench: NetBench) -> None:
    bench.memory.write(DATA, bytes(NET_HEADER_SIZE) + FRAME)
    bench.mmio.status &= ~Status.DRIVER_OK
    for _ in range(2):
        bench.offer(TRANSMIT, (DATA | S, NET_HEADER_SIZE + len(FRAME), 0))
    assert bench.net.serve(TRANSMIT, bench.mmio.queues[TRANSMIT]) == 2


def test_frames_are_given_in_their_order_and_one_a_buffer(bench: NetBench) -> None:
    bench.arrive(b"first", b"second")
    bench.offer(RECEIVE, (DATA | S, 1024, WRITE))
    assert bench.memory.read(DATA + NET_HEADER_SIZE, 5) == b"first"
    assert bench.used(RECEIVE) == [NET_HEADER_SIZE + 5]
    bench.offer(RECEIVE, (DATA + 0x800 | S, 1024, WRITE))
    assert bench.memory.read(DATA + 0x800 + NET_HEADER_SIZE, 6) == b"second"


def test_the_buffers_of_a_chain_are_filled_one_after_the_other(bench: NetBench) -> None:
    parts = [(DATA + 0x100 * n | S, 50, WRITE) for n in range(3)]
    bench.offer(RECEIVE, *parts, (DATA + 0x800 | S, 512, WRITE))
    bench.arrive(FRAME)
    whole = bytes(10) + b"\1\0" + FRAME
    got = [bench.memory.read(DATA + 0x100 * n, 51) for n in range(3)]
    assert got == [whole[50 * n : 50 * n + 50] + b"\0" for n in range(3)]
    assert bench.memory.read(DATA + 0x800, 63) == whole[150:] + b"\0"


def test_a_chain_may_be_just_as_long_as_its_frame(bench: NetBench) -> None:
    bench.offer(RECEIVE, (DATA | S, NET_HEADER_SIZE + len(FRAME), WRITE))
    bench.arrive(FRAME)
    assert bench.used(RECEIVE) == [NET_HEADER_SIZE + len(FRAME)]


def test_oversized_frames_are_lost(bench: NetBench) -> None:
    bench.arrive(bytes(MAX_FRAME + 1))
    bench.offer(TRANSMIT, (DATA | S, NET_HEADER_SIZE + MAX_FRAME + 1, 0))
    assert bench.net.lost == 2
    assert bench.used(TRANSMIT) == [0]
    assert not bench.broken


@pytest.mark.parametrize(
    ("queue", "buffer"),
    [
        (RECEIVE, (DATA | S, 2048, 0)),
        (RECEIVE, (DATA | S, 100, WRITE)),
        (RECEIVE, (RAM + SIZE - 100 | S, 2048, WRITE)),
        (TRANSMIT, (DATA | S, 100, WRITE)),
        (TRANSMIT, (RAM + SIZE | S, 100, 0)),
    ],
)
def test_buffers_that_cannot_be_used_end_the_device(
    bench: NetBench, queue: int, buffer: tuple[int, int, int]
) -> None:
    bench.offer(queue, buffer)
    bench.arrive(FRAME)
    assert bench.broken


def test_private_memory_is_neither_sent_nor_overwritten(bench: NetBench) -> None:
    bench.slot.shared[bench.slot.page(DATA)] = False
    bench.memory.write(DATA, bytes(NET_HEADER_SIZE) + FRAME)
    bench.offer(TRANSMIT, (DATA | S, NET_HEADER_SIZE + len(FRAME), 0))
    assert bench.broken
    with pytest.raises(BlockingIOError):
        bench.far.recv(4096)


def test_the_other_end_may_go(bench: NetBench) -> None:
    bench.far.close()
    assert bench.net.fetch() is None
    bench.offer(TRANSMIT, (DATA | S, NET_HEADER_SIZE + 60, 0))
    assert bench.used(TRANSMIT) == [0]
    assert bench.net.lost == 1


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.binary(min_size=0x640, max_size=0x640),
    st.lists(st.tuples(st.integers(0, 0x200), st.integers(0, (1 << 64) - 1)), max_size=8),
)
def test_any_ring_and_any_register_write_is_survived(
    rings: bytes, writes: list[tuple[int, int]]
) -> None:
    bench = NetBench()
    bench.slot.shared[: bench.slot.page(RING)] = False
    before = bench.memory.read(RAM, RING - RAM)
    bench.memory.write(RING, rings)
    bench.arrive(FRAME)
    for offset, value in [(Mmio.QueueNotify, 1), *writes]:
        bench.mmio.write_register(offset, value)
        bench.mmio.write_register(Mmio.QueueNotify, 0)
        bench.arrive(FRAME)
    assert bench.memory.read(RAM, RING - RAM) == before
    bench.close()
