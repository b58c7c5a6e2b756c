"""Is it a dictionary of addresses, however its ranges are cut, merged and kept?"""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from topbit.replay import intervals as module
from topbit.replay.intervals import IntervalMap

STEP = st.tuples(
    st.sampled_from(["set", "set", "clear"]),
    st.integers(0, 60),
    st.integers(0, 12),
    st.sampled_from("ab"),
)
END = 80


def both(steps: list[tuple[str, int, int, str]]) -> tuple[IntervalMap[str], dict[int, str]]:
    """The same steps done to an interval map and to a dictionary."""
    held: IntervalMap[str] = IntervalMap()
    plain: dict[int, str] = {}
    for verb, start, size, value in steps:
        touched = range(start, start + size)
        if verb == "set":
            held.set(start, size, value)
            plain.update(dict.fromkeys(touched, value))
        else:
            held.clear(start, size)
            for address in touched:
                plain.pop(address, None)
    return held, plain


@pytest.fixture(params=[module.RUN, 4, 1], ids="runs of {}".format)
def _runs(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Short runs are split and emptied by few steps."""
    monkeypatch.setattr(module, "RUN", request.param)


@pytest.mark.usefixtures("_runs")
def test_it_is_a_dictionary_of_addresses() -> None:
    @settings(deadline=None, max_examples=40)
    @given(st.lists(STEP, max_size=60))
    def same(steps: list[tuple[str, int, int, str]]) -> None:
        held, plain = both(steps)
        assert [held.at(address) for address in range(END)] == [
            plain.get(address) for address in range(END)
        ]
        for size in (0, 1, 3, 7):
            for start in range(0, END - size, 1 if size < 3 else 5):
                touched = range(start, start + size)
                assert held.covers(start, size) == all(a in plain for a in touched)
                pieces = list(held.overlapping(start, size))
                told = {a: v for low, high, v in pieces for a in range(low, high)}
                assert {a: told.get(a) for a in touched} == {a: plain.get(a) for a in touched}
                if size:
                    assert all(low < start + size and high > start for low, high, _ in pieces)
        whole = list(held.overlapping(0, END))
        assert {a: v for low, high, v in whole for a in range(low, high)} == plain
        assert [low for low, _, _ in whole] == sorted(low for low, _, _ in whole)
        assert len(held) == len(whole)

    same()


@pytest.mark.parametrize("order", ["upwards", "downwards", "mixed"])
def test_pages_of_one_mapping_merge(order: str) -> None:
    pages = list(range(100))
    if order == "downwards":
        pages.reverse()
    if order == "mixed":
        random.Random(1).shuffle(pages)
    held: IntervalMap[int] = IntervalMap()
    for page in pages:
        held.set(page * 4096, 4096, 7)
    assert list(held.overlapping(0, 1 << 20)) == [(0, 100 * 4096, 7)]


def test_neighbours_of_other_values_do_not_merge() -> None:
    held: IntervalMap[str] = IntervalMap()
    for start, value in ((1, "b"), (0, "a"), (2, "a")):
        held.set(start, 1, value)
    assert list(held.overlapping(0, 3)) == [(0, 1, "a"), (1, 2, "b"), (2, 3, "a")]


def test_a_range_of_no_size_changes_nothing() -> None:
    held: IntervalMap[str] = IntervalMap()
    held.set(10, 10, "a")
    held.set(15, 0, "b")
    held.clear(15, 0)
    assert list(held.overlapping(0, 100)) == [(10, 20, "a")]
    assert held.covers(5, 0)


def test_runs_stay_short() -> None:
    """An insertion moves the starts of one run, never all that lie above it."""
    held: IntervalMap[int] = IntervalMap()
    for page in range(0, 4 * module.RUN, 2):
        held.set(page, 1, page)
    assert len(held) == 2 * module.RUN
    assert max(len(run) for run in held._runs) <= module.RUN
    assert held._firsts == [run[0] for run in held._runs]
    held.clear(0, 4 * module.RUN)
    assert (len(held), held._runs, held._firsts) == (0, [], [])
