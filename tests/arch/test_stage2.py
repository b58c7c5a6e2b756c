"""Stage-2 descriptors: where a level ends, and where 52-bit addresses keep their high bits."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from topbit.arch.stage2 import (
    G4K,
    G16K,
    G64K,
    Granule,
    Leaf,
    address_bits,
    is_leaf,
    is_table,
    output_address,
    pages,
)


@pytest.mark.parametrize(
    ("granule", "level", "shift"),
    [(G4K, 3, 12), (G4K, 2, 21), (G4K, 0, 39), (G16K, 3, 14), (G16K, 2, 25), (G64K, 2, 29)],
)
def test_level_shifts(granule: Granule, level: int, shift: int) -> None:
    assert granule.level_shift(level) == shift


# DDI0487 D8.2: up to 16 concatenated tables at the start level.
@pytest.mark.parametrize(
    ("bits", "level", "tables"),
    [(39, 1, 1), (40, 1, 2), (43, 1, 16), (40, 0, 1), (48, 0, 1), (33, 2, 8), (52, -1, 1)],
)
def test_concatenated_roots(bits: int, level: int, tables: int) -> None:
    assert G4K.root_tables(bits, level) == tables


@given(st.sampled_from([G4K, Granule(12, True), Granule(14, True), G64K]), st.integers(0))
def test_addresses_survive_the_descriptor(granule: Granule, number: int) -> None:
    width = 52 if granule.ds or granule.shift == 16 else 48
    oa = number % (1 << (width - granule.shift)) << granule.shift
    wide = granule.shift == 16
    descriptor = address_bits(oa, granule, wide=wide) | 3 | 1 << 10
    assert output_address(descriptor, granule, wide=wide) == oa


def test_the_high_bits_of_52_bit_addresses() -> None:
    # Bit 51 is bit 9 with 4K pages and LPA2, bit 15 with 64K pages and LPA.
    assert address_bits(1 << 51, Granule(12, True)) == 1 << 9
    assert address_bits(1 << 51, G64K, wide=True) == 1 << 15


def test_table_block_page_invalid() -> None:
    assert is_table(3, 2)
    assert not is_table(3, 3)
    assert is_leaf(3, 3)
    assert is_leaf(1, 2)
    assert not is_leaf(1, 3)
    assert not is_leaf(2, 2)


def test_runs_of_pages() -> None:
    run = pages(0x4000_0000, 3, 1 << 10).tolist()
    assert [Leaf.OA.get(d) for d in run] == [0x4000_0000, 0x4000_1000, 0x4000_2000]
    assert all(d & 0xFFF == 0x403 for d in run)
