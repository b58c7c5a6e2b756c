"""Which ways can a Python function take through its code, for every number that it may be given?

The function is called with `Unknown`s in place of ints. They compute z3 terms instead of numbers;
where the code asks whether a comparison holds, and both answers are possible, it is called once for
each. So nothing is transcribed: a changed line of the function is a changed proof.

* `explore` calls it until every way has been taken;
* on each, a `Path` knows what has been assumed and decided, and makes the unknown numbers;
* a way on which the claim does not hold has numbers that lead there: the counterexample.

A term is an integer of linear arithmetic, as unbounded as Python's. A mask is looked at bit by bit:
whether the bit is set in the number is one more decision, after which setting or clearing it is an
addition. The width of the IPA space is a number in each exploration, and every width gets one. What
an `Unknown` cannot do exactly it refuses.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import z3

from topbit.errors import PlatformFault

ADDRESS_BITS = 64
MASK_BITS = 4  # a mask that has more, or leaves out more, is none that an address scheme has


class NotFollowedError(PlatformFault):
    """What did the code do with an unknown number that no proof can follow?"""


class _Vacuous(PlatformFault):
    """The assumptions contradict each other here: there is nothing to claim."""


class Path:
    """What has been assumed and decided on one way through the code?

    Args:
        ipa_bits: width of the IPA space.
        replayed: the decisions that lead to it, as far as they are known.
        pending: gets the decisions that lead to other ways.
    """

    def __init__(self, ipa_bits: int, replayed: list[bool], pending: list[list[bool]]) -> None:
        self.unknowns: dict[str, Any] = {}
        self.width_matters = False
        self._ipa_bits = ipa_bits
        self._replayed = replayed
        self._pending = pending
        self._decided: list[bool] = []
        self._solver = z3.Solver()

    @property
    def ipa_bits(self) -> int:
        """How wide is the IPA space? Who asks is asked again for every other width."""
        self.width_matters = True
        return self._ipa_bits

    def unknown(self, name: str) -> int:
        """Which number stands for every one from 0 to 2**64 - 1?"""
        term = self.unknowns[name] = z3.Int(name)
        self._solver.add(term >= 0, term < 1 << ADDRESS_BITS)
        return Unknown(term, self)

    def assume(self, *conditions: bool) -> None:
        """On this way all of these hold."""
        for condition in conditions:
            if isinstance(condition, Condition):
                self._solver.add(condition.term)
            elif not condition:
                raise _Vacuous
        if not self._possible():
            raise _Vacuous

    def decide(self, term: Any) -> bool:
        """Does it hold here? If it may and may not, it does, and the other way is pending."""
        at = len(self._decided)
        if at < len(self._replayed):
            holds = self._replayed[at]
        else:
            holds = self._possible(term)
            if holds and self._possible(z3.Not(term)):
                self._pending.append([*self._decided, False])
        self._decided.append(holds)
        self._solver.add(term if holds else z3.Not(term))
        return holds

    def example(self) -> dict[str, int]:
        """Which numbers lead here? The smallest, the first unknown before the second.

        So they do not depend on how z3 searches.
        """
        smallest = z3.Optimize()
        smallest.add(self._solver.assertions())
        for term in self.unknowns.values():
            smallest.minimize(term)
        if smallest.check() != z3.sat:
            raise NotFollowedError(f"z3 cannot tell: {smallest.reason_unknown()}")
        model = smallest.model()
        found = {name: model.eval(term).as_long() for name, term in self.unknowns.items()}
        return {"ipa_bits": self._ipa_bits, **found} if self.width_matters else found

    def _possible(self, *terms: Any) -> bool:
        answer = self._solver.check(*terms)
        if answer == z3.unknown:
            raise NotFollowedError(f"z3 cannot tell: {self._solver.reason_unknown()}")
        return bool(answer == z3.sat)


def explore(claim: Callable[[Path], bool], ipa_bits: int) -> Iterator[tuple[bool, Path]]:
    """Does the claim hold at the end of each way through it, where its assumptions can be met?"""
    pending: list[list[bool]] = [[]]
    while pending:
        path = Path(ipa_bits, pending.pop(), pending)
        try:
            held = bool(claim(path))
        except _Vacuous:
            continue
        yield held, path


class Condition:
    """Does a comparison of unknown numbers hold? Asked as a bool, it is decided."""

    def __init__(self, term: Any, path: Path) -> None:
        self.term = term
        self.path = path

    def __bool__(self) -> bool:
        return self.path.decide(self.term)

    def __eq__(self, other: object) -> bool:
        return bool(self) == bool(other)

    __hash__ = None  # type: ignore[assignment]


def _term(number: object) -> Any:
    if isinstance(number, Unknown):
        return number.term
    if not isinstance(number, int):
        raise NotFollowedError(f"{number!r} and an unknown number")
    return z3.IntVal(number)


class _Refused:
    """What an int can do and an unknown number cannot."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __get__(self, instance: object, owner: type) -> Any:
        raise NotFollowedError(f"{self.name} of an unknown number")


class Unknown(int):
    """Which number is it? Any that the path allows.

    An int for isinstance(); what an int can do is either done on terms or refused. Code in C that
    looks at the int itself (range(), NumPy) would see 0: the helpers' way for ints has none.

    Args:
        term: its value, of z3's integers.
        path: decides what is asked of it.
    """

    term: Any
    path: Path

    def __new__(cls, term: Any, path: Path) -> Unknown:  # noqa: D102
        self = super().__new__(cls)
        self.term = term
        self.path = path
        return self

    def __repr__(self) -> str:
        return f"Unknown({self.term})"

    def __bool__(self) -> bool:
        return self.path.decide(self.term != 0)

    def __or__(self, mask: int) -> Unknown:
        clear = [bit for bit in _bits(mask) if not self._has(bit)]
        return Unknown(self.term + sum(clear), self.path)

    def __and__(self, mask: int) -> Unknown:
        if isinstance(mask, int) and not isinstance(mask, Unknown):
            if mask < 0:
                return Unknown(self.term - sum(filter(self._has, _bits(~mask))), self.path)
            if mask & mask + 1 == 0:  # the lowest bits
                return Unknown(self.term % (mask + 1), self.path)
        return Unknown(z3.IntVal(sum(filter(self._has, _bits(mask)))), self.path)

    def __xor__(self, mask: int) -> Unknown:
        turned = [-bit if self._has(bit) else bit for bit in _bits(mask)]
        return Unknown(self.term + sum(turned), self.path)

    def _has(self, bit: int) -> bool:
        """Is this bit set? Division rounds down, as two's complement has it for numbers below 0."""
        return self.path.decide((self.term / bit) % 2 == 1)


def _bits(mask: object) -> list[int]:
    """Which bits, as values, has a mask?"""
    if not isinstance(mask, int) or isinstance(mask, Unknown):
        raise NotFollowedError(f"{mask!r} as a mask of an unknown number")
    if mask < 0 or mask.bit_count() > MASK_BITS:
        raise NotFollowedError(f"the mask {mask:#x}")
    return [1 << at for at in range(mask.bit_length()) if mask >> at & 1]


def _computed(compute: Callable[[Any, Any], Any]) -> Callable[[Unknown, int], Unknown]:
    return lambda self, other: Unknown(compute(self.term, _term(other)), self.path)


def _compared(compare: Callable[[Any, Any], Any]) -> Callable[[Unknown, object], Condition]:
    return lambda self, other: Condition(compare(self.term, _term(other)), self.path)


_OPERATIONS = {
    "__add__": _computed(lambda a, b: a + b),
    "__radd__": _computed(lambda a, b: b + a),
    "__sub__": _computed(lambda a, b: a - b),
    "__rsub__": _computed(lambda a, b: b - a),
    "__rand__": Unknown.__and__,
    "__ror__": Unknown.__or__,
    "__rxor__": Unknown.__xor__,
    "__lt__": _compared(lambda a, b: a < b),
    "__le__": _compared(lambda a, b: a <= b),
    "__gt__": _compared(lambda a, b: a > b),
    "__ge__": _compared(lambda a, b: a >= b),
    "__eq__": _compared(lambda a, b: a == b),
    "__ne__": _compared(lambda a, b: a != b),
}
_OF_EVERY_OBJECT = {"__new__", "__doc__", "__getattribute__"}

for _name in set(vars(int)) - set(vars(Unknown)) - _OF_EVERY_OBJECT:
    setattr(Unknown, _name, _OPERATIONS.get(_name) or _Refused(_name))
