"""Physical memory: scalar and bulk accesses see the same bytes, and nothing else."""

import mmap
from collections.abc import Callable

import pytest

from topbit.memory import BusError, PhysicalMemory

BASE = 0x4000_0000


def _plain() -> PhysicalMemory:
    return PhysicalMemory(BASE, 0x2000)


def _mapped() -> PhysicalMemory:
    return PhysicalMemory(BASE, 0x2000, mmap.mmap(-1, 0x2000))


@pytest.fixture(params=[_plain, _mapped], ids=["array", "mmap"])
def memory(request: pytest.FixtureRequest) -> PhysicalMemory:
    make: Callable[[], PhysicalMemory] = request.param
    return make()


def test_all_views_see_the_same_bytes(memory: PhysicalMemory) -> None:
    memory.write_u64(BASE + 8, 0x1122_3344_5566_7788)
    assert memory.read(BASE + 8, 8) == bytes.fromhex("8877665544332211")
    assert memory.read_u32(BASE + 12) == 0x1122_3344
    assert memory.table(BASE, 2).tolist() == [0, 0x1122_3344_5566_7788]
    memory.table(BASE, 2)[0] = 7
    assert memory.read_u64(BASE) == 7
    memory.write_u32(BASE, 9)
    memory.write(BASE + 0x1FFF, b"z")
    assert (memory.read_u64(BASE), memory.read(BASE + 0x1FFF, 1)) == (9, b"z")
    memory.fill(BASE, 0x2000)
    assert not memory.bytes.any()


@pytest.mark.parametrize("pa", [BASE - 8, BASE + 0x2000, 0, 1 << 63, BASE + 0x1FFC, BASE + 4])
def test_outside_or_unaligned(memory: PhysicalMemory, pa: int) -> None:
    for access in (
        lambda: memory.read_u64(pa),
        lambda: memory.write_u64(pa, 0),
        lambda: memory.table(pa, 1),
    ):
        with pytest.raises(BusError):
            access()


@pytest.mark.parametrize(("pa", "size"), [(BASE - 1, 1), (BASE + 0x1FFF, 2), (BASE, -1)])
def test_bulk_accesses_outside(memory: PhysicalMemory, pa: int, size: int) -> None:
    with pytest.raises(BusError):
        memory.read(pa, size)
    with pytest.raises(BusError):
        memory.fill(pa, size)
    if size > 0:
        with pytest.raises(BusError):
            memory.write(pa, bytes(size))


@pytest.mark.parametrize(("base", "size"), [(1, 4096), (0, 1), (0, 0), (0, -4096)])
def test_odd_sizes_are_refused(base: int, size: int) -> None:
    with pytest.raises(ValueError, match="4096"):
        PhysicalMemory(base, size)


@pytest.mark.parametrize("shared", [False, True], ids=["array", "file"])
@pytest.mark.parametrize(
    ("start", "size"), [(0x1000, 0x3000), (0x1000, 7 << 20), (0, 8 << 20), (4 << 20, 2 << 20)]
)
def test_a_wipe_zeroes_what_it_was_asked_to_and_no_more(
    start: int, size: int, shared: bool
) -> None:
    whole = 8 << 20
    memory = PhysicalMemory(BASE, whole, mmap.mmap(-1, whole) if shared else None)
    memory.fill(BASE, whole, 0xA5)
    memory.wipe(BASE + start, size)
    assert not memory.bytes[start : start + size].any()
    assert (memory.bytes[:start] == 0xA5).all()
    assert (memory.bytes[start + size :] == 0xA5).all()
    with pytest.raises(BusError):
        memory.wipe(BASE + whole - 0x1000, 0x2000)
