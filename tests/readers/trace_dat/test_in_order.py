"""How do the records of several CPUs come into the order of their times?"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from topbit.readers.columns import Piece
from topbit.readers.trace_dat.cpu_columns import Block, in_place
from topbit.readers.trace_dat.in_order import in_order


def block(times: list[int], lines: list[int], values: list[int]) -> Block:
    columns = {"line": np.array(lines, np.uint32), "size": np.array(values, np.uint64)}
    return Block(np.array(times, np.uint64), Piece(len(lines), columns if lines else {}))


Record = tuple[int, list[int]]
"""A record's time, and what its events hold."""


def blocks(records: list[Record], sizes: list[int]) -> Iterator[Block]:
    """The blocks of a CPU, of so many records each."""
    at = 0
    for size in [*sizes, len(records)]:
        some = records[at : at + size]
        at += size
        lines = [line for line, (_, values) in enumerate(some) for _ in values]
        yield block([time for time, _ in some], lines, [v for _, values in some for v in values])


cpu = st.tuples(
    st.lists(st.tuples(st.integers(0, 6), st.integers(0, 2)), max_size=12).map(
        lambda steps: [(time, count) for time, count in sorted(steps)]
    ),
    st.lists(st.integers(0, 4), max_size=4),
)


@settings(deadline=None)
@given(st.lists(cpu, max_size=4))
def test_records_come_in_the_order_of_their_times(
    cpus: list[tuple[list[tuple[int, int]], list[int]]],
) -> None:
    number = iter(range(10_000))
    told: list[list[Record]] = [
        [(time, [next(number) for _ in range(count)]) for time, count in steps] for steps, _ in cpus
    ]
    expected = sorted(
        ((time, at, values) for at, records in enumerate(told) for time, values in records),
        key=lambda record: record[:2],
    )
    times: list[int] = []
    events: list[tuple[int, int]] = []
    streams = [blocks(records, sizes) for records, (_, sizes) in zip(told, cpus, strict=True)]
    for merged in in_order(streams):
        assert len(merged.times)
        if merged.piece.count:
            lines = merged.piece.columns["line"].tolist()
            sizes = merged.piece.columns["size"].tolist()
            events += [(len(times) + line, v) for line, v in zip(lines, sizes, strict=True)]
        times += merged.times.tolist()
    assert times == [time for time, _, _ in expected]
    assert events == [(n, v) for n, (_, _, values) in enumerate(expected) for v in values]


def test_a_cpu_is_asked_for_no_more_than_is_needed() -> None:
    asked: list[int] = []

    def stream(cpu: int, *times: int) -> Iterator[Block]:
        for time in times:
            asked.append(cpu)
            yield block([time], [0], [time])

    merged = in_order([stream(0, 1, 2, 9), stream(1, 5, 6)])
    assert next(merged).times.tolist() == [1, 2]
    assert asked == [0, 1, 0]
    assert next(merged).times.tolist() == [5, 6]
    assert asked == [0, 1, 0, 0, 1]
    assert next(merged).times.tolist() == [9]


def test_many_cpus_take_few_steps() -> None:
    streams = [iter([block([time], [0], [time])]) for time in range(1000)]
    steps = [merged.times.tolist() for merged in in_order(streams)]
    assert [time for step in steps for time in step] == list(range(1000))
    assert len(steps) < 20


def test_events_stand_at_the_places_of_their_records() -> None:
    def piece(*values: int, name: str = "size") -> Piece:
        return Piece(len(values), {name: np.array(values, np.uint64)})

    rows = [np.array(numbers) for numbers in ([0, 4], [1, 3, 3, 3], [2])]
    parts = [piece(10, 14), piece(11, 31, 32, 33), piece(12, name="phys")]
    made = in_place(list(zip(rows, parts, strict=True)), 6)
    assert made.count == 7
    assert made.columns["size"].tolist() == [10, 11, 0, 31, 32, 33, 14]
    assert made.columns["phys"].tolist() == [0, 0, 12, 0, 0, 0, 0]
    assert made.columns["line"].tolist() == [0, 1, 2, 3, 3, 3, 4]
    assert in_place([], 3).count == 0
