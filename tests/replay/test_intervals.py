from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from topbit.replay.intervals import IntervalMap

STEP = st.tuples(
    st.sampled_from(["set", "clear"]),
    st.integers(0, 40),
    st.integers(0, 12),
    st.sampled_from("ab"),
)


@settings(deadline=None)
@given(st.lists(STEP, max_size=40))
def test_it_is_a_dictionary_of_addresses(steps: list[tuple[str, int, int, str]]) -> None:
    intervals: IntervalMap[str] = IntervalMap()
    plain: dict[int, str] = {}
    for verb, start, size, value in steps:
        touched = range(start, start + size)
        if verb == "set":
            intervals.set(start, size, value)
            plain.update(dict.fromkeys(touched, value))
        else:
            intervals.clear(start, size)
            for address in touched:
                plain.pop(address, None)
    for address in range(60):
        assert intervals.at(address) == plain.get(address)
        assert intervals.covers(address, 3) == all(a in plain for a in range(address, address + 3))
    pieces = list(intervals.overlapping(0, 100))
    assert {a: v for start, end, v in pieces for a in range(start, end)} == plain


def test_pages_of_one_mapping_merge() -> None:
    intervals: IntervalMap[int] = IntervalMap()
    for page in range(100):
        intervals.set(page * 4096, 4096, 7)
    assert len(intervals) == 1
