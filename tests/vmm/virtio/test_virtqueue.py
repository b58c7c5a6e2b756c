"""Which chains does a split ring offer, whatever stands in it?"""

import random
import struct

import pytest

from topbit.arch import virtio
from topbit.arch.ipa import IpaSpace
from topbit.events import Event
from topbit.memory import PhysicalMemory
from topbit.rmm import Granules
from topbit.vmm.dma import DmaError, EmulatedDma
from topbit.vmm.policy import VmmPolicy
from topbit.vmm.slots import MemorySlot
from topbit.vmm.virtio.virtqueue import FEW, Buffer, Virtqueue, VirtqueueError

SPACE = IpaSpace(41)
RAM, S = 0x4000_0000, SPACE.shared_bit
DESC, AVAIL, USED = RAM, RAM + 0x1000, RAM + 0x2000
SIZE = 4
NEXT, WRITE = virtio.DESC_F_NEXT, virtio.DESC_F_WRITE


class Ring:
    """A ring of four descriptors, and a driver's hand on it."""

    def __init__(self) -> None:
        self.memory = PhysicalMemory(RAM, 0x4000)
        self.slot = MemorySlot(RAM, 0x4000, RAM, RAM)
        self.slot.shared[:] = True
        self.events: list[Event] = []
        dma = EmulatedDma(
            "virtio0",
            self.memory,
            [self.slot],
            SPACE,
            VmmPolicy(),
            Granules(self.memory).check,
            self.events.append,
        )
        self.queue = Virtqueue(dma, SIZE, DESC | S, AVAIL | S, USED | S, ready=True)

    def describe(self, index: int, address: int, size: int, flags: int = 0, after: int = 0) -> None:
        entry = struct.pack("<QIHH", address, size, flags, after)
        self.memory.write(DESC + virtio.DESC_SIZE * index, entry)

    def offer(self, idx: int, *heads: int, flags: int = 0) -> None:
        self.memory.write(AVAIL, struct.pack("<HH", flags, idx))
        for slot, head in enumerate(heads):
            self.memory.write(AVAIL + 4 + 2 * slot, struct.pack("<H", head))

    def heads(self, limit: int | None = None) -> list[int]:
        return [head for head, _ in self.queue.chains(limit)]


def test_a_chain_is_its_descriptors_in_order() -> None:
    ring = Ring()
    ring.describe(2, 0x1000 | S, 16, NEXT, 0)
    ring.describe(0, 0x2000 | S, 512, NEXT | WRITE, 3)
    ring.describe(3, 0x3000, 1, WRITE, 1)
    ring.offer(1, 2)
    assert list(ring.queue.chains()) == [
        (
            2,
            [
                Buffer(0x1000 | S, 16, False),
                Buffer(0x2000 | S, 512, True),
                Buffer(0x3000, 1, True),
            ],
        )
    ]
    assert list(ring.queue.chains()) == []


def test_a_full_ring_is_served() -> None:
    ring = Ring()
    ring.offer(SIZE, 3, 1, 0, 2)
    assert ring.heads() == [3, 1, 0, 2]


def test_more_than_a_ring_makes_no_sense() -> None:
    ring = Ring()
    ring.offer(SIZE + 1, 0, 0, 0, 0)
    with pytest.raises(VirtqueueError, match=r"avail.idx 5 is more than a ring ahead"):
        ring.heads()


def test_the_ring_and_its_index_wrap() -> None:
    ring = Ring()
    ring.queue.next_avail = 0xFFFE
    ring.offer(1, 0, 1, 2, 3)
    assert ring.heads() == [2, 3, 0]
    assert ring.queue.next_avail == 1


def test_a_limit_leaves_the_others_for_later() -> None:
    ring = Ring()
    ring.offer(3, 2, 1, 0)
    assert ring.heads(0) == []
    assert ring.heads(2) == [2, 1]
    assert ring.heads(2) == [0]


@pytest.mark.parametrize("head", [SIZE, 0xFFFF])
def test_a_head_outside_the_table_makes_no_sense(head: int) -> None:
    ring = Ring()
    ring.offer(1, head)
    with pytest.raises(VirtqueueError, match="leaves the table or loops"):
        ring.heads()


def test_the_last_descriptor_is_in_the_table() -> None:
    ring = Ring()
    ring.describe(SIZE - 1, 0x1000, 8)
    ring.offer(1, SIZE - 1)
    assert ring.heads() == [SIZE - 1]


@pytest.mark.parametrize("following", [SIZE, 0])
def test_a_chain_may_neither_leave_the_table_nor_loop(following: int) -> None:
    ring = Ring()
    ring.describe(0, 0x1000, 8, NEXT, following)
    ring.offer(1, 0)
    with pytest.raises(VirtqueueError, match="descriptor chain from 0"):
        ring.heads()


def test_a_chain_may_be_as_long_as_the_table() -> None:
    ring = Ring()
    for index in range(SIZE):
        ring.describe(index, 0x1000, 8, NEXT if index < SIZE - 1 else 0, index + 1)
    ring.offer(1, 0)
    ((_, chain),) = ring.queue.chains()
    assert len(chain) == SIZE


LONG = 64


def described(table: list[tuple[int, int, int, int]]) -> memoryview:
    return memoryview(b"".join(struct.pack("<QIHH", *entry) for entry in table))


def one_by_one(table: list[tuple[int, int, int, int]], head: int) -> list[Buffer]:
    """What is the chain, descriptor by descriptor?"""
    found: list[Buffer] = []
    while True:
        if head >= len(table) or len(found) >= len(table):
            raise VirtqueueError("")
        address, size, flags, after = table[head]
        found.append(Buffer(address, size, bool(flags & WRITE)))
        if not flags & NEXT:
            return found
        head = after


def joined(buffers: list[Buffer]) -> list[Buffer]:
    """Which ranges are reached, those told as one that adjoin?"""
    found: list[Buffer] = []
    for address, size, writable in buffers:
        last = found[-1] if found else Buffer(0, 0, False)
        if last.writable == writable and last.address + last.size == address:
            found[-1] = Buffer(last.address, last.size + size, writable)
        else:
            found.append(Buffer(address, size, writable))
    return found


@pytest.mark.parametrize("seed", range(200))
def test_a_long_chain_reaches_what_its_descriptors_say(seed: int) -> None:
    choose = random.Random(seed)
    table, address = [], 0x1000 | S
    for index in range(LONG):
        size = choose.choice((512, 4096, 4096, 0xFFFF_FFFF))
        after = index + 1 if choose.random() < 0.99 else choose.randrange(LONG + 2)
        flags = (NEXT if choose.random() < 0.98 else 0) | (WRITE if index > LONG // 2 else 0)
        table.append((address, size, flags, after))
        address = address + size if choose.random() < 0.8 else choose.randrange(1 << 52)
    head = choose.randrange(LONG // 4)
    queue = Virtqueue(Ring().queue.dma, LONG)
    try:
        told = one_by_one(table, head)
    except VirtqueueError:
        with pytest.raises(VirtqueueError):
            queue._chain(described(table), head)
        return
    chain = queue._chain(described(table), head)
    assert joined(chain) == joined(told)
    assert (chain[:FEW], chain[-1]) == (told[:FEW], told[-1])


def test_buffers_that_adjoin_are_one_but_for_the_first_few_and_the_last() -> None:
    table = [(0x1000 * index, 0x1000, NEXT | WRITE, index + 1) for index in range(LONG)]
    table[-1] = (*table[-1][:2], WRITE, 0)
    chain = Virtqueue(Ring().queue.dma, LONG)._chain(described(table), 0)
    sizes = [0x1000] * FEW + [0x1000 * (LONG - FEW - 1), 0x1000]
    assert [buffer.size for buffer in chain] == sizes


def test_what_was_completed_stands_in_the_used_ring_which_wraps() -> None:
    ring = Ring()
    for number in range(SIZE + 1):
        ring.queue.complete(number, 100 + number)
        assert ring.memory.read(USED, 4) == struct.pack("<HH", 0, number + 1)
    entries = struct.unpack("<8I", ring.memory.read(USED + 4, 32))
    assert entries == (4, 104, 1, 101, 2, 102, 3, 103)
    ring.queue.next_used = 0xFFFF
    ring.queue.complete(1, 0)
    assert ring.memory.read(USED + 2, 2) == bytes(2)


@pytest.mark.parametrize(("flags", "wanted"), [(0, True), (1, False), (2, True), (3, False)])
def test_the_driver_says_whether_it_wants_an_interrupt(flags: int, wanted: bool) -> None:
    ring = Ring()
    ring.offer(0, flags=flags)
    assert ring.queue.wants_interrupt() is wanted


@pytest.mark.parametrize(
    ("area", "bytes_of_it"),
    [
        (AVAIL, 4 + 2 * SIZE),
        (DESC, 16 * SIZE),
    ],
)
def test_an_area_is_shared_as_a_whole(area: int, bytes_of_it: int) -> None:
    ring = Ring()
    ring.offer(1, 0)
    moved = area + 0x1000 - bytes_of_it
    for name in ("avail", "desc"):
        if getattr(ring.queue, name) == area | S:
            setattr(ring.queue, name, moved | S)
    ring.memory.write(AVAIL + 0x1000 - bytes_of_it, ring.memory.read(AVAIL, bytes_of_it))
    assert ring.heads() == [0]
    setattr(ring.queue, "avail" if area == AVAIL else "desc", moved + 1 | S)
    ring.slot.shared[ring.slot.page(area + 0x1000)] = False
    ring.queue.next_avail = 0
    with pytest.raises(DmaError, match="private"):
        ring.heads()


def test_the_used_ring_is_shared_as_a_whole() -> None:
    ring = Ring()
    ring.slot.shared[3] = False
    ring.queue.used = RAM + 0x3000 - (4 + 8 * SIZE)
    ring.queue.complete(0, 0)
    ring.queue.used += 1
    with pytest.raises(DmaError, match="private"):
        ring.queue.complete(0, 0)


def test_each_area_is_recorded_once_and_again_when_it_moves() -> None:
    ring = Ring()
    for idx in (1, 2):
        ring.offer(idx, 0, 0)
        ring.heads()
        ring.queue.complete(0, 0)
        ring.queue.wants_interrupt()
    assert [(event.phys, event.direction) for event in ring.events] == [
        (AVAIL, "r"), (DESC, "r"), (USED, "w"),
    ]  # fmt: skip
    ring.queue.used = RAM + 0x3000
    ring.queue.complete(0, 0)
    ring.queue.complete(0, 0)
    assert [event.phys for event in ring.events[3:]] == [RAM + 0x3000]


def test_an_empty_ring_costs_no_look_at_the_table() -> None:
    ring = Ring()
    assert ring.heads() == []
    assert [event.phys for event in ring.events] == [AVAIL]
