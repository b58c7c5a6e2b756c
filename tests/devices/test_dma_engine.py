"""What does the model's DMA engine do on the bus, and what does the bus make of its addresses?"""

from __future__ import annotations

import struct

import pytest

import realm_stream_table
from topbit.arch import dma_engine
from topbit.arch.smmuv3 import STE, Config
from topbit.devices.dma_engine import BusPort, DmaEngine
from topbit.events import Event
from topbit.host.arm_smmu_v3 import ArmSmmuV3
from topbit.host.io_pgtable import Stage2Table
from topbit.host.pages import PageRange
from topbit.memory import PhysicalMemory
from topbit.rmm import Granules, State
from topbit.smmu import Smmu

RAM, SIZE, SID = 0x4000_0000, 16 << 20, 0x10
RING, DATA, PRIVATE = RAM, RAM + 0x1000, RAM + 0x3000  # physical
S = 1 << 39
RING_IOVA, DATA_IOVA, PRIVATE_IOVA = S | 0x10_0000, S | 0x20_0000, S | 0x30_0000
UNMAPPED = S | 0x40_0000
MSI = 0x0809_0040
U64 = (1 << 64) - 1


class Bench:
    """An engine behind an SMMU that maps a command page, two pages of data, and a private one."""

    def __init__(self, **port: object) -> None:
        self.memory = PhysicalMemory(RAM, SIZE)
        self.granules = Granules(self.memory)
        self.granules.set(PRIVATE, State.DATA)
        self.smmu = Smmu(
            self.memory,
            gpc=lambda pa, size, write, pas: self.granules.check("smmu", pa, size, pas),
        )
        allocate = PageRange(self.memory, RAM + (8 << 20), 8 << 20)
        driver = ArmSmmuV3(self.smmu, self.memory, allocate)
        driver.enable()
        self.table = Stage2Table(self.memory, allocate, 40)
        for iova, pa, size in (
            (RING_IOVA, RING, 0x1000), (DATA_IOVA, DATA, 0x2000),
            (PRIVATE_IOVA, PRIVATE, 0x1000), (MSI & ~0xFFF, MSI & ~0xFFF, 0x1000),
        ):  # fmt: skip
            self.table.map(iova, pa, size)
        driver.attach(SID, self.table.ste(1))
        self.events: list[Event] = []
        self.bus = BusPort("nvme0", SID, self.smmu, self.granules, self.events.append, **port)  # type: ignore[arg-type]
        self.medium = bytearray(i % 251 for i in range(4096))
        self.interrupts: list[int] = []
        self.engine = DmaEngine(self.bus, self.medium, self.interrupts.append)
        self.before = bytes(self.medium)

    def program(self, ring: int = RING_IOVA, msi: int = 0) -> None:
        for register, value in (
            (dma_engine.RING_LOW, ring & 0xFFFF_FFFF), (dma_engine.RING_HIGH, ring >> 32),
            (dma_engine.MSI_LOW, msi & 0xFFFF_FFFF), (dma_engine.MSI_HIGH, msi >> 32),
        ):  # fmt: skip
            self.engine.write_register(register, value)

    def command(self, opcode: int, size: int, address: int, sector: int) -> int:
        """Let the engine do one command; the status that it stored."""
        packed = struct.pack(dma_engine.COMMAND, opcode, size, address, sector, dma_engine.PENDING)
        self.memory.write(RING, packed)
        self.events.clear()
        self.engine.write_register(dma_engine.DOORBELL, 1)
        return self.memory.read_u64(RING + dma_engine.STATUS_OFFSET)

    def told(self) -> list[tuple[object, ...]]:
        return [(e.address, e.size, e.direction, e.status, e.attrs) for e in self.events]


def test_a_disk_write_reads_memory() -> None:
    bench = Bench()
    bench.program()
    bench.memory.write(DATA + 0x800, b"x" * 1024)
    assert bench.command(dma_engine.READ_MEMORY, 1024, DATA_IOVA | 0x800, 3) == dma_engine.DONE
    assert bench.medium == bench.before[:1536] + b"x" * 1024 + bench.before[2560:]
    assert bench.told() == [
        (RING_IOVA, 32, "r", "ok", "shared"),
        (DATA_IOVA | 0x800, 1024, "r", "ok", "shared"),
        (RING_IOVA + 24, 8, "w", "ok", "shared"),
    ]


def test_a_disk_read_writes_memory() -> None:
    bench = Bench()
    bench.program()
    assert bench.command(dma_engine.WRITE_MEMORY, 512, DATA_IOVA | 0xF00, 1) == dma_engine.DONE
    assert bench.memory.read(DATA + 0xF00, 512) == bench.before[512:1024]
    assert bench.medium == bench.before
    assert bench.told()[1] == (DATA_IOVA | 0xF00, 512, "w", "ok", "shared")


@pytest.mark.parametrize(
    ("opcode", "size", "address", "sector", "accesses"),
    [
        (dma_engine.READ_MEMORY, 512, UNMAPPED, 0, 3),
        (dma_engine.WRITE_MEMORY, 512, UNMAPPED, 0, 3),
        (dma_engine.READ_MEMORY, 512, PRIVATE_IOVA, 0, 3),
        (dma_engine.READ_MEMORY, 512, DATA_IOVA, 8, 2),
        (dma_engine.READ_MEMORY, 513, DATA_IOVA, 7, 2),
        (dma_engine.READ_MEMORY, 0, DATA_IOVA, 0, 2),
        (dma_engine.READ_MEMORY, 512, DATA_IOVA, 1 << 55, 2),
        (3, 512, DATA_IOVA, 0, 2),
        (0, 512, DATA_IOVA, 0, 2),
    ],
)
def test_what_cannot_be_done_is_reported_as_failed(
    opcode: int, size: int, address: int, sector: int, accesses: int
) -> None:
    bench = Bench()
    bench.program()
    assert bench.command(opcode, size, address, sector) == dma_engine.FAILED
    assert bench.medium == bench.before
    assert len(bench.events) == accesses


def test_the_last_sector_can_be_reached() -> None:
    bench = Bench()
    bench.program()
    assert bench.command(dma_engine.WRITE_MEMORY, 512, DATA_IOVA, 7) == dma_engine.DONE


def test_without_a_command_page_nothing_is_done() -> None:
    bench = Bench()
    bench.program(UNMAPPED)
    bench.engine.write_register(dma_engine.DOORBELL, 1)
    assert [event.status for event in bench.events] == ["F_TRANSLATION"]
    assert bench.engine.read_register(0) == 0


def test_a_register_takes_its_half_and_another_offset_nothing() -> None:
    bench = Bench()
    bench.program(0x1234_5678_9ABC_DEF0, 0x1111_2222_3333_4444)
    bench.engine.write_register(dma_engine.RING_LOW, 1)
    bench.engine.write_register(dma_engine.MSI_HIGH, 2)
    bench.engine.write_register(0x40, 7)
    assert (bench.engine.ring, bench.engine.msi) == (0x1234_5678_0000_0001, 0x2_3333_4444)
    bench.engine.write_register(dma_engine.RING_HIGH, 3)
    bench.engine.write_register(dma_engine.MSI_LOW, 4)
    assert (bench.engine.ring, bench.engine.msi) == (0x3_0000_0001, 0x2_0000_0004)
    assert bench.events == []


@pytest.mark.parametrize(
    ("msi", "reached"), [(MSI, [MSI]), (0, []), (UNMAPPED, []), (PRIVATE_IOVA, [])]
)
def test_a_completion_is_told_by_a_message_if_an_address_was_given(
    msi: int, reached: list[int]
) -> None:
    bench = Bench()
    bench.program(msi=msi)
    assert bench.command(dma_engine.WRITE_MEMORY, 512, DATA_IOVA, 0) == dma_engine.DONE
    assert bench.interrupts == reached
    last = bench.told()[-1]
    assert (last[:3] == (msi, 4, "w")) == bool(msi)


def test_a_message_reaches_no_memory_of_the_guest() -> None:
    bench = Bench()
    assert bench.bus.message(MSI) == MSI
    assert bench.told() == [(MSI, 4, "w", "ok", None)]
    assert bench.events[0].pa == MSI


@pytest.mark.parametrize(
    ("port", "given", "arrives"),
    [
        ({}, U64, U64),
        ({"address_bits": 32}, S | 0x1234, 0x1234),
        ({"address_bits": 40}, S | 0x1234, S | 0x1234),
        ({"bus_offset": 0x4000_0000}, 0x1000, 0x4000_1000),
        ({"bus_offset": 0x1000}, U64, 0xFFF),
        ({"wild_bits": 1 << 50}, 0x1000, 1 << 50 | 0x1000),
        ({"wild_bits": 1 << 50, "address_bits": 48}, 0x1000, 0x1000),
        ({"address_bits": 32, "bus_offset": 0x4000_0000}, 1 << 32, 0x4000_0000),
    ],
)
def test_which_address_arrives_at_the_smmu(port: dict[str, int], given: int, arrives: int) -> None:
    bench = Bench(**port)
    bench.bus.read(given, 1)
    bench.bus.write(given, b"x")
    assert [event.address for event in bench.events] == [arrives, arrives]


@pytest.mark.parametrize(
    ("address", "status", "pa", "attrs"),
    [
        (DATA_IOVA + 8, "ok", DATA + 8, "shared"),
        (UNMAPPED, "F_TRANSLATION", None, None),
        (PRIVATE_IOVA + 8, "GPF", PRIVATE + 8, "private"),
        (1 << 48, "F_ADDR_SIZE", None, None),
    ],
)
def test_each_access_is_told_as_it_ended(
    address: int, status: str, pa: int | None, attrs: str | None
) -> None:
    bench = Bench()
    assert bench.bus.write(address, b"data") == (status == "ok")
    assert bench.bus.read(address, 4) == (b"data" if status == "ok" else None)
    assert bench.events == [
        Event(
            "device", "access", "nvme0", SID, address=address, size=4, direction=way,
            status=status, pa=pa, attrs=attrs,
        )
        for way in ("w", "r")
    ]  # fmt: skip


def test_an_access_that_is_terminated_is_told_as_that() -> None:
    bench = Bench()
    driver_table = bench.smmu.registers.strtab_base.ADDR
    bench.memory.write(driver_table + 64 * SID, STE(V=1, Config=Config.ABORT).pack())
    assert bench.bus.read(DATA_IOVA, 4) is None
    (event,) = bench.events
    assert (event.status, event.pa, event.attrs) == ("terminated", None, None)


def test_a_trusted_device_reaches_private_memory_through_the_realms_table() -> None:
    bench = Bench(trusted=True)
    for page in range(RAM + (8 << 20), RAM + SIZE, 0x1000):
        bench.granules.set(page, State.RTT)
    realm_stream_table.install(bench.smmu, RAM + (12 << 20), SID, bench.table.ste(1))
    assert bench.bus.write(PRIVATE_IOVA, b"mine")
    assert bench.memory.read(PRIVATE, 4) == b"mine"
    (event,) = bench.events
    assert (event.status, event.attrs, event.detail) == ("ok", "private", "T=1")
    assert bench.bus.message(PRIVATE_IOVA) == PRIVATE


def test_a_device_that_misbehaves_writes_where_it_last_was() -> None:
    bench = Bench()
    bench.program()
    bench.engine.misbehave()
    assert bench.told() == [(RING_IOVA, 32, "w", "ok", "shared")]
    bench.command(dma_engine.WRITE_MEMORY, 512, DATA_IOVA | 0x100, 0)
    bench.events.clear()
    bench.engine.misbehave()
    assert [row[:3] for row in bench.told()] == [
        (DATA_IOVA | 0x100, 512, "w"), (RING_IOVA, 32, "w"),
    ]  # fmt: skip
    assert bench.memory.read(DATA + 0x100, 512) == b"\xee" * 512
    assert bench.memory.read(RING, 32) == b"\xee" * 32
