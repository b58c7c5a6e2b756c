"""Which half, which alias, which bit: the arithmetic of a Realm's address space."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from topbit.arch.ipa import IPA_BITS_MAX, IPA_BITS_MIN, IpaSpace, check_ipa_bits
from topbit.errors import UsageError

SPACES = st.integers(IPA_BITS_MIN, IPA_BITS_MAX).map(IpaSpace)
WORDS = st.integers(0, (1 << 64) - 1)
S41 = IpaSpace(41)
BIT = 1 << 40
END = 1 << 41


@pytest.mark.parametrize(
    ("bits", "number", "value", "size"),
    [
        (32, 31, 0x8000_0000, 0x1_0000_0000),
        (41, 40, 0x100_0000_0000, 0x200_0000_0000),
        (52, 51, 0x8_0000_0000_0000, 0x10_0000_0000_0000),
    ],
)
def test_the_bit_by_number_and_by_value(bits: int, number: int, value: int, size: int) -> None:
    space = IpaSpace(bits)
    assert (space.bit_number, space.shared_bit, space.size) == (number, value, size)


@pytest.mark.parametrize(
    ("address", "half", "marked"),
    [
        (0, "protected", False),
        (BIT - 1, "protected", False),
        (BIT, "unprotected", True),
        (END - 1, "unprotected", True),
        (END, "outside", False),
        (END | BIT, "outside", True),
        ((1 << 64) - 1, "outside", True),
        (-1, "outside", True),
    ],
)
def test_halves_end_where_they_should(address: int, half: str, marked: bool) -> None:
    assert S41.half(address) == half
    assert S41.has_shared_bit(address) is marked
    assert S41.contains(address) is (half != "outside")
    assert S41.in_par(address) is (half == "protected")
    assert S41.in_unprotected(address) is (half == "unprotected")


@pytest.mark.parametrize(
    ("start", "size", "contained", "protected", "unprotected"),
    [
        (0, BIT, True, True, False),
        (0, BIT + 1, True, False, False),
        (BIT - 4096, 4096, True, True, False),
        (BIT - 4096, 8192, True, False, False),  # over the border: in neither half
        (BIT, BIT, True, False, True),
        (BIT - 1, BIT + 1, True, False, False),
        (BIT, BIT + 1, False, False, False),
        (0, END, True, False, False),
        (0, END + 1, False, False, False),
        (END - 4096, 4096, True, False, True),
        (END - 4096, 8192, False, False, False),
        (-4096, 8192, False, False, False),
    ],
)
def test_a_range_lies_in_a_half_with_all_its_bytes(
    start: int, size: int, contained: bool, protected: bool, unprotected: bool
) -> None:
    assert S41.contains(start, size) is contained
    assert S41.in_par(start, size) is protected
    assert S41.in_unprotected(start, size) is unprotected


def test_the_two_addresses_of_a_page() -> None:
    assert S41.unprotected(0x433C_E000) == 0x100_433C_E000
    assert S41.protected(0x100_433C_E000) == 0x433C_E000
    assert S41.alias(0x433C_E000) == 0x100_433C_E000
    assert S41.alias(0x100_433C_E000) == 0x433C_E000


def test_what_lies_outside_stays_outside() -> None:
    # It must fault, not wrap onto valid memory: no other bit is touched.
    assert S41.protected(END | BIT | 0x1000) == END | 0x1000
    assert S41.unprotected(END | 0x1000) == END | BIT | 0x1000


@settings(deadline=None)
@given(SPACES, WORDS)
def test_exactly_one_bit_changes(space: IpaSpace, word: int) -> None:
    assert space.protected(word) ^ space.unprotected(word) == space.shared_bit
    assert space.alias(word) ^ word == space.shared_bit
    assert word in (space.protected(word), space.unprotected(word))
    assert not space.has_shared_bit(space.protected(word))
    assert space.has_shared_bit(space.unprotected(word))


@settings(deadline=None)
@given(SPACES, WORDS)
def test_an_address_and_its_alias_lie_in_different_halves(space: IpaSpace, word: int) -> None:
    halves = {space.half(word), space.half(space.alias(word))}
    assert halves in ({"protected", "unprotected"}, {"outside"})


@pytest.mark.parametrize("bits", [31, 53, 0, -1, 64])
def test_impossible_widths_are_refused(bits: int) -> None:
    with pytest.raises(UsageError, match="32 to 52"):
        IpaSpace(bits)
    with pytest.raises(UsageError, match=f"realm.ipa_bits: {bits} is no width"):
        check_ipa_bits(bits, "realm.ipa_bits")


def test_a_space_is_a_value() -> None:
    assert IpaSpace(41) == S41
    assert len({IpaSpace(41), S41, IpaSpace(40)}) == 2
    with pytest.raises(AttributeError):
        S41.bits = 42  # type: ignore[misc]
