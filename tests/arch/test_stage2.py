"""Stage-2 descriptors: where a level ends, and where 52-bit addresses keep their high bits."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from topbit.arch.ipa import Pa
from topbit.arch.stage2 import (
    G4K,
    G16K,
    G64K,
    VTCR,
    Geometry,
    Granule,
    address_array,
    address_bits,
    is_leaf,
    is_table,
    output_address,
    output_array,
    signed_level,
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


GRANULES = [G4K, G16K, G64K, Granule(12, True), Granule(14, True), Granule(16, True)]
WORDS = st.lists(st.integers(0, (1 << 64) - 1), min_size=1, max_size=4)


@settings(deadline=None)
@given(st.sampled_from(GRANULES), st.integers(0))
def test_addresses_survive_the_descriptor(granule: Granule, number: int) -> None:
    width = 52 if granule.ds else 48
    oa = number % (1 << (width - granule.shift)) << granule.shift
    descriptor = address_bits(oa, granule) | 3 | 1 << 10
    assert output_address(descriptor, granule) == oa


# DDI0487 D8.3: the bits of a descriptor that hold an address, and the address bits that they are.
@pytest.mark.parametrize(
    ("granule", "oa", "descriptor"),
    [
        (G4K, 1 << 47, 1 << 47),
        (G4K, 1 << 48, 0),
        (Granule(12, True), 1 << 49, 1 << 49),
        (Granule(12, True), 1 << 50, 1 << 8),
        (Granule(12, True), 1 << 51, 1 << 9),
        (Granule(14, True), 1 << 51, 1 << 9),
        (Granule(16, True), 1 << 48, 1 << 12),
        (Granule(16, True), 1 << 51, 1 << 15),
    ],
)
def test_where_the_high_bits_of_an_address_stand(
    granule: Granule, oa: int, descriptor: int
) -> None:
    assert address_bits(oa, granule) == descriptor
    assert output_address(descriptor, granule) == (oa if descriptor else 0)


def test_a_block_ignores_address_bits_below_its_size() -> None:
    assert output_address(0x4012_3403, G4K, 2) == 0x4000_0000
    assert output_address(0x4012_3403 | 1 << 9, Granule(12, True), 2) == 0x4000_0000 | 1 << 51


@settings(deadline=None)
@given(st.sampled_from(GRANULES), WORDS)
def test_arrays_are_read_as_ints_are(granule: Granule, words: list[int]) -> None:
    array = np.array(words, np.uint64)
    for level in granule.block_levels():
        assert output_array(array, granule, level).tolist() == [
            output_address(word, granule, level) for word in words
        ]
    assert address_array(array, granule).tolist() == [address_bits(w, granule) for w in words]
    assert array.tolist() == words  # the argument is left alone


@pytest.mark.parametrize(
    ("value", "width", "level"),
    [(3, 64, 3), (0, 64, 0), ((1 << 64) - 1, 64, -1), (255, 8, -1), (3, 8, 3), (127, 8, 127)],
)
def test_signed_levels(value: int, width: int, level: int) -> None:
    assert signed_level(value, width) == level


# SL0 and S2SL0 (DDI0487 VTCR_EL2, IHI0070 5.2): level by granule; level -1 is SL2.
@pytest.mark.parametrize(
    ("granule", "level", "sl0", "sl2"),
    [
        (G4K, 0, 2, 0),
        (G4K, 1, 1, 0),
        (G4K, 2, 0, 0),
        (G4K, 3, 3, 0),
        (Granule(12, True), -1, 0, 1),
        (G16K, 1, 2, 0),
        (G16K, 3, 0, 0),
        (Granule(14, True), 0, 3, 0),
        (G64K, 1, 2, 0),
        (G64K, 2, 1, 0),
    ],
)
def test_start_levels(granule: Granule, level: int, sl0: int, sl2: int) -> None:
    shape = Geometry(40, level, granule)
    control, entry = VTCR.of(shape.vtcr()), shape.ste(Pa(0), 1)
    assert (sl0, sl2) == (control.SL0, control.SL2)
    assert (sl0, sl2) == (entry.S2SL0, entry.S2SL0_2)


@pytest.mark.parametrize(
    ("shape", "vtcr", "words"),
    [
        (  # T0SZ 23, SL0 2, 48-bit output
            Geometry(41, 0),
            0x8005_3597,
            (0xD, 1 << 44, 0x046D_3597 << 32 | 7, 0x8000_0000),
        ),
        (  # LPA2: T0SZ 12, SL2, DS, 52-bit output
            Geometry(52, -1, Granule(12, True), 52),
            0x3_8006_350C,
            (0xD, 1 << 44, 0x046E_350C << 32 | 7, 0x8000_000C),
        ),
        (  # 16K: T0SZ 24, SL0 2 (level 1), TG0 2, 44-bit output
            Geometry(40, 1, G16K, 44),
            0x8004_B598,
            (0xD, 1 << 44, 0x046C_B598 << 32 | 7, 0x8000_0000),
        ),
    ],
)
def test_the_registers_that_point_at_a_table(
    shape: Geometry, vtcr: int, words: tuple[int, ...]
) -> None:
    assert shape.vtcr() == vtcr
    entry = shape.ste(Pa(0x8000_0000), vmid=7)
    assert [hex(word) for word in entry.words[:4]] == [hex(word) for word in words]
    assert not any(entry.words[4:])
    assert shape.ste(Pa(0x8000_0000), vmid=7, record=False).S2R == 0


def test_table_block_page_invalid() -> None:
    assert is_table(3, 2)
    assert not is_table(3, 3)
    assert is_leaf(3, 3)
    assert is_leaf(1, 2)
    assert not is_leaf(1, 3)
    assert not is_leaf(2, 2)
