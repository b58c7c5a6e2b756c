"""Which event of a recording does a piece of evidence show?

Evidence names the place in a file, where the event came from one, and tells the event in words;
the forms that draw need its addresses and when it was.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeAlias

import polars as pl

from topbit.recording import Recording
from topbit.recording.recording import NUMBER
from topbit.rules.finding import Evidence
from topbit.rules.wording import describe

Key: TypeAlias = "tuple[str, int | None, str]"
"""Source, line and words."""


def key_of(piece: Evidence) -> Key:
    """By what is a piece of evidence looked up?"""
    return piece.source, piece.line, piece.text


def events_of(recording: Recording, pieces: Iterable[Evidence]) -> dict[Key, int]:
    """Which event, by its number in the recording, is each piece of evidence?

    Where several events have the same place and words, the first. What is no single event (a
    sum, a fact of the platform) is left out.
    """
    wanted = {key_of(piece) for piece in pieces}
    found: dict[Key, int] = {}
    for row in _candidates(recording, wanted).iter_rows(named=True):
        key = (row["source"] or "", row["line"], describe(row))
        if key in wanted:
            found.setdefault(key, row[NUMBER])
            if len(found) == len(wanted):
                break
    return found


def _candidates(recording: Recording, wanted: set[Key]) -> pl.DataFrame:
    """Which events can be meant: those at one of the places, or of one of the kinds?"""
    rows = recording.frame.lazy().with_row_index(NUMBER)
    places = {(source, line) for source, line, _ in wanted if source}
    sources = pl.Series(sorted({source for source, _ in places}), dtype=pl.String)
    lines = sorted({line for _, line in places if line is not None})
    at_place = pl.col("source").cast(pl.String).is_in(sources.implode()) & pl.col("line").is_in(
        lines
    )
    texts = [text for source, _, text in wanted if not source]
    kinds = sorted({text.partition(" ")[0] for text in texts} | {"helper"})
    of_kind = pl.col("event").cast(pl.String).is_in(kinds) | pl.col("detail").cast(pl.String).is_in(
        sorted(set(texts))
    )
    own = pl.col("source").is_null() & of_kind if texts else pl.lit(False)
    return rows.filter(at_place | own).collect()
