"""Whatever is read in bulk tells what it tells line by line, and only that."""

from __future__ import annotations

import lzma
import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from log_wrappings import GUEST, HOST, WRAPPINGS
from mixed_traces import Guest
from paths import DATA
from topbit.readers.bulk import survey, surveyor
from topbit.readers.bulk.chunk import Chunk
from topbit.readers.bulk.dull_lines import TELLING
from topbit.readers.bulk.trace_lines import TraceLines
from topbit.readers.columns import Columns, Piece
from topbit.readers.source import Source
from topbit.readers.text import read_text
from trace_wrappings import DIALECTS, ENTRIES, PERF_TRACE

MIXED = "\n".join(Guest(seed=3, others=6).lines(1200, faults=2)) + "\n"
RECORDED = sorted(path for path in (DATA / "recordings").rglob("*.xz"))
TEXTS = {
    "mixed": MIXED,
    "CR LF": MIXED.replace("\n", "\r\n"),
    "no newline at the end": MIXED[:-1],
    **{name: dialect(ENTRIES * 3) for name, dialect in DIALECTS.items()},
    "perf trace": PERF_TRACE(ENTRIES * 3),
    **{f"log, {name}": wrapping([*HOST, *GUEST]) for name, wrapping in WRAPPINGS.items()},
    **{
        f"{path.parent.name}/{path.stem}": lzma.decompress(path.read_bytes()).decode(
            "utf-8", "replace"
        )
        for path in RECORDED
        if not path.name.endswith(".bin.xz")
    },
}
Told = tuple[list[Any], ...]


def told(data: bytes) -> Told:
    """All that a text tells, boot by boot."""
    source = Source("t", "text", data)
    boots = read_text(source, lambda lines: None)
    return (
        [boot.table.rows() for boot in boots],
        [(boot.facts, boot.signs, boot.unparsed, boot.lost_events) for boot in boots],
        [(boot.vmm_ipa_bits, boot.lines, boot.notes) for boot in boots],
        [source.replaced],
    )


@pytest.fixture
def line_by_line(monkeypatch: pytest.MonkeyPatch) -> Callable[[bytes], Told]:
    """How is a text read of which nothing is read in bulk?"""

    def none(chunk: Chunk, *known: Any) -> Any:
        return np.zeros(len(chunk), np.bool_)

    def no_trace(chunk: Chunk, known: Any) -> TraceLines:
        return TraceLines(Piece(0), none(chunk), none(chunk))

    def slowly(data: bytes) -> Told:
        with monkeypatch.context() as patch:
            patch.setattr(surveyor, "trace_lines", no_trace)
            patch.setattr(surveyor, "dull_lines", none)
            return told(data)

    return slowly


@pytest.fixture(params=[survey.CHUNK, 3000], ids=["one chunk", "small chunks"])
def chunks(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr(survey, "CHUNK", request.param)
    return int(request.param)


@pytest.mark.parametrize("word", TELLING)
def test_no_line_with_a_word_that_tells_something_is_passed_over(word: str) -> None:
    lines = [
        f"[    4.100000] {before}{word}{after}" for before in ("", "a", "ab") for after in "c "
    ]
    _, rest = lines_in_bulk("\n".join([*lines, word, f"it is {word}", "[    4.100000] dull"]))
    assert rest == len(lines) + 2 or "\n" in word


def test_most_lines_are_read_in_bulk() -> None:
    for name in ("mixed", "CR LF", "trace", "trace-cmd report", "perf script", "tgid column"):
        bulk, rest = lines_in_bulk(TEXTS[name])
        assert bulk > 5 * rest, name


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS.keys())
def test_bulk_tells_what_single_lines_tell(
    text: str, chunks: int, line_by_line: Callable[[bytes], Told]
) -> None:
    assert told(text.encode()) == line_by_line(text.encode())


def lines_in_bulk(text: str) -> tuple[int, int]:
    """How many lines of a text are read in bulk, and how many one by one?"""
    found = survey.Survey(text.encode(), Columns("t"))
    rest = sum(len(part.rest) for part in found.parts(lambda lines: None))
    return len(found.lines) - rest, rest


def mutated(rng: random.Random, text: str) -> str:
    """The text with some of its characters changed, moved, or gone."""
    out = list(text)
    pieces = ("\n", " ", ": ", "=", "{", ",", "0x", "a", "G", "\t", "\x1b[0m", "é", "\r", "(", '"')
    for _ in range(rng.choice((1, 3, 10, 40))):
        at = rng.randrange(len(out))
        how = rng.random()
        if how < 0.4:
            out[at : at + rng.choice((0, 1))] = rng.choice(pieces)
        elif how < 0.6:
            del out[at : at + rng.choice((1, 2, 5, 40))]
        elif how < 0.8:
            start = rng.randrange(len(out))
            out[at:at] = out[start : start + rng.choice((1, 5, 40, 200))]
        else:
            out[at] = chr(rng.randrange(32, 127))
    return "".join(out)


@settings(deadline=None, max_examples=150)
@given(seed=st.integers(0, 1 << 32))
def test_mutated_lines_tell_the_same(seed: int) -> None:
    rng = random.Random(seed)
    start = [rng.randrange(len(MIXED)) for _ in range(3)]
    base = "".join(MIXED[at : at + 1500] for at in start)
    base += rng.choice(list(DIALECTS.values()))(ENTRIES)
    text = mutated(rng, base).encode("utf-8", "replace")
    fast = told(text)
    with pytest.MonkeyPatch.context() as patch:
        slowly = line_by_line.__wrapped__(patch)  # type: ignore[attr-defined]
        assert fast == slowly(text)
