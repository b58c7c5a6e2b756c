"""phys_to_dma*() and dma_to_phys() through dma-ranges, in both orders of patch 1/3."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from topbit.addressing.dma_direct import (
    DMA_MAPPING_ERROR,
    PHYS_ADDR_INVALID,
    PIECE,
    BusDmaRegion,
    DmaDevice,
    dma_capable,
    dma_to_phys,
    phys_to_dma,
    phys_to_dma_unencrypted,
    translate_dma_to_phys,
    translate_phys_to_dma,
)
from topbit.addressing.scheme import NONE, amd_sme, arm_cca

RANGES = (
    BusDmaRegion(0x4000_0000, 0x0, 0x1000_0000),
    BusDmaRegion(0x8000_0000, 0x8000_0000, 0x1000_0000),
)
CCA = arm_cca(41)
S = 1 << 40


def test_each_region_moves_addresses() -> None:
    assert translate_phys_to_dma(RANGES, 0x4000_1000) == 0x1000
    assert translate_phys_to_dma(RANGES, 0x8000_1000) == 0x8000_1000
    assert translate_dma_to_phys(RANGES, 0x1000) == 0x4000_1000


@pytest.mark.parametrize("outside", [0x3FFF_FFFF, 0x5000_0000, 0x9000_0000, 1 << 40])
def test_outside_every_region(outside: int) -> None:
    assert translate_phys_to_dma(RANGES, outside) == DMA_MAPPING_ERROR
    assert translate_dma_to_phys(RANGES, outside | 1 << 40) == PHYS_ADDR_INVALID


def test_a_region_of_size_zero_ends_the_list() -> None:
    ended = (BusDmaRegion(0, 0, 0), *RANGES)
    assert translate_phys_to_dma(ended, 0x4000_0000) == DMA_MAPPING_ERROR
    array = np.array([0x4000_0000], np.uint64)
    assert translate_phys_to_dma(ended, array).tolist() == [DMA_MAPPING_ERROR]


def test_the_first_region_that_holds_an_address_wins() -> None:
    overlapping = (BusDmaRegion(0x1000, 0x9000, 0x1000), BusDmaRegion(0x1000, 0x5000, 0x1000))
    assert translate_phys_to_dma(overlapping, 0x1800) == 0x9800
    assert translate_phys_to_dma(overlapping, np.array([0x1800], np.uint64)).tolist() == [0x9800]


def test_the_shared_bit_is_set_on_the_bus_address() -> None:
    dev = DmaDevice(CCA, RANGES)
    assert phys_to_dma_unencrypted(dev, 0x4000_2000) == 0x2000 | S
    assert phys_to_dma(dev, 0x4000_2000) == 0x2000


def test_setting_the_bit_keeps_dma_mapping_error() -> None:
    dev = DmaDevice(CCA, RANGES)
    assert phys_to_dma_unencrypted(dev, 0x1000) == DMA_MAPPING_ERROR
    assert not dma_capable(dev, DMA_MAPPING_ERROR, 1)


def test_new_order_round_trip_and_old_order_loss_behind_dma_ranges() -> None:
    new = DmaDevice(CCA, RANGES)
    old = DmaDevice(CCA, RANGES, canonical_before_lookup=False)
    dma_addr = phys_to_dma_unencrypted(new, 0x4000_2000)
    assert dma_to_phys(new, dma_addr) == 0x4000_2000
    # (phys_addr_t)-1 with the attribute bit cleared afterwards: the fault that patch 1/3 mends.
    assert dma_to_phys(old, dma_addr) == PHYS_ADDR_INVALID & ~S


def test_old_order_is_harmless_without_dma_ranges() -> None:
    old = DmaDevice(amd_sme(), canonical_before_lookup=False)
    assert dma_to_phys(old, phys_to_dma(old, 0x1234_5000)) == 0x1234_5000


def test_before_the_series_shared_memory_had_plain_addresses() -> None:
    before = DmaDevice(CCA, alias_for_shared=False)
    assert phys_to_dma_unencrypted(before, 0x4000_2000) == 0x4000_2000


@pytest.mark.parametrize(
    ("mask", "limit", "addr", "size", "capable"),
    [
        (0xFFFF_FFFF, 0, 0xFFFF_F000, 0x1000, True),
        (0xFFFF_FFFF, 0, 0xFFFF_F000, 0x1001, False),
        (0xFFFF_FFFF, 0, 1 << 40, 1, False),
        ((1 << 64) - 1, 0xFFFF, 0x10000, 1, False),
        (0, 0xFFFF, 0xFFFF, 1, True),
        (0xFFFF_FFFF, 0x1_FFFF_FFFF, 0x1_0000_0000, 1, False),
    ],
)
def test_dma_capable(mask: int, limit: int, addr: int, size: int, capable: bool) -> None:
    assert dma_capable(DmaDevice(CCA, (), mask, limit), addr, size) is capable


@settings(deadline=None)
@given(
    st.lists(st.integers(0, (1 << 48) - 1), min_size=1, max_size=16),
    st.sampled_from([NONE, CCA, amd_sme(47)]),
    st.booleans(),
    st.booleans(),
)
def test_ints_and_arrays_agree(values: list[int], scheme, new: bool, ranges: bool) -> None:  # type: ignore[no-untyped-def]
    dev = DmaDevice(scheme, RANGES if ranges else (), canonical_before_lookup=new)
    array = np.array(values, np.uint64)
    for helper in (phys_to_dma, phys_to_dma_unencrypted, dma_to_phys):
        assert helper(dev, array).tolist() == [helper(dev, v) for v in values]


@settings(deadline=None)
@given(st.integers(0, 0x0FFF_FFFF), st.sampled_from([CCA, amd_sme(47), NONE]))
def test_round_trip_inside_the_ranges(offset: int, scheme) -> None:  # type: ignore[no-untyped-def]
    dev = DmaDevice(scheme, RANGES)
    for region in RANGES:
        phys = region.cpu_start + offset
        assert dma_to_phys(dev, phys_to_dma(dev, phys)) == phys
        assert dma_to_phys(dev, phys_to_dma_unencrypted(dev, phys)) == phys


@pytest.mark.parametrize("regions", [RANGES[:1], RANGES])
@pytest.mark.parametrize("new", [True, False])
@pytest.mark.parametrize("outside", [False, True])
def test_long_arrays_are_what_their_addresses_are(
    regions: tuple[BusDmaRegion, ...], new: bool, outside: bool
) -> None:
    dev = DmaDevice(CCA, regions, canonical_before_lookup=new)
    first = 0x4000_0000 - 0x1000 * outside
    x = np.arange(first, first + 3 * PIECE * 64, 64, dtype=np.uint64)[: 2 * PIECE + 7]
    for helper in (phys_to_dma, phys_to_dma_unencrypted):
        got = helper(dev, x)
        assert got.dtype == np.uint64
        for at in (0, 63, 64, PIECE - 1, PIECE, 2 * PIECE - 1, 2 * PIECE, 2 * PIECE + 6):
            assert int(got[at]) == helper(dev, int(x[at]))
        back = dma_to_phys(dev, got)
        for at in (0, 64, PIECE, 2 * PIECE + 6):
            assert int(back[at]) == dma_to_phys(dev, int(got[at]))
        square = helper(dev, x[: 2 * PIECE].reshape(2, PIECE))
        assert square.shape == (2, PIECE)
        assert (square.reshape(-1) == got[: 2 * PIECE]).all()
    assert x[0] == first  # what was given is as it was


def test_no_addresses_are_none() -> None:
    empty = np.empty(0, np.uint64)
    assert phys_to_dma_unencrypted(DmaDevice(CCA, RANGES[:1]), empty).tolist() == []


@pytest.mark.parametrize("length", [PIECE, PIECE + 1])
def test_an_array_that_is_asked_about_stays_as_it_was(length: int) -> None:
    x = np.full(length, 0x4000_0040, np.uint64)
    kept = x.copy()
    assert (phys_to_dma_unencrypted(DmaDevice(CCA, RANGES[:1]), x) == (0x40 | S)).all()
    assert (x == kept).all()
