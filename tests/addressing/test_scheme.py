"""The dma_addr_* helpers: exactly one bit changes, ints and arrays agree."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from topbit.addressing.scheme import (
    NONE,
    Scheme,
    amd_sev,
    amd_sme,
    arm_cca,
    dma_addr_canonical,
    dma_addr_encrypted,
    dma_addr_unencrypted,
    prot_ns_shared_pte,
    sev_tio,
)
from topbit.errors import UsageError

HELPERS = (dma_addr_encrypted, dma_addr_unencrypted, dma_addr_canonical)
U64 = st.integers(0, (1 << 64) - 1)
SCHEMES = st.one_of(
    st.integers(32, 52).map(arm_cca),
    st.sampled_from([47, 51]).map(amd_sme),
    st.sampled_from([47, 51]).map(amd_sev),
    st.just(NONE),
)


@settings(deadline=None)
@given(SCHEMES, U64)
def test_only_the_attribute_bit_ever_changes(scheme: Scheme, x: int) -> None:
    for helper in HELPERS:
        assert (helper(scheme, x) ^ x) & ~scheme.attribute_mask == 0


@settings(deadline=None)
@given(SCHEMES, st.lists(U64, min_size=1, max_size=8))
def test_ints_and_arrays_agree(scheme: Scheme, values: list[int]) -> None:
    array = np.array(values, dtype=np.uint64)
    for helper in HELPERS:
        assert helper(scheme, array).tolist() == [helper(scheme, v) for v in values]
        assert array.tolist() == values  # the argument is left alone


@settings(deadline=None)
@given(SCHEMES, U64)
def test_canonical_undoes_both(scheme: Scheme, x: int) -> None:
    canonical = dma_addr_canonical(scheme, x)
    for helper in (dma_addr_encrypted, dma_addr_unencrypted):
        assert dma_addr_canonical(scheme, helper(scheme, x)) == canonical


@pytest.mark.parametrize(
    ("scheme", "encrypted", "unencrypted", "canonical"),
    [
        # Arm CCA: set means shared; the encrypted helper does nothing.
        (arm_cca(41), 0x4000_0000, 0x100_4000_0000, 0x4000_0000),
        (arm_cca(33), 0x4000_0000, 0x1_4000_0000, 0x4000_0000),
        # AMD SME and SEV: set means encrypted; the unencrypted helper does nothing.
        (amd_sme(47), 0x8000_4000_0000, 0x4000_0000, 0x4000_0000),
        (amd_sev(51), 0x8_0000_4000_0000, 0x4000_0000, 0x4000_0000),
        (NONE, 0x4000_0000, 0x4000_0000, 0x4000_0000),
    ],
)
def test_polarity(scheme: Scheme, encrypted: int, unencrypted: int, canonical: int) -> None:
    x = 0x4000_0000
    assert dma_addr_encrypted(scheme, x) == encrypted
    assert dma_addr_unencrypted(scheme, x) == unencrypted
    assert dma_addr_canonical(scheme, encrypted | unencrypted) == canonical


def test_bits_above_the_ipa_space_survive_canonicalisation() -> None:
    # They must fault, not wrap onto valid memory (review of v2 of the series).
    assert dma_addr_canonical(arm_cca(40), 1 << 41 | 1 << 39 | 0x1000) == 1 << 41 | 0x1000


# An offset is added and compared, where a bit is set and cleared (SEV-TIO, proposed).
@pytest.mark.parametrize(
    ("x", "shared", "canonical"),
    [
        (0x1000, 1 << 46 | 0x1000, 0x1000),
        ((1 << 46) - 1, (1 << 47) - 1, (1 << 46) - 1),
        (1 << 46, 1 << 47, 0),
        ((1 << 64) - 1, (1 << 64) - 1, (1 << 64) - 1 - (1 << 46)),
    ],
)
def test_an_offset(x: int, shared: int, canonical: int) -> None:
    scheme = sev_tio()
    assert dma_addr_unencrypted(scheme, x) == shared
    assert dma_addr_canonical(scheme, x) == canonical
    assert dma_addr_encrypted(scheme, x) == x
    for helper in HELPERS:
        assert helper(scheme, np.array([x], np.uint64)).tolist() == [helper(scheme, x)]


@pytest.mark.parametrize("bits", [31, 53, 0, -1, 64])
def test_impossible_widths_are_refused(bits: int) -> None:
    with pytest.raises(UsageError, match="32 to 52"):
        arm_cca(bits)


# Linux 7.2 __phys_to_pte_val, with CONFIG_ARM64_PA_BITS_52; 51 and 52 observed on 7.2.13 and 7.3.4.
@pytest.mark.parametrize(
    ("ipa_bits", "page_shift", "value"),
    [
        (41, 12, 1 << 40),
        (48, 12, 1 << 47),
        (49, 12, 1 << 48),
        (50, 12, 1 << 49),
        (51, 12, 0x100),
        (52, 12, 0x200),
        (52, 14, 0x200),
        (48, 16, 1 << 47),
        (49, 16, 0x1_0000_0000_1000),
        (50, 16, 0x2_0000_0000_2000),
        (51, 16, 0x4000),
        (52, 16, 0x8000),
    ],
)
def test_the_shared_bit_in_page_table_form(ipa_bits: int, page_shift: int, value: int) -> None:
    assert prot_ns_shared_pte(ipa_bits, page_shift) == value
