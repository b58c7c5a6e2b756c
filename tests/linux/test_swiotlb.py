"""The bounce pool: slots, alignment, boundaries, and when data is copied."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from topbit.events import ignore
from topbit.linux.pageattr import LinearMap
from topbit.linux.swiotlb import IO_TLB_SEGSIZE, IO_TLB_SIZE, IoTlbPool

BASE, SIZE, POOL = 0x4000_0000, 4 << 20, 0x4030_0000
KIB, MIB = 1024, 1 << 20


class FlatCpu:
    """RAM without a Realm around it."""

    def __init__(self) -> None:
        self.ram = bytearray(SIZE)

    def smc(self, function: int, *arguments: int) -> tuple[int, ...]:
        raise AssertionError("outside a Realm nobody calls the RMM")

    def load(self, ipa: int, size: int) -> bytes:
        return bytes(self.ram[ipa - BASE : ipa - BASE + size])

    def store(self, ipa: int, data: bytes) -> None:
        self.ram[ipa - BASE : ipa - BASE + len(data)] = data


@pytest.fixture
def pool() -> IoTlbPool:
    return IoTlbPool(LinearMap(FlatCpu(), BASE, SIZE, None, ignore), POOL, 1 << 20)


@pytest.mark.parametrize("direction", ["FROM_DEVICE", "BIDIRECTIONAL"])
def test_map_copies_in_and_unmap_copies_back(pool: IoTlbPool, direction: str) -> None:
    pool.memory.write(BASE + 0x100, b"from the driver")
    slot = pool.map(BASE + 0x100, 15, POOL)
    assert slot is not None
    assert pool.memory.read(slot, 15) == b"from the driver"
    pool.memory.write(slot, b"from the device")
    pool.unmap(slot, direction)
    assert pool.memory.read(BASE + 0x100, 15) == b"from the device"
    assert pool.slots_used() == 0


def test_a_mapping_given_up_without_sync_is_not_copied_back(pool: IoTlbPool) -> None:
    pool.memory.write(BASE, b"original")
    slot = pool.map(BASE, 8, POOL)
    assert slot is not None
    pool.memory.write(slot, b"clobberd")
    pool.unmap(slot, "BIDIRECTIONAL", sync=False)
    assert pool.memory.read(BASE, 8) == b"original"


def test_to_device_is_not_copied_back(pool: IoTlbPool) -> None:
    pool.memory.write(BASE, b"original")
    slot = pool.map(BASE, 8, POOL)
    assert slot is not None
    pool.memory.write(slot, b"clobberd")
    pool.unmap(slot, "TO_DEVICE")
    assert pool.memory.read(BASE, 8) == b"original"


def test_from_device_copies_in_too_so_that_nothing_leaks(pool: IoTlbPool) -> None:
    # A device that writes less than it said must not give the driver an earlier user's data.
    first = pool.map(BASE, 64, POOL)
    assert first is not None
    pool.memory.write(first, b"secret of another mapping" + bytes(39))
    pool.unmap(first, "TO_DEVICE")
    again = pool.map(BASE + 0x1000, 64, POOL)
    assert again == first
    assert pool.memory.read(again, 64) == bytes(64)


def test_an_unmapped_slot_is_no_mapping_any_more(pool: IoTlbPool) -> None:
    slot = pool.map(BASE, 8, POOL)
    assert slot is not None
    assert list(pool.slots) == [slot]
    pool.unmap(slot, "TO_DEVICE")
    assert pool.slots == {}
    with pytest.raises(KeyError):
        pool.unmap(slot, "TO_DEVICE")


@pytest.mark.parametrize(
    ("phys", "inside"),
    [(POOL - 1, False), (POOL, True), (POOL + MIB - 1, True), (POOL + MIB, False)],
)
def test_an_address_is_in_the_pool_or_not(pool: IoTlbPool, phys: int, inside: bool) -> None:
    assert pool.contains(phys) == inside


def test_the_first_slots_that_fit_are_taken(pool: IoTlbPool) -> None:
    assert pool.map(BASE, 1, POOL) == POOL
    assert pool.map(BASE, 2048, POOL) == POOL + 2048
    assert pool.map(BASE, 2049, POOL) == POOL + 4096
    assert pool.slots_used() == 4
    pool.unmap(POOL + 2048, "TO_DEVICE")
    assert pool.map(BASE, 2049, POOL) == POOL + 8192
    assert pool.map(BASE, 1, POOL) == POOL + 2048


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
def test_alignment_of_a_mapping(
    pool: IoTlbPool, size: int, taken: int, align: int, start: int
) -> None:
    for _ in range(taken):
        pool.map(BASE, 1, POOL)
    assert pool.map(BASE + 0x123, size, POOL, align) == start


@pytest.mark.parametrize("page", range(4))
def test_every_bit_under_the_mask_is_kept(pool: IoTlbPool, page: int) -> None:
    assert pool.map(BASE + page * 4096, 1, POOL, 0x3FFF) == POOL + page * 4096


def test_without_a_mask_no_bit_is_kept(pool: IoTlbPool) -> None:
    assert pool.map(BASE + 0x1FFF, 1, POOL) == POOL


def test_the_offset_that_is_kept_takes_room(pool: IoTlbPool) -> None:
    pool.map(BASE + 0x123, 2048 - 0x123, POOL, 0xFFF)
    assert pool.slots_used() == 1
    pool.map(BASE + 0x123, 2048 - 0x122, POOL, 0xFFF)
    assert pool.slots_used() == 3


def test_a_mapping_never_crosses_a_group_of_slots(pool: IoTlbPool) -> None:
    assert pool.map(BASE, 254 * KIB, POOL) == POOL
    assert pool.map(BASE, 3 * KIB, POOL) == POOL + 256 * KIB
    assert pool.map(BASE, 2 * KIB, POOL) == POOL + 254 * KIB


def test_256_kib_is_the_longest_mapping(pool: IoTlbPool) -> None:
    assert pool.max_mapping_size(0) == 256 * KIB
    assert pool.max_mapping_size(4095) == 252 * KIB
    assert pool.max_mapping_size(1) == pool.max_mapping_size(2048) == 254 * KIB
    assert pool.map(BASE, 256 * KIB, POOL) is not None
    assert pool.map(BASE, 256 * KIB + 1, POOL) is None


def test_a_full_pool_says_so(pool: IoTlbPool) -> None:
    assert [pool.map(BASE, 256 * KIB, POOL) for _ in range(4)].count(None) == 0
    assert pool.map(BASE, 1, POOL) is None


def test_a_wrong_bit_in_the_pools_device_address_leaves_no_slot(pool: IoTlbPool) -> None:
    # PROT_NS_SHARED in page-table form (0x200): "swiotlb buffer is full ... used 0".
    assert pool.map(BASE, 16, POOL | 0x200) is None
    assert pool.slots_used() == 0


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.integers(0, (1 << 20) - 1),
            st.integers(1, 256 * KIB),
            st.sampled_from([0, 0xFFF, 0x1FF]),
            st.booleans(),
        ),
        max_size=24,
    )
)
def test_live_mappings_never_overlap_and_keep_their_low_bits(
    requests: list[tuple[int, int, int, bool]],
) -> None:
    pool = IoTlbPool(LinearMap(FlatCpu(), BASE, SIZE, None, ignore), POOL, 1 << 20)
    live: list[tuple[int, int]] = []
    for offset, size, align, free in requests:
        slot = pool.map(BASE + offset, size, POOL, align)
        if slot is None:
            continue
        assert slot & align == (BASE + offset) & align
        first = (slot - POOL) // IO_TLB_SIZE
        last = (slot + size - 1 - POOL) // IO_TLB_SIZE
        assert first // IO_TLB_SEGSIZE == last // IO_TLB_SEGSIZE
        for start, length in live:
            assert slot + size <= start or start + length <= slot
        live.append((slot, size))
        if free:
            address, _ = live.pop(0)
            pool.unmap(address, "BIDIRECTIONAL")
    for address, _ in live:
        pool.unmap(address, "BIDIRECTIONAL")
    assert pool.slots_used() == 0
