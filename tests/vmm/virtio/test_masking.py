"""The shared bit is masked for an emulated disk, and a hostile ring ends only the device."""

import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from topbit.arch.virtio import BlkType, Mmio, Status
from topbit.vmm.dma import DmaError
from topbit.vmm.policy import Masking, VmmPolicy
from topbit.vmm.virtio.blk import VirtioBlk
from topbit.vmm.virtio.mmio import VirtioMmio
from virtio_bench import DATA, RAM, RING, WRITE, DeviceBench, S


class DiskBench(DeviceBench):
    def __init__(self, policy: VmmPolicy | None = None) -> None:
        self.disk = VirtioBlk(bytearray(range(256)) * 16)
        super().__init__(self.disk, policy)

    def request(self, kind: int, sector: int, size: int, address: int = DATA | S) -> int:
        """Put one request on the ring and notify; returns its status byte."""
        header, status = DATA - 0x1000, DATA - 0x800
        self.memory.write(header, struct.pack("<IIQ", kind, 0, sector))
        self.memory.write(status, b"\xff")
        how = WRITE if kind == BlkType.IN else 0
        self.offer(0, (header | S, 16, 0), (address, size, how), (status | S, 1, WRITE))
        return self.memory.read(status, 1)[0]


def test_read_through_the_alias() -> None:
    bench = DiskBench()
    bench.start()
    assert bench.request(kind=0, sector=1, size=512) == 0
    assert bench.memory.read(DATA, 512) == bytes(bench.disk.image[512:1024])
    assert bench.mmio.read_register(Mmio.InterruptStatus) == 1
    assert bench.levels[-1] is True
    assert all(e.address == (e.phys or 0) | S for e in bench.events)


def test_write_through_the_alias() -> None:
    bench = DiskBench()
    bench.start()
    bench.memory.write(DATA, b"x" * 512)
    assert bench.request(kind=1, sector=2, size=512) == 0
    assert bench.disk.image[1024:1536] == b"x" * 512


def test_a_vmm_that_does_not_mask_finds_no_memory() -> None:
    bench = DiskBench(VmmPolicy(masking=Masking.KEEP))
    bench.start()
    bench.request(kind=0, sector=0, size=512)
    assert bench.mmio.read_register(Mmio.Status) & Status.NEEDS_RESET
    assert bench.events[-1].status == "unmapped"


def test_a_ring_that_is_moved_again_and_again_costs_no_memory() -> None:
    bench = DiskBench()
    for at in range(RAM, RAM + (256 << 10), 0x400):
        bench.start(at | S)
        bench.mmio.write_register(Mmio.QueueNotify, 0)
    assert len(bench.mmio.queues[0]._recorded) <= 3


def test_each_area_of_a_ring_is_recorded_once() -> None:
    bench = DiskBench()
    bench.start()
    for _ in range(3):
        assert bench.request(kind=BlkType.IN, sector=1, size=512) == 0
    areas = [e for e in bench.events if RING <= (e.phys or 0) < RING + 0x400]
    assert len(areas) == 3


def test_a_private_page_is_refused() -> None:
    bench = DiskBench()
    bench.slot.shared[bench.slot.page(DATA)] = False
    bench.start()
    assert bench.request(kind=0, sector=0, size=512) == 0xFF
    assert bench.events[-1].status == "private"
    assert bench.memory.read(DATA, 512) == bytes(512)


def test_a_buffer_that_ends_in_a_private_page_is_refused() -> None:
    bench = DiskBench()
    bench.slot.shared[bench.slot.page(DATA + 0x1000)] = False
    with pytest.raises(DmaError, match="private"):
        bench.dma.read((DATA | S) + 0xFFF, 2)


def test_features_without_access_platform_are_refused() -> None:
    bench = DiskBench()
    bench.mmio.write_register(Mmio.DriverFeaturesSel, 1)
    bench.mmio.write_register(Mmio.DriverFeatures, 1)
    bench.mmio.write_register(Mmio.Status, 11)
    assert not bench.mmio.read_register(Mmio.Status) & Status.FEATURES_OK


def test_features_are_those_written_last() -> None:
    bench = DiskBench()
    bench.mmio.write_register(Mmio.DriverFeatures, 1 << 31)  # not offered
    bench.mmio.write_register(Mmio.DriverFeatures, 0)
    bench.mmio.write_register(Mmio.DriverFeaturesSel, 1)
    bench.mmio.write_register(Mmio.DriverFeatures, 7)
    bench.mmio.write_register(Mmio.DriverFeatures, 3)
    bench.mmio.write_register(Mmio.Status, 11)
    assert bench.mmio.read_register(Mmio.Status) & Status.FEATURES_OK


def test_a_chain_that_loops_needs_a_reset() -> None:
    bench = DiskBench()
    bench.start()
    bench.memory.write(RING, struct.pack("<QIHH", DATA | S, 16, 1, 0))
    bench.memory.write(RING + 0x100, struct.pack("<HHH", 0, 1, 0))
    bench.mmio.write_register(Mmio.QueueNotify, 0)
    assert bench.mmio.read_register(Mmio.Status) & Status.NEEDS_RESET
    assert "loops" in bench.mmio.error


@settings(max_examples=200, deadline=None)
@given(
    st.binary(min_size=0x220, max_size=0x220),
    st.lists(st.tuples(st.integers(0, 0x200), st.integers(0, (1 << 64) - 1)), max_size=12),
)
def test_any_ring_and_any_register_write_is_survived(
    ring: bytes, writes: list[tuple[int, int]]
) -> None:
    bench = DiskBench()
    bench.start()
    bench.slot.shared[: bench.slot.page(RING)] = False
    bench.memory.write(RING, ring)
    before = bench.memory.read(RAM, RING - RAM)
    bench.mmio.write_register(Mmio.QueueNotify, 0)
    for offset, value in writes:
        bench.mmio.write_register(offset, value)
        bench.mmio.read_register(offset)
        bench.mmio.write_register(Mmio.QueueNotify, 0)
    assert bench.memory.read(RAM, RING - RAM) == before


def test_a_vmm_that_requires_the_bit_refuses_an_address_without_it() -> None:
    bench = DiskBench(VmmPolicy(masking=Masking.REQUIRE))
    bench.start()
    assert bench.request(kind=0, sector=1, size=512, address=DATA) == 0xFF
    assert bench.events[-1].status == "protected"
    assert bench.memory.read(DATA, 512) == bytes(512)
    bench = DiskBench(VmmPolicy(masking=Masking.REQUIRE))
    bench.start()
    assert bench.request(kind=0, sector=1, size=512) == 0


def test_a_vmm_that_masks_accepts_an_address_without_the_bit() -> None:
    bench = DiskBench()
    bench.start()
    assert bench.request(kind=0, sector=1, size=512, address=DATA) == 0


def test_the_page_of_registers_shows_what_a_read_gives() -> None:
    bench = DiskBench()
    page = memoryview(bytearray(4096))
    bench.mmio = VirtioMmio(bench.disk, bench.dma, bench.levels.append, page)

    def same() -> bool:
        shown = page.cast("I")
        return all(shown[at // 4] == bench.mmio.read_register(at) for at in range(0, 4096, 4))

    assert same()
    assert page[:4] == b"virt"
    bench.start()
    assert same()
    bench.request(kind=0, sector=1, size=512)
    assert same()
    assert page[Mmio.InterruptStatus] == 1
    for register, value in (
        (Mmio.InterruptACK, 1),
        (Mmio.DeviceFeaturesSel, 1),
        (Mmio.DeviceFeaturesSel, 7),
        (Mmio.QueueSel, 5),
        (Mmio.QueueSel, 0),
        (Mmio.QueueReady, 0),
        (Mmio.Status, 0),
    ):
        bench.mmio.write_register(register, value)
        assert same()
    bench.start(ring=RING)
    bench.memory.write(RING + 0x100, struct.pack("<HHH", 0, 9999, 0))
    bench.mmio.write_register(Mmio.QueueNotify, 0)
    assert same()
    assert page[Mmio.Status] & Status.NEEDS_RESET
