"""Which slots does a mapping get, and are they free again?"""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pool_bench import BASE, KIB, MIB, POOL, PoolBench, device
from topbit.linux.swiotlb_pool import (
    IO_TLB_SEGSIZE,
    IO_TLB_SIZE,
    IoTlbPool,
    limit_nareas,
    swiotlb_align_offset,
)


@pytest.mark.parametrize(
    ("phys", "inside"),
    [(POOL - 1, False), (POOL, True), (POOL + MIB - 1, True), (POOL + MIB, False)],
)
def test_an_address_is_in_the_pool_or_not(phys: int, inside: bool) -> None:
    assert IoTlbPool(POOL, MIB // IO_TLB_SIZE).contains(phys) == inside


@pytest.mark.parametrize(
    ("nareas", "nslots", "limit"),
    [(4, 512, 4), (8, 512, 4), (4, 511, 3), (1, 64, 0), (2, 32768, 2)],
)
def test_each_area_has_a_segment(nareas: int, nslots: int, limit: int) -> None:
    assert limit_nareas(nareas, nslots) == limit


@pytest.mark.parametrize(
    ("mask", "alloc_mask", "address", "offset"),
    [
        (0, 0xFFFF, 0x1234, 0),
        (0xFFF, 0, 0x1234, 0x234),
        (0xFFF, 0, 0x1A34, 0x234),  # the slot has the other bits
        (0xFFF, 0xFFF, 0x1A34, 0xA34),  # padding slots have them
        (0x3FFF, 0xFFF, 0x7A34, 0xA34),
    ],
)
def test_the_offset_of_a_mapping(mask: int, alloc_mask: int, address: int, offset: int) -> None:
    assert swiotlb_align_offset(device(mask), alloc_mask, address) == offset


def test_the_search_goes_on_where_the_last_one_ended() -> None:
    bench = PoolBench()
    assert bench.map(BASE, 1) == POOL
    assert bench.map(BASE, 2048) == POOL + 2048
    assert bench.map(BASE, 2049) == POOL + 4096
    assert bench.pool.slots_used() == 4
    bench.unmap(POOL + 2048, 2048)
    assert bench.map(BASE, 2049) == POOL + 8192
    assert bench.map(BASE, 1) == POOL + 12288  # not the one that is free again before it


def test_at_the_end_the_search_begins_anew() -> None:
    bench = PoolBench(256 * KIB)
    assert bench.map(BASE, 254 * KIB) == POOL
    bench.unmap(POOL, 254 * KIB)
    assert bench.map(BASE, 2 * KIB) == POOL + 254 * KIB
    assert bench.map(BASE, 4 * KIB) == POOL


@pytest.mark.parametrize(
    ("size", "taken", "align", "start"),
    [
        (4096, 1, 0, POOL + 4096),  # a page or more is page aligned
        (4095, 1, 0, POOL + 2048),
        (4096, 1, 0x1FF, POOL + 2048 + 0x123),  # but with a mask the mask decides
        (4096, 0, 0xFFF, POOL + 0x123),
        (4096, 1, 0xFFF, POOL + 4096 + 0x123),
        (1, 1, 0x3FFF, POOL + 0x4000 + 0x123),
        (1, 1, 0x1FFF, POOL + 0x2000 + 0x123),
        (2048 - 0x123, 0, 0xFFF, POOL + 0x123),
    ],
)
def test_alignment_of_a_mapping(size: int, taken: int, align: int, start: int) -> None:
    bench = PoolBench()
    for _ in range(taken):
        bench.map(BASE, 1)
    assert bench.map(BASE + 0x123, size, align) == start


@pytest.mark.parametrize("page", range(4))
def test_every_bit_under_the_mask_is_kept(page: int) -> None:
    assert PoolBench().map(BASE + page * 4096, 1, 0x3FFF) == POOL + page * 4096


def test_an_allocation_has_no_original_whose_bits_could_be_kept() -> None:
    bench = PoolBench()
    bench.map(BASE, 1)
    (pool,) = bench.pool.pools
    assert pool.search_area(device(0x3FFF), 0, 0, POOL, 1, 0) == 1  # not 8, the next like slot 0


def test_without_a_mask_no_bit_is_kept() -> None:
    assert PoolBench().map(BASE + 0x1FFF, 1) == POOL


@pytest.mark.parametrize(
    ("orig", "size", "align", "alloc_align", "start", "used"),
    [
        (BASE, 100, 0, 0xFFF, POOL, 2),  # the size is rounded up
        (BASE + 0x923, 100, 0xFFF, 0xFFF, POOL + 0x923, 2),  # a slot of padding
        (BASE + 0xF23, 100, 0xFFF, 0x3FFF, POOL + 0xF23, 8),
        (BASE + 0x5923, 100, 0x3FFF, 0xFFF, POOL + 0x1923, 2),
    ],
)
def test_padding_before_and_after(
    orig: int, size: int, align: int, alloc_align: int, start: int, used: int
) -> None:
    bench = PoolBench()
    assert bench.map(orig, size, align, alloc_align=alloc_align) == start
    assert bench.pool.slots_used() == used
    bench.unmap(start, size, align=align)
    assert bench.pool.slots_used() == 0
    assert bench.pool.pools[0].free == PoolBench().pool.pools[0].free


def test_the_offset_that_is_kept_takes_room() -> None:
    bench = PoolBench()
    bench.map(BASE + 0x123, 2048 - 0x123, 0xFFF)
    assert bench.pool.slots_used() == 1
    bench.map(BASE + 0x123, 2048 - 0x122, 0xFFF)
    assert bench.pool.slots_used() == 3


def test_a_mapping_never_crosses_a_segment() -> None:
    bench = PoolBench()
    assert bench.map(BASE, 254 * KIB) == POOL
    assert bench.map(BASE, 3 * KIB) == POOL + 256 * KIB


@pytest.mark.parametrize(
    ("boundary", "second"),
    [(0xFFFF_FFFF, POOL + 40 * KIB), (0xFFFF, POOL + 64 * KIB)],
)
def test_a_mapping_never_crosses_the_devices_boundary(boundary: int, second: int) -> None:
    bench = PoolBench()
    assert bench.map(BASE, 40 * KIB, boundary=boundary) == POOL
    assert bench.map(BASE, 40 * KIB, boundary=boundary) == second


def test_the_boundary_is_one_of_device_addresses() -> None:
    bench = PoolBench()
    bench.bits = 0x8000  # half of a boundary of 64 KiB
    assert bench.map(BASE, 40 * KIB, boundary=0xFFFF) == POOL + 32 * KIB


def test_a_wrong_bit_in_the_pools_device_address_leaves_no_slot() -> None:
    # PROT_NS_SHARED in page-table form (0x200): "swiotlb buffer is full ... used 0".
    bench = PoolBench()
    bench.bits = 0x200
    assert bench.map(BASE, 16) is None
    assert bench.pool.slots_used() == 0


@pytest.mark.parametrize(
    ("cpu", "areas", "starts"),
    [
        (0, 4, [0, 256, 512, 768]),
        (2, 4, [512, 768, 0, 256]),
        (5, 4, [256, 512, 768, 0]),
        (0, 2, [0, 256, 512, 768]),
        (1, 2, [512, 768, 0, 256]),
    ],
)
def test_a_cpu_begins_in_its_own_area(cpu: int, areas: int, starts: list[int]) -> None:
    bench = PoolBench(nareas=areas)
    bench.pool.cpu = cpu
    assert [bench.map(BASE, 256 * KIB) for _ in starts] == [POOL + s * KIB for s in starts]


def test_a_pool_that_cannot_be_used_is_all_taken() -> None:
    bench = PoolBench()
    bench.pool.pools[0].mark_used()
    assert bench.map(BASE, 1) is None
    assert bench.pool.slots_used() == 512


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 0, 2), (1, 2, 0), (0, 2, 1)])
def test_free_slots_are_counted_together_again(order: tuple[int, ...]) -> None:
    bench = PoolBench(256 * KIB)
    starts = [bench.map(BASE, 4 * KIB) for _ in range(3)]
    for number in order:
        bench.unmap(starts[number] or 0, 4 * KIB)
    assert bench.pool.pools[0].free == list(range(128, 0, -1))


@settings(max_examples=60)
@given(
    st.lists(
        st.tuples(
            st.integers(0, (1 << 20) - 1),
            st.integers(1, 256 * KIB),
            st.sampled_from([0, 0xFFF, 0x1FF, 0x3FFF]),
            st.booleans(),
        ),
        max_size=24,
    ),
    st.sampled_from([1, 2, 4]),
)
def test_live_mappings_never_overlap_and_keep_their_low_bits(
    requests: list[tuple[int, int, int, bool]], nareas: int
) -> None:
    bench = PoolBench(nareas=nareas)
    live: list[tuple[int, int, int]] = []
    for offset, size, align, free in requests:
        slot = bench.map(BASE + offset, size, align)
        if slot is None:
            continue
        assert slot & align == (BASE + offset) & align
        first = (slot - POOL) // IO_TLB_SIZE
        last = (slot + size - 1 - POOL) // IO_TLB_SIZE
        assert first // IO_TLB_SEGSIZE == last // IO_TLB_SEGSIZE
        for start, length, _ in live:
            assert slot + size <= start or start + length <= slot
        live.append((slot, size, align))
        if free:
            address, length, mask = live.pop(0)
            bench.unmap(address, length, "BIDIRECTIONAL", align=mask)
    for address, length, mask in live:
        bench.unmap(address, length, "BIDIRECTIONAL", align=mask)
    assert bench.pool.slots_used() == 0
    assert bench.pool.pools[0].free == PoolBench().pool.pools[0].free
