"""The pool for allocations that may not sleep."""

import pytest

from topbit.events import Event
from topbit.linux.atomic_pool import AtomicPool
from topbit.linux.pageattr import LinearMap
from topbit.machine.model.flat_cpu import FlatCpu

BASE, PAGE = 0x4000_0000, 4096
POOL = BASE + 0x10_0000


def pool(*, pages: int | None = POOL, refuses: bool = False) -> tuple[AtomicPool, list[Event]]:
    events: list[Event] = []
    memory = LinearMap(FlatCpu(BASE, 2 << 20), BASE, 2 << 20, None, events.append)
    if refuses:
        memory.set_memory_decrypted = lambda phys, count: -22  # type: ignore[method-assign]
    return AtomicPool(memory, lambda count: pages, events.append, shared=True), events


def test_pages_are_aligned_to_their_size_and_zeroed() -> None:
    atomic, _ = pool()
    atomic.memory.write(POOL, b"\xff" * 4 * PAGE)
    assert atomic.alloc(1) == POOL
    assert atomic.alloc(2 * PAGE) == POOL + 2 * PAGE
    assert atomic.alloc(PAGE) == POOL + PAGE
    assert atomic.memory.read(POOL, 1) == b"\0"
    assert atomic.memory.read(POOL + 1, 1) == b"\xff"  # zeroed is what was asked for
    assert atomic.memory.read(POOL + PAGE, 3 * PAGE) == bytes(3 * PAGE)
    assert atomic.release(POOL + 2 * PAGE, PAGE + 1)
    assert atomic.alloc(2 * PAGE) == POOL + 2 * PAGE


def test_128_kib_are_all_that_there_is() -> None:
    atomic, _ = pool()
    assert atomic.alloc((128 << 10) + 1) is None
    assert atomic.alloc(128 << 10) == POOL
    assert atomic.alloc(1) is None


def growing(*orders: int, refuses: bool = False) -> tuple[AtomicPool, list[tuple[int, int]]]:
    """A pool, and what it gives back, where there are so many pages, one after the other."""
    memory = LinearMap(FlatCpu(BASE, 4 << 20), BASE, 4 << 20, None, lambda event: None)
    blocks = list(orders)
    given, at = [], [BASE]

    def pages(count: int) -> int | None:
        if not blocks or count > 1 << blocks[0]:
            return None
        blocks.pop(0)
        at.append(at[-1] + count * PAGE)
        return at[-2]

    made = AtomicPool(
        memory, pages, lambda event: None, shared=True, free_pages=lambda *some: given.append(some)
    )
    if refuses:
        memory.set_memory_decrypted = lambda phys, count: -22  # type: ignore[method-assign]
    return made, given


def test_it_doubles_once_less_than_its_first_size_is_free() -> None:
    atomic, _ = growing(10, 10, 10)
    atomic.resize()
    assert (atomic.size, atomic.available) == (128 << 10, 128 << 10)
    first = atomic.alloc(PAGE)
    assert (first, atomic.size) == (BASE, 128 << 10)  # not at once
    atomic.resize()
    assert (atomic.size, atomic.available) == (256 << 10, 252 << 10)
    assert atomic.alloc(PAGE) == BASE + (128 << 10)  # what came last is used first
    atomic.resize()
    assert atomic.size == 256 << 10
    assert atomic.alloc(128 << 10) is None  # in neither part is so much
    assert atomic.alloc(64 << 10) == BASE + (192 << 10)
    assert atomic.release(BASE, PAGE)
    atomic.resize()
    assert atomic.size == 256 << 10


def test_it_grows_only_if_it_is_still_low() -> None:
    atomic, _ = growing(10, 10)
    phys = atomic.alloc(PAGE)
    assert phys is not None
    assert atomic.release(phys, PAGE)
    atomic.resize()
    assert atomic.size == 128 << 10


def test_it_takes_less_if_there_is_no_more() -> None:
    atomic, _ = growing(3, 0)
    assert (atomic.ready, atomic.size) == (True, 8 * PAGE)
    assert atomic.alloc(8 * PAGE) == BASE
    atomic.resize()
    assert atomic.size == 9 * PAGE
    assert atomic.alloc(2 * PAGE) is None
    assert atomic.alloc(PAGE) == BASE + 8 * PAGE
    atomic.resize()
    assert atomic.size == 9 * PAGE


def test_it_does_not_grow_by_what_cannot_be_shared() -> None:
    atomic, given = growing(5, 10, refuses=True)
    atomic.alloc(PAGE)
    atomic.resize()
    assert atomic.size == 128 << 10
    assert given == [(BASE + (128 << 10), 32)]


def test_only_the_first_place_is_asked_about() -> None:
    atomic, _ = pool()
    asked: list[int] = []

    def fits(phys: int) -> bool:
        asked.append(phys)
        return False

    assert atomic.alloc(PAGE, fits) is None
    assert asked == [POOL]
    assert atomic.alloc(PAGE) == POOL


def test_nothing_is_no_allocation() -> None:
    atomic, _ = pool()
    assert atomic.alloc(0) is None


@pytest.mark.parametrize("phys", [POOL - PAGE, POOL + (128 << 10)])
def test_what_is_not_the_pools_is_not_taken(phys: int) -> None:
    atomic, _ = pool()
    assert not atomic.release(phys, PAGE)


@pytest.mark.parametrize(("pages", "refuses"), [(None, False), (POOL, True)])
def test_a_pool_that_could_not_be_made_says_so(pages: int | None, refuses: bool) -> None:
    atomic, events = pool(pages=pages, refuses=refuses)
    assert not atomic.ready
    assert atomic.alloc(1) is None
    assert not atomic.release(POOL, PAGE)
    (event,) = events
    assert (event.status, event.detail) == (
        "atomic_pool",
        "DMA: failed to allocate 128 KiB GFP_KERNEL pool for atomic allocation",
    )
