"""What does one kernel give devices, and what another one otherwise? Equal rows, told once."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import groupby
from typing import TypeAlias

from topbit.addressing.kernel_policy import Difference, KernelPolicy, differences
from topbit.addressing.scheme import SCHEMES
from topbit.machine.model.dma_table import Outcome, Row, What, Who
from topbit.report.dma_notes import notes_of

Key: TypeAlias = tuple[str, What, Who]


@dataclass(frozen=True, slots=True)
class Line:
    """Requests of several devices with one outcome.

    Attributes:
        what: the request.
        who: the devices.
        outcome: what comes of it.
        notes: numbers of notes on it.
    """

    what: What
    who: tuple[Who, ...]
    outcome: Outcome
    notes: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Section:
    """Platforms on which everything is the same."""

    schemes: tuple[str, ...]
    lines: tuple[Line, ...]


@dataclass(frozen=True, slots=True)
class Change:
    """What comes of one request with two kernels? None: the kernel has no such request."""

    what: What
    who: tuple[Who, ...]
    before: Outcome | None
    after: Outcome | None


@dataclass(frozen=True, slots=True)
class ComparedRows:
    """Which rows has a kernel, and which another one?

    Attributes:
        policy: the kernel.
        ipa_bits: width of a Realm's IPA space.
        rows: one for each run of the model.
        against: the kernel that it is compared with; None: with none.
        against_rows: that kernel's rows.
    """

    policy: KernelPolicy
    ipa_bits: int
    rows: tuple[Row, ...]
    against: KernelPolicy | None = None
    against_rows: tuple[Row, ...] = ()

    def sections(self) -> list[Section]:
        """Which platforms are told together, and which lines has each? In the rows' order."""
        by_scheme = {
            scheme: tuple(self._lines(list(group)))
            for scheme, group in groupby(self.rows, lambda row: row.scheme)
        }
        alike: dict[object, list[str]] = {}
        for scheme, lines in by_scheme.items():
            alike.setdefault(_without_examples(lines), []).append(scheme)
        return [Section(tuple(names), by_scheme[names[0]]) for names in alike.values()]

    def _lines(self, of_scheme: list[Row]) -> Iterable[Line]:
        for what, group in groupby(of_scheme, lambda row: row.what):
            alike: dict[tuple[Outcome, tuple[int, ...]], list[Who]] = {}
            for row in group:
                notes = tuple(notes_of(row, self.policy))
                alike.setdefault((row.outcome, notes), []).append(row.who)
            for (outcome, notes), who in alike.items():
                yield Line(what, tuple(who), outcome, notes)

    def differences(self) -> list[Difference]:
        """Which named differences are between the two kernels?"""
        return [] if self.against is None else differences(self.against, self.policy)

    def changes(self) -> list[tuple[tuple[str, ...], list[Change]]]:
        """What came of requests differently with the other kernel? By platforms."""
        mine, other = _by_key(self.rows), _by_key(self.against_rows)
        keys = sorted({*mine, *other}, key=_order)
        by_scheme: dict[str, list[Change]] = {}
        for (scheme, what), group in groupby(keys, lambda key: key[:2]):
            alike: dict[tuple[Outcome | None, Outcome | None], list[Who]] = {}
            for key in group:
                pair = (other.get(key), mine.get(key))
                if pair[0] != pair[1]:
                    alike.setdefault(pair, []).append(key[2])
            changed = [Change(what, tuple(who), *pair) for pair, who in alike.items()]
            if changed:
                by_scheme.setdefault(scheme, []).extend(changed)
        together: dict[object, list[str]] = {}
        for scheme, changes in by_scheme.items():
            form = tuple((c.what, c.who, _form(c.before), _form(c.after)) for c in changes)
            together.setdefault(form, []).append(scheme)
        return [(tuple(names), by_scheme[names[0]]) for names in together.values()]


def _by_key(of: Iterable[Row]) -> dict[Key, Outcome]:
    return {(row.scheme, row.what, row.who): row.outcome for row in of}


def _order(key: Key) -> tuple[int, int, int]:
    return list(SCHEMES).index(key[0]), list(What).index(key[1]), list(Who).index(key[2])


def _form(outcome: Outcome | None) -> tuple[str, str, str] | None:
    return None if outcome is None else (outcome.formula, outcome.said, outcome.kind)


def _without_examples(lines: Iterable[Line]) -> tuple[object, ...]:
    return tuple((line.what, line.who, _form(line.outcome), line.notes) for line in lines)
