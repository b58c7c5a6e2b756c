"""Does everything that is stated of the address helpers come out as stated?"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from topbit.errors import MissingToolError

if TYPE_CHECKING:
    from topbit.addressing.proofs.lemma import Lemma, Outcome


def lemmas() -> tuple[Lemma, ...]:
    """Which lemmas are there? The true ones first.

    Raises:
        MissingToolError: the `proofs` extra is not installed.
    """
    try:
        from topbit.addressing.proofs import false, true_of_dma, true_of_halves
    except ImportError as error:
        raise MissingToolError(
            'the Python package of topbit\'s extra "proofs" is missing',
            where="--prove",
            hint=f"{sys.executable} -m pip install z3-solver",
        ) from error
    return (*true_of_halves.LEMMAS, *true_of_dma.LEMMAS, *false.LEMMAS)


def lines(outcomes: Iterable[Outcome]) -> Iterator[str]:
    """How do outcomes read, each as it comes: a line, and for a counterexample its numbers?"""
    for outcome in outcomes:
        yield f"{outcome.verdict:<15} {outcome.statement}"
        if outcome.example is not None:
            numbers = [
                f"{name}={value if name == 'ipa_bits' else hex(value)}"
                for name, value in outcome.example.items()
            ]
            yield f"{'':<15} {' '.join(numbers)}"


def document(outcomes: Iterable[Outcome]) -> str:
    """How do outcomes read for programs? A JSON list."""
    found = [
        {
            "name": outcome.name,
            "statement": outcome.statement,
            "kernel": outcome.kernel,
            "stated": outcome.holds,
            "verdict": outcome.verdict.lower(),
            "as_stated": outcome.as_stated,
            "example": outcome.example,
            "ways": outcome.ways,
        }
        for outcome in outcomes
    ]
    return json.dumps(found, indent=1)
