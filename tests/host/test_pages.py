"""The host's own pages: aligned, never twice, and an end."""

import pytest

from topbit.host.pages import PAGE, PagePool, PageRange
from topbit.memory import PhysicalMemory

BASE = 0x4000_1000


def test_a_pool_has_its_size_and_no_more() -> None:
    pool = PagePool(BASE, 3 * PAGE)
    assert [pool.page() for _ in range(3)] == [BASE, BASE + PAGE, BASE + 2 * PAGE]
    with pytest.raises(MemoryError, match="page pool is empty"):
        pool.page()
    pool.free.append(BASE + PAGE)
    assert pool.page() == BASE + PAGE


def test_runs_are_aligned_and_fit() -> None:
    pool = PagePool(BASE, 8 * PAGE)
    assert pool.run(2, align=4 * PAGE) == 0x4000_4000
    assert pool.run(1) == 0x4000_6000
    with pytest.raises(MemoryError):
        pool.run(2, align=8 * PAGE)  # from 0x4000_8000, of which one page is left
    assert pool.run(2) == 0x4000_7000
    with pytest.raises(MemoryError):
        pool.run(1)


def test_blocks_of_tables_are_zeroed_and_aligned_to_their_size() -> None:
    memory = PhysicalMemory(0x4000_0000, 16 * PAGE)
    memory.fill(0x4000_0000, 16 * PAGE, 0xFF)
    pages = PageRange(memory, BASE, 7 * PAGE)
    assert pages(PAGE) == BASE
    assert pages(4 * PAGE) == 0x4000_4000
    assert memory.read(0x4000_4000, 4 * PAGE) == bytes(4 * PAGE)
    assert memory.read(0x4000_2000, 2 * PAGE) == b"\xff" * 2 * PAGE
    assert pages.free == 0
    with pytest.raises(MemoryError):
        pages(PAGE)
