"""What does a stream's table hold, and how certainly, after which maps and unmaps?"""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rule_events import PAGE
from topbit.replay.tables import Certainty, Entry, StreamTables, gaps

A, B, C = 0x10, 0x20, 0x30
"""Streams; C is never named by a map."""

Step = tuple[str, int | None, int, int]
"""What was done: verb, stream (None: without one), first page, pages."""


def after(*steps: Step) -> StreamTables:
    """The tables after these steps; a step's place is the number of its entry."""
    tables = StreamTables()
    for number, (verb, sid, first, count) in enumerate(steps):
        start, size = first * PAGE, count * PAGE
        if verb == "map":
            tables.map(sid, start, size, Entry(number, 0))
        elif verb == "unmap":
            tables.unmap(sid, start, size)
        elif verb == "map failed":
            tables.doubt(sid, start, size, Certainty.PERHAPS)
        else:
            tables.doubt(sid, start, size, Certainty.IN_PART)
    return tables


def held(tables: StreamTables, sid: int, first: int = 0, count: int = 1) -> object:
    """(number, certainty) of the entry that translates these pages, or None."""
    entry = tables.entry(sid, first * PAGE, count * PAGE)
    # Whether anything is mapped, and what, are never told differently.
    assert tables.is_mapped(sid, first * PAGE, count * PAGE) is (entry is not None)
    return None if entry is None else (entry.number, entry.certainty)


CERTAIN, IN_PART, PERHAPS = Certainty.CERTAIN, Certainty.IN_PART, Certainty.PERHAPS
MAP_A, MAP_ALL = ("map", A, 0, 1), ("map", None, 0, 1)


@pytest.mark.parametrize(
    ("steps", "of_a", "of_b"),
    [
        ([], None, None),
        ([MAP_A], (0, CERTAIN), None),
        ([MAP_ALL], (0, CERTAIN), (0, CERTAIN)),
        # An unmap without a stream clears every stream.
        ([MAP_A, ("unmap", None, 0, 1)], None, None),
        ([MAP_ALL, ("unmap", None, 0, 1)], None, None),
        ([MAP_A, ("map", B, 0, 1), ("unmap", None, 0, 1)], None, None),
        # An unmap for one stream leaves what every stream has to the others.
        ([MAP_A, ("unmap", A, 0, 1)], None, None),
        ([MAP_A, ("unmap", B, 0, 1)], (0, CERTAIN), None),
        ([MAP_ALL, ("unmap", A, 0, 1)], (0, PERHAPS), (0, CERTAIN)),
        ([MAP_ALL, ("unmap", A, 0, 1), ("unmap", None, 0, 1)], None, None),
        ([MAP_ALL, ("unmap", A, 0, 1), MAP_ALL], (2, CERTAIN), (2, CERTAIN)),
        ([MAP_ALL, ("unmap", A, 0, 1), MAP_A], (2, CERTAIN), (0, CERTAIN)),
        ([MAP_ALL, MAP_A, ("unmap", A, 0, 1)], (0, PERHAPS), (0, CERTAIN)),
        # The latest map holds, with or without a stream.
        ([MAP_ALL, MAP_A], (1, CERTAIN), (0, CERTAIN)),
        ([MAP_A, MAP_ALL], (1, CERTAIN), (1, CERTAIN)),
        # A failed map or unmap leaves what was there, no longer certainly.
        ([("map failed", A, 0, 1)], None, None),
        ([("map failed", None, 0, 1)], None, None),
        ([("unmap failed", A, 0, 1)], None, None),
        ([MAP_A, ("map failed", A, 0, 1)], (0, PERHAPS), None),
        ([MAP_A, ("unmap failed", A, 0, 1)], (0, IN_PART), None),
        ([MAP_A, ("map failed", None, 0, 1)], (0, PERHAPS), None),
        ([MAP_A, ("unmap failed", None, 0, 1)], (0, IN_PART), None),
        ([MAP_A, ("map failed", B, 0, 1)], (0, CERTAIN), None),
        ([MAP_ALL, ("map failed", A, 0, 1)], (0, PERHAPS), (0, CERTAIN)),
        ([MAP_ALL, ("unmap failed", A, 0, 1)], (0, IN_PART), (0, CERTAIN)),
        ([MAP_ALL, ("unmap failed", None, 0, 1)], (0, IN_PART), (0, IN_PART)),
        ([MAP_ALL, ("unmap", A, 0, 1), ("unmap failed", None, 0, 1)], (0, PERHAPS), (0, IN_PART)),
        # Less certain things never make it more certain; a map or an unmap does.
        ([MAP_A, ("map failed", A, 0, 1), ("unmap failed", A, 0, 1)], (0, PERHAPS), None),
        ([MAP_A, ("unmap failed", A, 0, 1), ("map failed", A, 0, 1)], (0, PERHAPS), None),
        ([MAP_A, ("unmap failed", A, 0, 1), MAP_A], (2, CERTAIN), None),
        ([MAP_A, ("map failed", A, 0, 1), ("unmap", A, 0, 1)], None, None),
    ],
)
def test_what_is_held_for_each_stream(steps: list[Step], of_a: object, of_b: object) -> None:
    tables = after(*steps)
    assert (held(tables, A), held(tables, B)) == (of_a, of_b)


@pytest.mark.parametrize(
    ("doubtful", "expected"),
    [
        (("unmap failed", A, 1, 2), [CERTAIN, IN_PART, IN_PART, CERTAIN]),
        (("map failed", A, 3, 9), [CERTAIN, CERTAIN, CERTAIN, PERHAPS]),
        (("unmap", B, 1, 2), [CERTAIN, CERTAIN, CERTAIN, CERTAIN]),
    ],
)
@pytest.mark.parametrize("sid", [A, None])
def test_a_doubt_is_about_its_own_pages(
    sid: int | None, doubtful: Step, expected: list[Certainty]
) -> None:
    tables = after(("map", sid, 0, 4), doubtful)
    assert [held(tables, A, page) for page in range(5)] == [*((0, c) for c in expected), None]
    assert held(tables, A, 0, 4) == (0, min(expected))


def test_a_range_is_translated_as_a_whole() -> None:
    tables = after(("map", A, 1, 1), ("map", None, 2, 1), ("map", A, 3, 1))
    assert held(tables, A, 1, 3) == (2, CERTAIN)  # its own entries and everyone's together
    assert held(tables, A, 1, 2) == (1, CERTAIN)
    assert [held(tables, A, *span) for span in ((0, 2), (3, 2), (0, 5))] == [None] * 3
    assert held(tables, B, 1, 3) is None
    assert not tables.is_mapped(A, PAGE - 1, 2)
    assert tables.is_mapped(A, 4 * PAGE - 1, 1)


def test_an_unknown_stream_may_use_any_streams_entries() -> None:
    tables = after(("map", A, 0, 1), ("map", B, 1, 1), ("map", None, 2, 1))
    mapped = [
        tables.is_mapped(None, *span) for span in ((0, PAGE), (PAGE, 2 * PAGE), (0, 2 * PAGE))
    ]
    assert mapped == [True, True, False]  # but not those of two
    assert not tables.is_mapped(None, 3 * PAGE, 1)


def test_what_a_stream_has_of_its_own() -> None:
    tables = after(MAP_ALL, ("map", A, 1, 1))
    assert {sid: len(table) for sid, table in tables} == {None: 1, A: 1}
    assert [tables.own(sid).at(PAGE) is not None for sid in (None, A, C)] == [False, True, False]


@pytest.mark.parametrize(
    ("permissions", "direction", "held"),
    [
        ("", "r", True),
        ("", "w", True),
        ("r", "r", True),
        ("r", "w", False),
        ("r|w", "w", True),
        ("w", "r", False),
        ("r", None, True),
    ],
)
def test_an_entry_permits_what_it_says(permissions: str, direction: str | None, held: bool) -> None:
    tables = StreamTables()
    tables.map(A, 0, PAGE, Entry(0, 0))
    tables.map(A, PAGE, PAGE, Entry(1, 0, permissions))
    assert (tables.entry(A, 0, 2 * PAGE, direction) is not None) is held  # as all of them do
    assert tables.entry(A, 0, PAGE, direction) is not None


@pytest.mark.parametrize(
    ("start", "end", "expected"),
    [
        (0, 10, [(0, 2), (4, 6), (8, 10)]),
        (2, 4, []),
        (3, 7, [(4, 6)]),
        (5, 6, [(5, 6)]),
        (9, 12, [(9, 12)]),
        (5, 5, []),
    ],
)
def test_gaps(start: int, end: int, expected: list[tuple[int, int]]) -> None:
    tables = StreamTables()
    tables.map(A, 2, 2, Entry(0, 0))
    tables.map(A, 6, 2, Entry(1, 0))
    assert gaps(tables.own(A), start, end) == expected


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["map", "map", "unmap", "map failed", "unmap failed"]),
        st.sampled_from([None, A, B]),
        st.integers(0, 5),
        st.integers(1, 3),
    ),
    max_size=20,
)


@settings(deadline=None)
@given(STEPS)
def test_it_is_a_dictionary_of_each_streams_pages(steps: list[Step]) -> None:
    """Against pages, one by one: what is without a stream is done to each stream."""
    plain: dict[tuple[int | None, int], tuple[int, Certainty]] = {}
    for number, (verb, sid, first, count) in enumerate(steps):
        for page in range(first, first + count):
            for stream in (None, A, B, C) if sid is None else (sid,):
                key, known = (stream, page), plain.get((stream, page))
                # Is it what every stream has, that this one has as well?
                of_every = known is not None and steps[known[0]][1] is None
                before = plain.get((None, page)) if sid is not None else None
                if verb == "map":
                    plain[key] = (number, CERTAIN)
                elif verb == "unmap" and sid is not None and (of_every or before):
                    what = known if of_every else before
                    assert what is not None
                    plain[key] = (what[0], PERHAPS)
                elif verb == "unmap":
                    plain.pop(key, None)
                elif known is not None:
                    limit = PERHAPS if verb == "map failed" else IN_PART
                    plain[key] = (known[0], min(known[1], limit))
    tables = after(*steps)
    for sid in (A, B, C):
        assert [held(tables, sid, page) for page in range(9)] == [
            plain.get((sid, page)) for page in range(9)
        ]
