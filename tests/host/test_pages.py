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


def test_what_came_back_is_given_first() -> None:
    pool = PagePool(BASE, 3 * PAGE)
    assert pool.page() == BASE
    pool.free.append(BASE)
    assert [pool.page(), pool.page()] == [BASE, BASE + PAGE]


def test_runs_are_aligned_and_fit() -> None:
    pool = PagePool(BASE, 8 * PAGE)
    assert pool.run(2, align=4 * PAGE) == 0x4000_4000
    assert pool.run(1) == 0x4000_6000
    with pytest.raises(MemoryError):
        pool.run(2, align=8 * PAGE)  # from 0x4000_8000, of which one page is left
    assert pool.run(2) == 0x4000_7000
    with pytest.raises(MemoryError):
        pool.run(1)


FIRST, END = 0x4000_0000, 0x4000_4000


@pytest.mark.parametrize(
    ("first", "count", "align", "start"),
    [
        (FIRST, 2, PAGE, FIRST),
        (FIRST + PAGE, 2, 2 * PAGE, FIRST + 2 * PAGE),
        (FIRST, 2, 2 * PAGE, FIRST),
        (FIRST + PAGE, 4, PAGE, None),
        (FIRST, 4, PAGE, FIRST),
        (FIRST + PAGE, 1, 4 * PAGE, None),
        (FIRST, 5, PAGE, None),
    ],
)
def test_a_run_ends_in_the_pool_or_takes_nothing(
    first: int, count: int, align: int, start: int | None
) -> None:
    pool = PagePool(first, END - first)
    if start is None:
        with pytest.raises(MemoryError):
            pool.run(count, align)
        assert pool.page() == first
    else:
        assert pool.run(count, align) == start
        left = range(start + count * PAGE, END, PAGE)
        assert [pool.page() for _ in left] == list(left)


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
