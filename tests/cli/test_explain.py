"""Which address, and which width, does a command line mean?"""

import pytest

from topbit.cli.explain import to_address, width_for
from topbit.errors import UsageError

ALIAS = 0x100_433C_E000


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("0x100433ce000", ALIAS),
        ("100433CE000", ALIAS),
        ("0X10", 0x10),
        ("0x1_0000", 0x1_0000),
        ("0", 0),
        ("ffffffffffffffff", (1 << 64) - 1),
    ],
)
def test_an_address_is_hexadecimal(text: str, value: int) -> None:
    assert to_address(text) == value


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("nvme0", "'nvme0' is no address"),
        ("", "'' is no address"),
        ("0x", "'0x' is no address"),
        ("10000000000000000", "does not fit 64 bits"),
        ("-1", "does not fit 64 bits"),
        ("-0", "does not fit 64 bits"),
    ],
)
def test_what_is_no_address_is_refused(text: str, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        to_address(text)


def test_the_width_is_the_one_given() -> None:
    assert width_for(ALIAS, 48) == (48, "")


@pytest.mark.parametrize(
    ("address", "width"), [(1 << 31, 32), ((1 << 32) - 1, 32), (ALIAS, 41), (1 << 51, 52)]
)
def test_without_a_width_the_top_bit_is_taken_for_the_shared_bit(address: int, width: int) -> None:
    note = f"assuming that its top bit, bit {width - 1}, is the shared bit"
    assert width_for(address, None) == (width, note)


@pytest.mark.parametrize("address", [0, (1 << 31) - 1, 1 << 52, (1 << 64) - 1])
def test_an_address_that_shows_no_width_needs_one(address: int) -> None:
    with pytest.raises(UsageError, match="--ipa-bits"):
        width_for(address, None)
