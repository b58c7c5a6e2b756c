"""What became of one address: who allocated, mapped, shared, host-mapped, used and refused it?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import polars as pl

from topbit.recording import Recording
from topbit.recording.recording import NUMBER
from topbit.replay.columns import PAGE, canonical, canonical_of, other_bits, with_shared_bit
from topbit.rules import Finding, check
from topbit.rules.wording import describe

Place: TypeAlias = Literal["protected", "unprotected", "page"]
PLACES: tuple[Place, ...] = ("protected", "unprotected", "page")
"""Each half of the IPA space, and the page whichever half it is reached by."""
SAME = ["place", "agent", "event", "device", "sid", "status", "attrs", "direction"]

MOST_OWN = 100_000
"""Events of a run's own that are compared with what findings show."""


@dataclass(frozen=True, slots=True)
class Episode:
    """What was done to an address again and again?

    Attributes:
        place: at which half; "page" for what names the page and no half.
        count: how many events say the same.
        first, last: the first and the last of them, by column.
    """

    place: Place
    count: int
    first: dict[str, Any]
    last: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Story:
    """What does a recording tell of one address?

    Attributes:
        address: the address, as it was asked for.
        halves: the address of its page's place in each half; one alone while the width of the IPA
            space is not known.
        lies_in: what stands there ("guest RAM", "a swiotlb pool", "an interrupt's doorbell").
        episodes: in the order of their first events.
        findings: those that judge one of these events.
    """

    address: int
    halves: dict[Place, int]
    lies_in: tuple[str, ...]
    episodes: tuple[Episode, ...]
    findings: tuple[Finding, ...]


def story_of(recording: Recording, address: int) -> Story:
    """What does a recording tell of this address, at either half of the IPA space?

    An event is of the address if its range holds it, and if it has no size, if it lies in the
    same page of 4 KiB.
    """
    platform = recording.platform
    plain = platform.protected(address)
    halves: dict[Place, int] = {"protected": plain}
    if platform.space is not None:
        halves["unprotected"] = platform.unprotected(address)
    rows = _rows(recording, plain, canonical_of(platform, address))
    return Story(
        address,
        halves,
        tuple(_lies_in(recording, canonical_of(platform, address))),
        tuple(_episodes(recording, rows)),
        tuple(_judging(recording, rows)),
    )


def _rows(recording: Recording, plain: int, ipa: int) -> pl.DataFrame:
    """Which events are of the address? With their number, and the place that they name."""
    platform = recording.platform
    of_guest = pl.col("event").cast(pl.String).str.starts_with("dma_")
    bus = (
        pl.when(of_guest)
        .then(canonical(platform))
        .otherwise(pl.col("address") & other_bits(platform))
    )
    wanted = pl.when(of_guest).then(_number(ipa)).otherwise(_number(plain))
    at = _holds(bus, wanted)
    of_page = _holds(pl.col("phys") & other_bits(platform), _number(ipa))
    half = pl.when(with_shared_bit(platform)).then(pl.lit("unprotected"))
    place = pl.when(at).then(half.otherwise(pl.lit("protected"))).otherwise(pl.lit("page"))
    return (
        recording.frame.lazy()
        .with_row_index(NUMBER)
        .filter(at.fill_null(value=False) | of_page.fill_null(value=False))
        .with_columns(place=place)
        .collect()
    )


def _number(value: int) -> pl.Expr:
    return pl.lit(value, dtype=pl.UInt64)


def _holds(start: pl.Expr, value: pl.Expr) -> pl.Expr:
    """Does the range that begins there hold the value?"""
    sized = pl.col("size").is_not_null() & (pl.col("size") > 0)
    # Where the value lies below, the difference is not looked at.
    inside = (start <= value) & (value - pl.min_horizontal(start, value) < pl.col("size"))
    return pl.when(sized).then(inside).otherwise(start // PAGE == value // PAGE)


def _lies_in(recording: Recording, ipa: int) -> list[str]:
    platform = recording.platform
    names = (("guest RAM", platform.ram), ("a swiotlb pool", platform.pools))
    found = [name for name, some in names if any(base <= ipa < base + size for base, size in some)]
    if any(ipa // PAGE == doorbell // PAGE for doorbell in platform.msi_doorbells):
        found.append("an interrupt's doorbell")
    return found


def _episodes(recording: Recording, rows: pl.DataFrame) -> list[Episode]:
    groups = rows.group_by(SAME, maintain_order=True).agg(
        first=pl.first(NUMBER), last=pl.last(NUMBER), count=pl.len()
    )
    return [
        Episode(row["place"], row["count"], recording.row(row["first"]), recording.row(row["last"]))
        for row in groups.iter_rows(named=True)
    ]


def _judging(recording: Recording, rows: pl.DataFrame) -> list[Finding]:
    """Which findings judge one of these events?"""
    placed = rows.select("source", "line").drop_nulls().unique()
    places = set(placed.rows())
    own = rows.filter(pl.col("source").is_null()).head(MOST_OWN)
    texts = {describe(row) for row in own.iter_rows(named=True)}
    return [
        finding
        for finding in check(recording).findings
        if finding.places() & places
        or any(not e.source and e.text in texts for e in finding.evidence)
    ]
