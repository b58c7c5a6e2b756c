"""Does the flattened copy of a table hold exactly its usable leaves, and when is there none?"""

import numpy as np
import pytest

from topbit.arch.stage2 import NS, Granule
from topbit.host.io_pgtable import READ, WRITE, Stage2Table
from topbit.host.pages import PageRange
from topbit.memory import PhysicalMemory
from topbit.smmu import Smmu, flat
from topbit.smmu.bus import Bus
from topbit.smmu.flat import MAX_PAGES, SLOT_SHIFT, Flat, FlatTables, flatten, look_up_numpy
from topbit.smmu.ste import Stage2, StreamConfig, decode

BASE, SIZE, PAGE, SLOT = 0x4000_0000, 16 << 20, 4096, 1 << SLOT_SHIFT


class Bench:
    """A table in memory, and the SMMU that would walk it."""

    def __init__(self, ipa_bits: int = 39, granule: Granule | None = None) -> None:
        self.memory = PhysicalMemory(BASE, SIZE)
        self.pages = PageRange(self.memory, BASE + (8 << 20), 8 << 20)
        self.table = Stage2Table(self.memory, self.pages, ipa_bits, granule=granule or Granule(12))
        self.smmu = Smmu(self.memory)

    @property
    def stage2(self) -> Stage2:
        config = decode(self.table.ste(1), 48)
        assert isinstance(config, StreamConfig)
        assert config.stage2 is not None
        return config.stage2

    def flat(self, *, write: bool = False) -> Flat | None:
        return flatten(self.stage2, write, self.smmu.bus)

    def look_up(self, *iovas: int, write: bool = False) -> list[int | None]:
        copy = self.flat(write=write)
        assert copy is not None
        array = np.array(iovas, np.uint64)
        pas, codes = np.empty_like(array), np.empty(array.shape, np.uint8)
        look_up_numpy(copy, array, pas, codes)
        return [None if code else int(pa) for pa, code in zip(pas, codes, strict=True)]


def test_each_page_leads_to_its_output() -> None:
    bench = Bench()
    bench.table.map(3 * PAGE, 0x9000_0000, PAGE)
    bench.table.map(5 * PAGE, 0x8000_0000, 2 * PAGE)
    found = bench.look_up(*(number * PAGE + 5 for number in range(8)))
    assert found == [
        None, None, None, 0x9000_0005, None, 0x8000_0005, 0x8000_1005, None,
    ]  # fmt: skip


def test_a_block_is_as_many_pages() -> None:
    bench = Bench()
    bench.table.map(4 << 20, 0x9000_0000 & -(2 << 20), 2 << 20)
    assert bench.look_up((4 << 20) - 1, 4 << 20, (6 << 20) - 1, 6 << 20) == [
        None, 0x9000_0000, 0x901F_FFFF, None,
    ]  # fmt: skip


def test_a_leaf_larger_than_a_slot_is_taken_in_pieces() -> None:
    bench = Bench(granule=Granule(14))  # blocks of 32 MiB and, without DS, none of 64 GiB
    bench.table.map(1 << 25, 1 << 25, 1 << 25)
    assert bench.look_up(1 << 25, (1 << 26) - 1, 1 << 26) == [1 << 25, (1 << 26) - 1, None]
    wide = Bench(granule=Granule(16))
    wide.table.map(0, 1 << 29, 1 << 29)
    assert wide.look_up(0x1_2345, (1 << 29) - 1) == [0x2001_2345, 0x3FFF_FFFF]


def test_a_leaf_of_64_slots_is_taken_in_64_pieces() -> None:
    memory = PhysicalMemory(BASE, SIZE)
    pages = PageRange(memory, BASE, SIZE)
    granule, size = Granule(14, ds=True), 64 * SLOT
    table = Stage2Table(memory, pages, 47, granule=granule, output_bits=52)
    table.map(size, 3 * size, size)
    config = decode(table.ste(1), 52)
    assert isinstance(config, StreamConfig)
    assert config.stage2 is not None
    copy = flatten(config.stage2, False, Smmu(memory, oas_bits=52).bus)
    assert copy is not None
    assert (copy.first, copy.starts.size) == (64, 65)
    iovas = np.array([size - 1, size, size + 5 * SLOT + 9, 2 * size - 1, 2 * size], np.uint64)
    pas, codes = np.empty_like(iovas), np.empty(iovas.shape, np.uint8)
    look_up_numpy(copy, iovas, pas, codes)
    assert codes.tolist() == [1, 0, 0, 0, 1]
    assert pas[1:4].tolist() == [3 * size, 3 * size + 5 * SLOT + 9, 4 * size - 1]


def test_addresses_below_between_and_above_the_slots_miss() -> None:
    bench = Bench()
    for slot in (3, 6):
        bench.table.map(slot * SLOT, 0x8000_0000 + slot * PAGE, PAGE)
        bench.table.map((slot + 1) * SLOT - PAGE, 0x9000_0000 + slot * PAGE, PAGE)
    copy = bench.flat()
    assert copy is not None
    assert (copy.first, copy.contiguous, copy.starts.size) == (3, False, 5)
    assert bench.look_up(0, 3 * SLOT - 1, 3 * SLOT, 4 * SLOT - 1) == [
        None, None, 0x8000_3000, 0x9000_3FFF,
    ]  # fmt: skip
    assert bench.look_up(4 * SLOT, 5 * SLOT + PAGE, 6 * SLOT, 7 * SLOT, 1 << 63) == [
        None, None, 0x8000_6000, None, None,
    ]  # fmt: skip


def test_neighbouring_slots_are_one_run() -> None:
    bench = Bench()
    for slot in (3, 4):
        bench.table.map(slot * SLOT, slot * SLOT, PAGE)
    copy = bench.flat()
    assert copy is not None
    assert copy.contiguous
    assert bench.look_up(3 * SLOT - 1, 3 * SLOT, 4 * SLOT, 4 * SLOT + PAGE, (1 << 64) - 1) == [
        None, 3 * SLOT, 4 * SLOT, None, None,
    ]  # fmt: skip


def test_only_what_permits_the_access_is_in_the_copy() -> None:
    bench = Bench()
    bench.table.map(0, 0x8000_0000, PAGE, READ)
    bench.table.map(PAGE, 0x8000_0000, PAGE, WRITE)
    assert bench.look_up(0, PAGE) == [0x8000_0000, None]
    assert bench.look_up(0, PAGE, write=True) == [None, 0x8000_0000]


def test_a_clear_access_flag_is_left_to_the_walk_where_it_is_checked() -> None:
    bench = Bench()
    bench.table.map(0, 0x8000_0000, 2 * PAGE)
    last = BASE + SIZE - bench.pages.free - PAGE
    bench.memory.write_u64(last, bench.memory.read_u64(last) & ~(1 << 10))
    assert bench.look_up(0, PAGE) == [0x8000_0000, 0x8000_1000]
    checked = Stage2(**{name: getattr(bench.stage2, name) for name in Stage2.__slots__} | {
        "access_flag": True
    })  # fmt: skip
    copy = flatten(checked, False, bench.smmu.bus)
    assert copy is not None
    assert np.count_nonzero(copy.delta & np.uint64(1) == 0) == 1


def test_tables_and_outputs_that_cannot_be_are_left_to_the_walk() -> None:
    bench = Bench()
    bench.table.map(0, 0x8000_0000, PAGE)
    root = bench.table.root
    bench.memory.write_u64(root + 8, (BASE + SIZE) | 3)  # a table behind memory
    bench.memory.write_u64(root + 16, (BASE - PAGE) | 3)  # before it
    bench.memory.write_u64(root + 24, (BASE + SIZE - PAGE // 2) & ~0xFFF | 3)
    assert bench.look_up(0, 1 << 30, 2 << 30) == [0x8000_0000, None, None]


@pytest.mark.parametrize("refused", [False, True])
def test_a_table_that_granule_protection_refuses_is_left_to_the_walk(refused: bool) -> None:
    bench = Bench()
    bench.table.map(0, 0x8000_0000, PAGE)
    bench.table.map(1 << 30, 0x8000_0000, PAGE)
    first = bench.memory.read_u64(bench.table.root) & ~0xFFF
    asked: list[tuple[int, int, bool]] = []

    def check(pa: int, size: int, write: bool, pas: object) -> str | None:
        asked.append((pa, size, write))
        return "no" if refused and pa == first else None

    bench.smmu.bus.gpc = check
    assert bench.look_up(0, 1 << 30) == [None if refused else 0x8000_0000, 0x8000_0000]
    assert (first, PAGE, False) in asked


def test_nothing_mapped_is_no_copy() -> None:
    bench = Bench()
    assert bench.flat() is None
    bench.table.map(0, 0x8000_0000, PAGE)
    assert bench.flat() is not None


def test_a_table_that_is_too_large_is_no_copy(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench()
    for slot in range(3):
        bench.table.map(slot * SLOT, 0x8000_0000, PAGE)
    per_slot = SLOT // PAGE
    monkeypatch.setattr(flat, "MAX_PAGES", 3 * per_slot)
    assert bench.flat() is not None
    monkeypatch.setattr(flat, "MAX_PAGES", 3 * per_slot - 1)
    assert bench.flat() is None
    assert MAX_PAGES == 1 << 22


def test_tables_that_point_to_themselves_end() -> None:
    bench = Bench()
    root = bench.table.root
    for entry in range(512):
        bench.memory.write_u64(root + 8 * entry, root | 3)
    assert bench.flat() is None


def test_a_copy_is_made_once_for_each_kind_of_access_and_again_after_an_invalidation(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    bench = Bench()
    bench.table.map(0, 0x8000_0000, PAGE)
    made: list[bool] = []

    def counted(stage2: Stage2, write: bool, bus: Bus) -> Flat | None:
        made.append(write)
        return flatten(stage2, write, bus)

    monkeypatch.setattr(flat, "flatten", counted)
    iovas = np.array([0, PAGE], np.uint64)
    pas, codes = np.empty_like(iovas), np.empty(2, np.uint8)
    tables = FlatTables(bench.smmu.caches.tlb)
    for write in (False, False, True, True):
        found = tables.translate(bench.stage2, iovas, write, bench.smmu.bus, 48, pas, codes)
        assert found is None
        assert (pas.tolist(), codes.tolist()) == ([0x8000_0000, 0], [0, 0x10])
    assert made == [False, True]
    bench.smmu.caches.tlb.generation += 1
    tables.translate(bench.stage2, iovas, False, bench.smmu.bus, 48, pas, codes)
    assert made == [False, True, False]


def test_a_realm_stream_is_always_walked() -> None:
    bench = Bench()
    bench.table.map(0, 0x8000_0000, PAGE)
    at = BASE + SIZE - bench.pages.free - PAGE
    bench.memory.write_u64(at, bench.memory.read_u64(at) | NS)
    config = decode(bench.table.ste(1), 48, realm=True)
    assert isinstance(config, StreamConfig)
    assert config.stage2 is not None
    iovas = np.array([0, PAGE], np.uint64)
    pas, codes = np.empty_like(iovas), np.empty(2, np.uint8)
    tables = FlatTables(bench.smmu.caches.tlb)
    non_secure = tables.translate(config.stage2, iovas, False, bench.smmu.bus, 48, pas, codes)
    assert non_secure is not None
    assert non_secure.tolist() == [True, False]


def test_many_addresses_are_looked_up_in_chunks() -> None:
    bench = Bench()
    bench.table.map(0, 0x8000_0000, 1 << 20)
    rng = np.random.default_rng(1)
    iovas = rng.integers(0, 2 << 20, 3 * flat.CHUNK + 7, dtype=np.uint64)
    copy = bench.flat()
    assert copy is not None
    pas, codes = np.empty_like(iovas), np.empty(iovas.shape, np.uint8)
    look_up_numpy(copy, iovas, pas, codes)
    inside = iovas < 1 << 20
    assert (codes == ~inside).all()
    assert (pas[inside] == iovas[inside] + np.uint64(0x8000_0000)).all()
