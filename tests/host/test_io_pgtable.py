"""Mapping and unmapping in table bytes, against a dictionary of pages."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from topbit.arch.stage2 import G16K, G64K, Granule
from topbit.host.io_pgtable import MappingError, Stage2Table
from topbit.host.pages import PageRange
from topbit.memory import PhysicalMemory

BASE = 0x4000_0000
PAGE = 4096
MIB2 = 0x20_0000


def new(ipa_bits: int = 41, **options: object) -> Stage2Table:
    memory = PhysicalMemory(BASE, 4 << 20)
    return Stage2Table(memory, PageRange(memory, BASE, 4 << 20), ipa_bits, **options)  # type: ignore[arg-type]


def test_default_start_levels() -> None:
    assert [new(bits).start_level for bits in (30, 39, 40, 48)] == [2, 1, 0, 0]
    assert new(36, granule=G16K).start_level == 2
    assert new(42, granule=G64K).start_level == 2
    assert new(52, granule=Granule(12, ds=True), output_bits=52).start_level == -1


def test_concatenated_roots_are_aligned_to_their_size() -> None:
    memory = PhysicalMemory(BASE, 4 << 20)
    pages = PageRange(memory, BASE + PAGE, 1 << 20)
    assert Stage2Table(memory, pages, 43, start_level=1).root % (16 * PAGE) == 0
    with pytest.raises(ValueError, match="44 bits at level 1"):
        Stage2Table(memory, pages, 44, start_level=1)
    with pytest.raises(ValueError, match="30 bits at level 1"):
        Stage2Table(memory, pages, 30, start_level=1)


@pytest.mark.parametrize("iova", [-1, -PAGE, 1 << 39, (1 << 39) + PAGE, 1 << 52])
def test_an_address_beyond_the_table_is_not_mapped(iova: int) -> None:
    table = new(39)
    table.map(0, 0x8000_0000, 2 * PAGE)
    table.map((1 << 39) - PAGE, 0x9000_0000, PAGE)
    assert table.lookup(iova) is None


def test_descriptors() -> None:
    table = new(39)
    table.map(0x1000, 0x8000_1000, PAGE)
    leaf = table.memory.read_u64(BASE + 2 * PAGE + 8)
    assert leaf == 0x8000_1000 | 0x7FF  # page, write-back, read-write, inner shareable, AF
    table.map(MIB2, 0x8020_0000, MIB2)
    assert table.memory.read_u64(BASE + PAGE + 8) == 0x8020_0000 | 0x7FD


def test_blocks_only_where_aligned_and_wanted() -> None:
    for blocks, free in ((True, 3), (False, 4)):
        table = new(39, blocks=blocks)
        before = table._allocate.free  # type: ignore[attr-defined]
        table.map(MIB2 - PAGE, 0x8000_0000 + MIB2 - PAGE, MIB2 + 2 * PAGE)
        used = (before - table._allocate.free) // PAGE  # type: ignore[attr-defined]
        assert used == free  # level 2 and the level 3 tables
        for iova in (MIB2 - PAGE, MIB2, 2 * MIB2 - 1, 2 * MIB2):
            assert table.lookup(iova) == 0x8000_0000 + iova
        assert table.lookup(2 * MIB2 + PAGE) is None


def test_unmapping_part_of_a_block_splits_it() -> None:
    table = new(39)
    table.map(0, 0x8000_0000, 1 << 30)
    assert table.unmap(MIB2 + 5 * PAGE, PAGE) == PAGE
    assert table.lookup(MIB2 + 5 * PAGE) is None
    for iova in (0, MIB2, MIB2 + 4 * PAGE, MIB2 + 6 * PAGE, 5 * MIB2, (1 << 30) - 1):
        assert table.lookup(iova) == 0x8000_0000 + iova
    assert table.unmap(0, 1 << 30) == (1 << 30) - PAGE


@pytest.mark.parametrize(
    ("iova", "pa", "size", "errno"),
    [
        (0x1001, 0, PAGE, "EINVAL"),
        (0x1000, 8, PAGE, "EINVAL"),
        (0x1000, 0, 0, "EINVAL"),
        (0x1000, 0, 100, "EINVAL"),
        (1 << 39, 0, PAGE, "ERANGE"),
        ((1 << 39) - PAGE, 0, 2 * PAGE, "ERANGE"),
        (-PAGE, 0, PAGE, "ERANGE"),
        (0x1000, 1 << 48, PAGE, "ERANGE"),
        (0x1000, (1 << 48) - PAGE, 2 * PAGE, "ERANGE"),
        (0x4000, 0, 3 * PAGE, "EEXIST"),
    ],
)
def test_refused_mappings(iova: int, pa: int, size: int, errno: str) -> None:
    table = new(39)
    table.map(0x6000, 0x8000_0000, PAGE)
    with pytest.raises(MappingError) as error:
        table.map(iova, pa, size)
    assert error.value.errno == errno
    if errno == "EEXIST":
        assert error.value.iova == 0x6000
        assert table.lookup(0x4000) is None, "nothing was mapped"


def test_no_table_page_left() -> None:
    memory = PhysicalMemory(BASE, 4 << 20)
    table = Stage2Table(memory, PageRange(memory, BASE, 2 * PAGE), 39)
    with pytest.raises(MappingError, match="ENOMEM"):
        table.map(0, 0, PAGE)


def test_a_large_range_of_pages() -> None:
    memory = PhysicalMemory(BASE, 64 << 20)
    table = Stage2Table(memory, PageRange(memory, BASE, 64 << 20), 48, blocks=False)
    table.map(1 << 47, 1 << 40, 8 << 30)
    rng = np.random.default_rng(1)
    for page in rng.integers(0, 8 << 18, 200).tolist():
        assert table.lookup((1 << 47) + page * PAGE) == (1 << 40) + page * PAGE
    assert table.unmap((1 << 47) + PAGE, 4 << 30) == 4 << 30


@pytest.mark.parametrize(
    "granule", [Granule(12, ds=True), Granule(14, ds=True), Granule(16, ds=True)]
)
def test_52_bit_output_addresses(granule: Granule) -> None:
    table = new(48, granule=granule, output_bits=52)
    high = 0xA_5000_0000_0000
    size = granule.level_size(2)
    table.map(size, high, 2 * size)
    table.map(8 * size, high + 16 * size + granule.bytes, 3 * granule.bytes)
    table.unmap(size + granule.bytes, granule.bytes)
    assert table.lookup(size) == high
    assert table.lookup(size + granule.bytes) is None
    assert table.lookup(size + 2 * granule.bytes) == high + 2 * granule.bytes
    assert table.lookup(2 * size + 5) == high + size + 5
    assert table.lookup(8 * size + 2 * granule.bytes) == high + 16 * size + 3 * granule.bytes


operations = st.lists(
    st.tuples(
        st.booleans(),
        st.sampled_from([0, 1, 2, 3, 510, 511, 512, 1023, 1024, 1500]),
        st.sampled_from([1, 2, 3, 511, 512, 513, 1024]),
        st.sampled_from([0, 1, 512]),
    ),
    max_size=12,
)


@settings(max_examples=60, deadline=None)
@given(operations, st.booleans())
def test_against_a_dictionary(steps: list[tuple[bool, int, int, int]], blocks: bool) -> None:
    table = new(31, start_level=2, blocks=blocks)  # two concatenated tables
    top = (1 << 30) >> 12
    known: dict[int, int] = {}
    for mapping, first, count, shift in steps:
        pages = range(top + first, top + first + count)
        if mapping:
            target = (0x8_0000 + first + shift) * PAGE
            taken = [page for page in pages if page in known]
            if taken:
                with pytest.raises(MappingError, match="EEXIST") as error:
                    table.map(pages[0] * PAGE, target, count * PAGE)
                assert error.value.iova == taken[0] * PAGE
            else:
                table.map(pages[0] * PAGE, target, count * PAGE)
                known.update((p, 0x8_0000 + p - top + shift) for p in pages)
        else:
            gone = known.keys() & set(pages)
            assert table.unmap(pages[0] * PAGE, count * PAGE) == len(gone) * PAGE
            for page in gone:
                del known[page]
    for page in range(top, top + 2600):
        expected = known.get(page)
        assert table.lookup(page * PAGE) == (None if expected is None else expected * PAGE)


def test_memory_for_tables_is_zeroed_aligned_and_ends() -> None:
    memory = PhysicalMemory(BASE, 4 * PAGE)
    memory.fill(BASE, 4 * PAGE, 0xA5)
    pages = PageRange(memory, BASE, 3 * PAGE)
    assert pages(PAGE // 2) == BASE
    assert pages(PAGE) == BASE + PAGE
    assert pages.free == PAGE
    left = [any(memory.read(BASE + n * PAGE // 2, PAGE // 2)) for n in range(8)]
    assert left == [False, True, False, False, True, True, True, True]
    with pytest.raises(MemoryError):
        pages(2 * PAGE)
    assert pages(PAGE) == BASE + 2 * PAGE
    assert pages.free == 0
    with pytest.raises(MemoryError):
        pages(PAGE)


@pytest.mark.parametrize(("bits", "fits"), [(12, False), (21, False), (22, True), (53, False)])
def test_a_width_that_no_root_table_has_is_refused(bits: int, fits: bool) -> None:
    if fits:
        assert new(bits).start_level == 2
    else:
        with pytest.raises(ValueError, match=f"no stage-2 root of {bits} bits"):
            new(bits)
