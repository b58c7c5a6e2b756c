"""What is stated of the address helpers, and did it come out so?"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from topbit.addressing.proofs.symbolic import Path, explore
from topbit.arch.ipa import IPA_BITS_MAX, IPA_BITS_MIN


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came out of one lemma?

    Attributes:
        name, statement, kernel: the lemma's.
        holds: it is stated to hold.
        example: numbers for which the claim does not hold; None: there are none.
        ways: ways through the code on which it was looked at; 0: its assumptions cannot be met.
    """

    name: str
    statement: str
    kernel: str
    holds: bool
    example: dict[str, int] | None
    ways: int

    @property
    def as_stated(self) -> bool:
        """Is it proved, or refuted if it is stated to be false?"""
        return self.ways > 0 and self.holds == (self.example is None)

    @property
    def verdict(self) -> str:
        """Is it proved, or is there a counterexample, and was that expected?"""
        if not self.ways:
            return "VACUOUS"
        word = "proved" if self.example is None else "counterexample"
        return word if self.as_stated else word.upper()


@dataclass(frozen=True, slots=True)
class Lemma:
    """What is stated of every address, width and dma-range?

    Attributes:
        statement: in words.
        kernel: where the kernel does what it is about (file:function).
        holds: False: it is known to be wrong, and a counterexample must be found.
        claim: is it so on this path? Calls topbit's own functions on unknown numbers.
    """

    statement: str
    kernel: str
    holds: bool
    claim: Callable[[Path], bool]

    @property
    def name(self) -> str:
        """What is it called? As its claim is."""
        return self.claim.__name__.replace("_", "-")

    def prove(self) -> Outcome:
        """Does it hold on every way through the code? Ends at the first on which it does not.

        Raises:
            NotFollowedError: the code does with an unknown number what no proof can follow.
        """
        ways, example = 0, None
        for held, path in self._explored():
            ways += 1
            if not held:
                example = path.example()
                break
        return Outcome(self.name, self.statement, self.kernel, self.holds, example, ways)

    def _explored(self) -> Iterator[tuple[bool, Path]]:
        """Every width, narrow ones first; one is enough for a claim that does not ask for it."""
        for ipa_bits in range(IPA_BITS_MIN, IPA_BITS_MAX + 1):
            width_matters = False
            for held, path in explore(self.claim, ipa_bits):
                width_matters |= path.width_matters
                yield held, path
            if not width_matters and ipa_bits == IPA_BITS_MIN:
                return


def lemma(*, kernel: str, holds: bool = True) -> Callable[[Callable[[Path], bool]], Lemma]:
    """Which lemma does the decorated claim make? Its docstring is the statement."""
    return lambda claim: Lemma((claim.__doc__ or "").rstrip("."), kernel, holds, claim)
