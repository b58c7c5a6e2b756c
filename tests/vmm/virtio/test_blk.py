"""What does an emulated disk do with a request: sectors, limits, and what makes no sense?"""

import struct

import pytest

from topbit.arch.virtio import BlkStatus, BlkType, Mmio, Status
from topbit.vmm.virtio.blk import VirtioBlk
from virtio_bench import DATA, RAM, SIZE, WRITE, DeviceBench, S

SECTOR = 512
SECTORS = 8
MAX_REQUEST = 16 << 20
HEADER, STATUS = DATA - 0x1000, DATA - 0x800
IN, OUT = BlkType.IN, BlkType.OUT
OK, IOERR, UNSUPP, UNTOUCHED = BlkStatus.OK, BlkStatus.IOERR, BlkStatus.UNSUPP, 0xFF


class Disk(DeviceBench):
    def __init__(self) -> None:
        self.disk = VirtioBlk(bytearray(i * 7 % 251 for i in range(SECTORS * SECTOR)))
        self.before = bytes(self.disk.image)
        super().__init__(self.disk)
        self.start()

    def request(self, kind: int, sector: int, *sizes: int, how: int | None = None) -> int:
        """One request with data buffers of `sizes`, one behind the other; its status byte."""
        self.memory.write(HEADER, struct.pack("<IIQ", kind, 0, sector))
        self.memory.write(STATUS, bytes([UNTOUCHED]))
        flags = (WRITE if kind == IN else 0) if how is None else how
        at = [DATA + sum(sizes[:number]) for number in range(len(sizes))]
        data = [(address | S, size, flags) for address, size in zip(at, sizes, strict=True)]
        self.offer(0, (HEADER | S, 16, 0), *data, (STATUS | S, 1, WRITE))
        return self.memory.read(STATUS, 1)[0]

    @property
    def needs_reset(self) -> bool:
        return bool(self.mmio.read_register(Mmio.Status) & Status.NEEDS_RESET)


@pytest.mark.parametrize(
    ("sector", "sizes"),
    [(0, [512]), (1, [512, 1024]), (7, [512]), (0, [512 * SECTORS]), (3, [100, 412]), (8, [])],
)
def test_a_read_gives_the_sectors(sector: int, sizes: list[int]) -> None:
    bench, total = Disk(), sum(sizes)
    assert bench.request(IN, sector, *sizes) == OK
    assert bench.memory.read(DATA, total) == bench.before[sector * SECTOR :][:total]
    assert bench.memory.read(DATA + total, SECTOR) == bytes(SECTOR)
    assert bench.used(0) == [total + 1]
    assert bench.disk.image == bench.before


@pytest.mark.parametrize(("sector", "sizes"), [(0, [512]), (2, [512, 512]), (7, [512])])
def test_a_write_changes_the_sectors_alone(sector: int, sizes: list[int]) -> None:
    bench, total = Disk(), sum(sizes)
    written = bytes(255 - i % 200 for i in range(total))
    bench.memory.write(DATA, written)
    assert bench.request(OUT, sector, *sizes) == OK
    at = sector * SECTOR
    assert bench.disk.image == bench.before[:at] + written + bench.before[at + total :]
    assert bench.used(0) == [1]


@pytest.mark.parametrize(
    ("sector", "sizes"),
    [(8, [512]), (7, [513]), (7, [512, 512]), (8, [1]), (0, [512 * SECTORS + 1]), (1 << 60, [512])],
)
@pytest.mark.parametrize("kind", [IN, OUT])
def test_sectors_beyond_the_end_are_an_error_of_the_request(
    kind: BlkType, sector: int, sizes: list[int]
) -> None:
    bench = Disk()
    assert bench.request(kind, sector, *sizes) == IOERR
    assert bench.memory.read(DATA, 1024) == bytes(1024)
    assert bench.disk.image == bench.before
    assert bench.used(0) == [1]
    assert not bench.needs_reset


def test_a_request_may_be_as_long_as_the_limit_and_no_longer() -> None:
    bench = Disk()
    bench.disk = VirtioBlk(bytearray(MAX_REQUEST + SECTOR))
    bench.mmio.backend = bench.disk
    assert bench.request(OUT, 0, MAX_REQUEST + SECTOR) == IOERR
    assert not bench.needs_reset
    assert bench.request(OUT, 0, MAX_REQUEST) == UNTOUCHED  # so much memory has the guest not
    assert bench.needs_reset


@pytest.mark.parametrize(("kind", "how"), [(IN, 0), (OUT, WRITE)])
def test_a_buffer_of_the_wrong_direction_is_an_error(kind: BlkType, how: int) -> None:
    bench = Disk()
    bench.memory.write(DATA, b"\xa5" * SECTOR)
    assert bench.request(kind, 0, SECTOR, how=how) == IOERR
    assert bench.disk.image == bench.before
    assert bench.memory.read(DATA, SECTOR) == b"\xa5" * SECTOR


@pytest.mark.parametrize(
    ("kind", "status"),
    [(BlkType.FLUSH, OK), (BlkType.GET_ID, UNSUPP), (2, UNSUPP), (0xFFFF_FFFF, UNSUPP)],
)
def test_other_requests_move_no_data(kind: int, status: BlkStatus) -> None:
    bench = Disk()
    assert bench.request(kind, 1 << 50, SECTOR, how=WRITE) == status
    assert bench.used(0) == [1]
    assert bench.memory.read(DATA, SECTOR) == bytes(SECTOR)


@pytest.mark.parametrize(
    "chain",
    [
        [(STATUS | S, 1, WRITE)],
        [(HEADER | S, 16, 0)],
        [(HEADER | S, 15, 0), (STATUS | S, 1, WRITE)],
        [(HEADER | S, 16, WRITE), (STATUS | S, 1, WRITE)],
        [(HEADER | S, 16, 0), (STATUS | S, 1, 0)],
        [(HEADER | S, 16, 0), (STATUS | S, 0, WRITE)],
        [(RAM + SIZE | S, 16, 0), (STATUS | S, 1, WRITE)],
        [(HEADER | S, 16, 0), (RAM + SIZE | S, 1, WRITE)],
    ],
)
def test_a_request_without_header_or_status_ends_the_device(
    chain: list[tuple[int, int, int]],
) -> None:
    bench = Disk()
    bench.offer(0, *chain)
    assert bench.needs_reset
    assert bench.used(0) == []


def test_a_header_may_be_longer_and_a_status_too() -> None:
    bench = Disk()
    bench.memory.write(HEADER, struct.pack("<IIQ", BlkType.FLUSH, 0, 0))
    bench.offer(0, (HEADER | S, 32, 0), (STATUS | S, 4, WRITE))
    assert bench.used(0) == [1]


def test_the_configuration_tells_capacity_and_segments() -> None:
    bench = Disk()
    words = [bench.mmio.read_register(Mmio.Config + at) for at in range(0, 20, 4)]
    assert words == [SECTORS, 0, 0, 254, 0]
    assert struct.unpack("<QII", VirtioBlk(bytearray(5 * SECTOR + 1)).config()) == (5, 0, 254)
    assert bench.mmio.read_register(Mmio.DeviceID) == 2
    assert bench.mmio.read_register(Mmio.DeviceFeatures) == 1 << 2


def test_all_requests_that_wait_are_served_at_one_notification() -> None:
    bench = Disk()
    bench.memory.write(HEADER, struct.pack("<IIQ", BlkType.FLUSH, 0, 0))
    for _ in range(2):
        bench.mmio.status &= ~Status.DRIVER_OK
        bench.offer(0, (HEADER | S, 16, 0), (STATUS | S, 1, WRITE))
    bench.mmio.status |= Status.DRIVER_OK
    assert bench.disk.serve(0, bench.mmio.queues[0]) == 2
    assert bench.disk.serve(0, bench.mmio.queues[0]) == 0
