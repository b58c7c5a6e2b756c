"""Names and their numbers: one for each, whatever stands around it and however long it is."""

from __future__ import annotations

import numpy as np
import pytest

from topbit.readers.bulk import names
from topbit.readers.bulk.names import LONGEST, NONE, Names
from words_text import words_of

NAMES = [
    "", "a", "b", "ab", "0000:00:01.0", "0000:00:01.1", "1000:00:01.0", "a800000.virtio_mmio",
    "x" * 8, "x" * 9, "x" * 16, "p" + "x" * 15, "0" + "x" * 15, "y" * LONGEST,
]  # fmt: skip


def test_each_name_has_one_number() -> None:
    known = Names()
    codes = known.encode(*words_of([*NAMES, *reversed(NAMES)]))
    assert codes[: len(NAMES)].tolist() == codes[len(NAMES) :][::-1].tolist()
    assert [known.texts[code] for code in codes[: len(NAMES)]] == NAMES
    again = known.encode(*words_of(NAMES))
    assert again.tolist() == codes[: len(NAMES)].tolist()
    assert NONE not in again


def test_what_is_too_long_is_no_name() -> None:
    words, starts, ends = words_of(["a", "z" * (LONGEST + 1), "b"])
    known = Names()
    assert known.encode(words, starts, ends)[1] == NONE
    # Where the fields of a line are not in order, an end stands before its start.
    assert known.encode(words, ends, starts).tolist() == [NONE] * 3
    assert known.texts[0] == ""
    assert sorted(known.texts) == ["", "a", "b"]  # by hash, which is another one each time


def test_names_of_one_slot_are_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(names, "SLOTS", 1)
    many = [f"name{number}" for number in range(50)]
    known = Names()
    for _ in range(2):
        codes = known.encode(*words_of(many))
        assert [known.texts[code] for code in codes] == many


def test_one_name_too_many_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(names, "MOST", 2)
    known = Names()
    codes = known.encode(*words_of(["a", "b", "c", "a"]))
    assert np.count_nonzero(codes == NONE) in (1, 2)
    assert len(known.texts) == 3
