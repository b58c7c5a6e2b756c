"""How does the guest drive a virtio-blk device?"""

import struct

import pytest

from guest_bench import POOL, GuestBench
from guest_cpu import PAGE, RAM, S
from topbit.arch.virtio import BlkStatus, BlkType, Mmio, Status
from topbit.linux.virtio_ring import QUEUE_SIZE, VirtioBlkRing

RING, SCRATCH = RAM + PAGE, RAM + 2 * PAGE
AVAIL, USED = RING + 128, RING + 1024
HEADER_SLOT, STATUS_SLOT = POOL, POOL + 2048  # of the first request
BUFFER = 0x5000_0000 | S


class Device:
    """Notes what the driver writes; answers a notification as the test says."""

    def __init__(self, bench: GuestBench) -> None:
        self.bench = bench
        self.written: list[tuple[int, int]] = []
        self.status = BlkStatus.OK
        self.completes = True
        self.broken = False
        self.descriptors: list[tuple[int, ...]] = []
        self.header = b""
        self.avail = b""
        self.slot_before = b""

    def read_register(self, offset: int) -> int:
        assert offset == Mmio.Status
        return Status.NEEDS_RESET if self.broken else 15

    def write_register(self, offset: int, value: int) -> None:
        self.written.append((offset, value))
        if offset != Mmio.QueueNotify:
            return
        memory = self.bench.kernel.memory
        table = memory.read(RING, 48)
        self.descriptors = [struct.unpack_from("<QIHH", table, 16 * n) for n in range(3)]
        header, status = (self.descriptors[n][0] & ~S for n in (0, 2))
        self.header = memory.read(header, 16)
        self.slot_before = memory.read(status, 1)
        self.avail = memory.read(AVAIL, 4 + 2 * QUEUE_SIZE)
        memory.write(status, bytes([self.status]))
        if self.completes:
            memory.write(USED + 2, self.avail[2:4])


class Bench(GuestBench):
    def __init__(self, mask_bits: int = 64) -> None:
        super().__init__()
        self.port = Device(self)
        self.ring = VirtioBlkRing(self.kernel, self.device(mask_bits), self.port)

    def submit(self, *, to_device: bool = True) -> bool:
        return self.ring.submit(BUFFER, 512, 7, to_device=to_device)


def test_features_and_the_rings_addresses_are_handed_over_in_order() -> None:
    bench = Bench()
    assert bench.ring.probe()
    high = S >> 32
    assert bench.port.written == [
        (Mmio.Status, 3),
        (Mmio.DriverFeaturesSel, 1),
        (Mmio.DriverFeatures, 3),
        (Mmio.QueueSel, 0),
        (Mmio.QueueNum, 8),
        (Mmio.QueueDescLow, RING),
        (Mmio.QueueDescHigh, high),
        (Mmio.QueueDriverLow, AVAIL),
        (Mmio.QueueDriverHigh, high),
        (Mmio.QueueDeviceLow, USED),
        (Mmio.QueueDeviceHigh, high),
        (Mmio.QueueReady, 1),
        (Mmio.Status, 15),
    ]
    assert bench.kernel.memory.ipa(RING) == RING | S
    assert bench.ring.scratch == SCRATCH
    assert bench.kernel.alloc_pages(1) == SCRATCH + PAGE


@pytest.mark.parametrize("without", ["address", "page"])
def test_a_ring_without_memory_is_not_set_up(without: str) -> None:
    bench = Bench(mask_bits=32 if without == "address" else 64)
    if without == "page":
        pages = (POOL - RAM) // PAGE - 2  # one is left, for the ring
        assert bench.kernel.alloc_pages(pages) is not None
    assert not bench.ring.probe()
    assert Mmio.QueueReady not in [register for register, _ in bench.port.written]


@pytest.mark.parametrize(
    ("to_device", "kind", "flags"), [(True, BlkType.OUT, 1), (False, BlkType.IN, 3)]
)
def test_a_request_is_header_data_and_status(to_device: bool, kind: int, flags: int) -> None:
    bench = Bench()
    bench.ring.probe()
    assert bench.submit(to_device=to_device)
    assert bench.port.header == struct.pack("<IIQ", kind, 0, 7)
    assert bench.port.descriptors == [
        (HEADER_SLOT | S, 16, 1, 1),
        (BUFFER, 512, flags, 2),
        (STATUS_SLOT | S, 1, 2, 0),
    ]
    assert bench.port.slot_before == b"\xff"
    assert bench.port.avail == struct.pack("<10H", 0, 1, *[0] * 8)
    assert bench.port.written[-1] == (Mmio.QueueNotify, 0)
    assert bench.kernel.pool.slots_used() == 0


def test_requests_follow_each_other_around_the_ring() -> None:
    bench = Bench()
    bench.ring.probe()
    bench.kernel.memory.write(AVAIL + 4, b"\xff" * 2 * QUEUE_SIZE)
    for number in range(1, QUEUE_SIZE + 1):
        assert bench.submit()
        heads = struct.unpack("<10H", bench.port.avail)
        assert heads == (0, number, *[0] * number, *[0xFFFF] * (QUEUE_SIZE - number))
    bench.kernel.memory.write(AVAIL + 4, b"\xff" * 2 * QUEUE_SIZE)
    assert bench.submit()
    assert struct.unpack("<10H", bench.port.avail)[:4] == (0, 9, 0, 0xFFFF)
    bench.ring.index = 0xFFFF
    assert bench.submit()
    assert bench.ring.index == 0


@pytest.mark.parametrize(
    ("completes", "status", "broken"),
    [
        (False, BlkStatus.OK, False),
        (True, BlkStatus.IOERR, False),
        (True, 0xFF, False),
        (True, BlkStatus.OK, True),
    ],
)
def test_anything_but_a_completion_with_status_ok_is_a_failure(
    completes: bool, status: int, broken: bool
) -> None:
    bench = Bench()
    bench.ring.probe()
    bench.port.completes, bench.port.status, bench.port.broken = completes, status, broken
    assert not bench.submit()
    assert bench.kernel.pool.slots_used() == 0


def test_a_request_whose_header_cannot_be_mapped_is_not_made() -> None:
    bench = Bench()
    bench.ring.probe()
    for _ in range(4):
        bench.kernel.dma.direct.map_phys(bench.device(), RAM, 256 << 10, "TO_DEVICE")
    assert not bench.submit()
    assert Mmio.QueueNotify not in [register for register, _ in bench.port.written]


def test_a_removed_driver_resets_the_device_and_gives_the_ring_back() -> None:
    bench = Bench()
    bench.ring.probe()
    bench.ring.remove()
    assert bench.port.written[-1] == (Mmio.Status, 0)
    (freed,) = bench.of("dma_free")
    assert (freed.address, freed.size) == (RING | S, PAGE)
    assert bench.kernel.memory.ipa(RING) == RING
    assert bench.kernel.alloc_pages(1) == RING
