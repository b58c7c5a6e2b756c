"""Every way through a function is taken, exactly, and what cannot be followed is refused."""

from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from topbit.addressing.proofs.symbolic import NotFollowedError, Path, Unknown, explore

U64 = (1 << 64) - 1
MASKS = [0, 1, 0x300, 1 << 40, ~(1 << 40), U64]


def ways(claim: Callable[[Path], bool]) -> list[tuple[bool, dict[str, int]]]:
    return [(held, path.example()) for held, path in explore(claim, 41)]


def test_each_way_is_taken_once_with_the_smallest_numbers() -> None:
    def claim(path: Path) -> bool:
        x, y = path.unknown("x"), path.unknown("y")
        if x < 10:
            return bool(y)
        return x + y == 12

    assert sorted(ways(claim), key=str) == [
        (False, {"x": 0, "y": 0}),
        (False, {"x": 10, "y": 0}),
        (True, {"x": 0, "y": 1}),
        (True, {"x": 10, "y": 2}),
    ]


def test_a_way_that_assumes_nonsense_is_left_out() -> None:
    def claim(path: Path) -> bool:
        x = path.unknown("x")
        path.assume(x > 3, x < 3 if x == 5 else x < 5)
        return x == 4

    assert ways(claim) == [(True, {"x": 4})]


def test_the_width_stands_in_the_example_of_who_asked() -> None:
    assert ways(lambda path: path.unknown("x") < path.ipa_bits) == [
        (True, {"ipa_bits": 41, "x": 0}),
        (False, {"ipa_bits": 41, "x": 41}),
    ]


@settings(deadline=None, max_examples=40)
@given(st.integers(0, U64), st.sampled_from(MASKS), st.integers(0, U64))
def test_it_computes_what_ints_compute(value: int, mask: int, other: int) -> None:
    def claim(path: Path) -> bool:
        x = path.unknown("x")
        path.assume(x == value)
        pairs = [
            (x + other, value + other),
            (other + x, other + value),
            (x - other, value - other),
            (other - x, other - value),
            (x & mask, value & mask),
            (mask & x, mask & value),
            ((x - other) & mask, (value - other) & mask),
        ]
        if 0 <= mask < U64:
            pairs += [(x | mask, value | mask), (x ^ mask, value ^ mask)]
            pairs += [(mask | x, mask | value), (mask ^ x, mask ^ value)]
        compared = [
            ((x < other), value < other),
            ((x <= other), value <= other),
            ((x > other), value > other),
            ((x >= other), value >= other),
            ((x == other), value == other),
            ((x != other), value != other),
        ]
        return all(got == right for got, right in pairs) and all(
            bool(got) is right for got, right in compared
        )

    assert {held for held, _ in explore(claim, 41)} == {True}


@pytest.mark.parametrize(
    "use",
    [
        lambda x: x << 1,
        lambda x: 1 << x,
        lambda x: x >> 1,
        lambda x: x * 2,
        lambda x: -x,
        lambda x: ~x,
        lambda x: x // 2,
        lambda x: divmod(x, 2),
        lambda x: x + 0.5,
        lambda x: x == "x",
        lambda x: x | x,
        lambda x: x & x,
        lambda x: x | 0xFF,
        lambda x: x | -1,
        lambda x: f"{x:x}",
        lambda x: str(int(x)),
        lambda x: x.bit_length(),
        lambda x: x.real,
    ],
)
def test_what_it_cannot_do_exactly_it_refuses(use: Callable[[Unknown], object]) -> None:
    with pytest.raises(NotFollowedError):
        list(explore(lambda path: bool(use(path.unknown("x"))), 41))


def test_conditions_compare_as_what_they_decide() -> None:
    def claim(path: Path) -> bool:
        x = path.unknown("x")
        return (x < 5) == (x <= 4)

    assert {held for held, _ in explore(claim, 41)} == {True}
