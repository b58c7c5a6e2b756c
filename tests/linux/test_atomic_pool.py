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
    assert atomic.memory.read(POOL, 4 * PAGE) == bytes(4 * PAGE)
    assert atomic.release(POOL + 2 * PAGE, PAGE + 1)
    assert atomic.alloc(2 * PAGE) == POOL + 2 * PAGE


def test_128_kib_are_all_that_there_is() -> None:
    atomic, _ = pool()
    assert atomic.alloc((128 << 10) + 1) is None
    assert atomic.alloc(128 << 10) == POOL
    assert atomic.alloc(1) is None


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
