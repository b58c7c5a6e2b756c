"""When is a bounce buffer's data copied, what fits, and how does a pool grow?"""

import pytest

from pool_bench import BASE, KIB, MIB, POOL, PoolBench, device


@pytest.mark.parametrize("direction", ["FROM_DEVICE", "BIDIRECTIONAL"])
def test_map_copies_in_and_unmap_copies_back(direction: str) -> None:
    bench = PoolBench()
    bench.memory.write(BASE + 0x100, b"from the driver")
    slot = bench.map(BASE + 0x100, 15)
    assert slot is not None
    assert bench.memory.read(slot, 15) == b"from the driver"
    bench.memory.write(slot, b"from the device")
    bench.unmap(slot, 15, direction)
    assert bench.memory.read(BASE + 0x100, 15) == b"from the device"
    assert bench.pool.slots_used() == 0


@pytest.mark.parametrize(("direction", "sync"), [("BIDIRECTIONAL", False), ("TO_DEVICE", True)])
def test_what_is_not_copied_back(direction: str, sync: bool) -> None:
    bench = PoolBench()
    bench.memory.write(BASE, b"original")
    slot = bench.map(BASE, 8)
    assert slot is not None
    bench.memory.write(slot, b"clobberd")
    assert bench.unmap(slot, 8, direction, sync=sync)
    assert bench.memory.read(BASE, 8) == b"original"
    assert bench.pool.slots_used() == 0


def test_from_device_copies_in_too_so_that_nothing_leaks() -> None:
    # A device that writes less than it said must not give the driver an earlier user's data.
    bench = PoolBench(256 * KIB)
    first = bench.map(BASE, 256 * KIB)
    assert first is not None
    bench.memory.write(first, b"secret of another mapping" + bytes(39))
    bench.unmap(first, 256 * KIB)
    again = bench.map(BASE + 0x1000, 64)
    assert again == first
    assert bench.memory.read(again, 64) == bytes(64)


def test_an_address_outside_ends_nothing() -> None:
    bench = PoolBench()
    bench.map(BASE, 8)
    assert not bench.unmap(POOL - 2048, 8)
    assert bench.pool.slots_used() == 1


@pytest.mark.parametrize(
    ("direction", "for_device", "for_cpu"),
    [
        ("TO_DEVICE", True, False),
        ("FROM_DEVICE", False, True),
        ("BIDIRECTIONAL", True, True),
    ],
)
def test_sync_copies_by_direction(direction: str, for_device: bool, for_cpu: bool) -> None:
    bench = PoolBench()
    slot = bench.map(BASE, 4)
    assert slot is not None
    bench.memory.write(BASE, b"cpu!")
    bench.pool.sync_single_for_device(device(), slot, 4, direction)
    assert (bench.memory.read(slot, 4) == b"cpu!") is for_device
    bench.memory.write(slot, b"dev!")
    bench.pool.sync_single_for_cpu(device(), slot, 4, direction)
    assert (bench.memory.read(BASE, 4) == b"dev!") is for_cpu


@pytest.mark.parametrize("part", [0, 1, 0x6DC, 0x6DD, 0x6DE, 0x1000, 0x17FF])
def test_a_part_of_a_mapping_is_synchronised(part: int) -> None:
    """Also one that lies in the first bytes of a later slot, before the offset that is kept."""
    bench = PoolBench()
    slot = bench.map(BASE + 0x123, 0x1800, 0xFFF)
    assert slot is not None
    bench.memory.write(slot + part, b"x")
    bench.pool.sync_single_for_cpu(device(0xFFF), slot + part, 1, "FROM_DEVICE")
    assert bench.memory.read(BASE + 0x123, 0x1800).index(b"x") == part


def test_more_than_is_left_of_a_mapping_is_warned_of_and_cut() -> None:
    bench = PoolBench()
    slot = bench.map(BASE, 100)
    assert slot is not None
    bench.memory.write(slot, b"x" * 200)
    bench.pool.sync_single_for_cpu(device(), slot + 10, 200, "FROM_DEVICE")
    assert bench.memory.read(BASE, 200) == bytes(10) + b"x" * 90 + bytes(100)
    (event,) = bench.events
    assert (event.status, event.detail) == (
        "bounce_sync",
        "nvme0: Buffer overflow detected. Allocation size: 90. Mapping size: 200.",
    )


def test_a_slot_that_holds_nothing_is_not_copied() -> None:
    bench = PoolBench()
    bench.memory.write(POOL, b"left")
    bench.pool.sync_single_for_cpu(device(), POOL, 4, "FROM_DEVICE")
    bench.pool.sync_single_for_device(device(), BASE, 4, "TO_DEVICE")  # no pool
    assert bench.events == []


@pytest.mark.parametrize(
    ("mask", "longest"), [(0, 256), (1, 254), (2048, 254), (2049, 252), (4095, 252)]
)
def test_256_kib_is_the_longest_mapping(mask: int, longest: int) -> None:
    bench = PoolBench()
    assert bench.pool.max_mapping_size(device(mask)) == longest * KIB
    assert bench.map(BASE, longest * KIB, mask) is not None
    assert bench.map(BASE, 256 * KIB + 1, mask) is None


def test_a_full_pool_says_so_with_the_padding_in_its_size() -> None:
    bench = PoolBench()
    assert [bench.map(BASE, 256 * KIB) for _ in range(4)].count(None) == 0
    assert bench.map(BASE + 0x123, 1, 0xFFF) is None
    (event,) = bench.events
    assert (event.size, event.attrs) == (0x124, "total=512|used=512")
    assert event.detail == (
        "nvme0: swiotlb buffer is full (sz: 292 bytes), total 512 (slots), used 512 (slots)"
    )


@pytest.mark.parametrize(("size", "align"), [(1, 4096), (4096, 4096), (4097, 8192), (20000, 32768)])
def test_pages_of_a_restricted_pool_are_aligned_to_their_order(size: int, align: int) -> None:
    bench = PoolBench()
    bench.map(BASE, 1)
    phys = bench.pool.alloc(device(), size, lambda start: start)
    assert phys == POOL + align
    bench.pool.free(device(), phys)
    assert bench.pool.slots_used() == 1


def test_a_pool_that_grows_serves_the_mapping_alone_and_adds_a_pool_later() -> None:
    bench = PoolBench(256 * KIB, grows=512)
    bench.pages = [BASE + 0x10_0000, BASE + 0x20_0000]
    bench.map(BASE, 256 * KIB)
    bench.memory.write(BASE, b"copied")
    alone = bench.map(BASE, 3000)
    assert alone == BASE + 0x10_0000
    assert bench.memory.read(alone, 6) == b"copied"
    assert bench.pool.nslabs == 128
    bench.memory.write(alone, b"device")
    assert bench.unmap(alone, 3000, "FROM_DEVICE")
    assert bench.memory.read(BASE, 6) == b"device"
    assert bench.freed == [(BASE + 0x10_0000, 1)]
    bench.pool.dyn_alloc()
    assert bench.pool.nslabs == 128 + 512
    assert bench.map(BASE, 3000) == BASE + 0x20_0000
    assert bench.events == []
    bench.pool.dyn_alloc()  # nobody asked
    assert bench.pool.nslabs == 640


@pytest.mark.parametrize(
    ("grows", "room", "asked", "added"),
    [
        (2048, 1024, [1024, 512], 1024),
        (1500, 256, [750, 384, 192], 384),
        (4096, 1024, [1024, 512], 1024),  # the page allocator gives 4 MiB at most
        (1024, 128, [512, 256], 0),  # less than 1 MiB is no pool
        (256, 64, [128], 0),
    ],
)
def test_a_pool_that_grows_takes_less_where_there_is_no_room(
    grows: int, room: int, asked: list[int], added: int
) -> None:
    bench = PoolBench(256 * KIB, grows=grows)
    tried: list[int] = []

    def pages(count: int) -> int | None:
        tried.append(count)
        return BASE + MIB if count <= room and count > 1 and len(tried) > 1 else None

    assert bench.pool.growth is not None
    bench.map(BASE, 256 * KIB)
    bench.map(BASE, 1)
    bench.pool.growth.alloc_pages = pages
    bench.pool.dyn_alloc()
    assert tried == asked
    assert bench.pool.nslabs == 128 + added


def test_a_pool_that_cannot_grow_is_full() -> None:
    bench = PoolBench(256 * KIB, grows=512)
    bench.map(BASE, 256 * KIB)
    assert bench.map(BASE, 1) is None
    bench.pool.dyn_alloc()
    assert [event.detail for event in bench.events][1:] == [
        "software IO TLB: Failed to allocate new pool"
    ]
    assert bench.map(BASE, MIB) is None  # no pool is made for what can never fit
    assert bench.pool.growth is not None
    assert not bench.pool.growth.wanted
