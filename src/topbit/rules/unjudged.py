"""What does a recording tell of trouble that no finding judges?

A finding judges the events that it shows or names (`Finding.places`), and with them those that
say the same again: a refused access of the same device at the same page, a bounce pool that was
full for the same device, and what came of it for that device. All others are trouble that no
rule knows what to say of; the report lists them, lest silence be taken for praise.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import polars as pl

from topbit.recording import Recording
from topbit.recording.recording import NUMBER
from topbit.recording.schema import OK
from topbit.recording.trouble import TROUBLE_KINDS, TROUBLES, trouble_of
from topbit.replay.columns import MAPS, PAGE
from topbit.replay.faults import ACCESS, CONFIGURATION
from topbit.rules.finding import Finding, Unjudged
from topbit.rules.wording import describe, evidence_of

SUPPRESSED = "suppressed"
REFUSED = [name for name, trouble in TROUBLES.items() if trouble.refused]
FOLLOWS = [name for name, trouble in TROUBLES.items() if trouble.follows]
SAME = ["what", "who", "page", "way"]


def unjudged(recording: Recording, findings: Iterable[Finding]) -> list[Unjudged]:
    """Which trouble did none of these findings judge? By kind, in the order of their first ones.

    Args:
        recording: all of it, a host's own devices included.
        findings: what all rules found, before it is folded.
    """
    findings = list(findings)
    rows = _trouble(recording)
    if rows.is_empty():
        return []
    judged = rows.filter(_shown(rows, findings))
    left = rows.join(judged.select(SAME).unique(), on=SAME, how="anti", nulls_equal=True)
    left = left.join(judged.select(NUMBER), on=NUMBER, how="anti")
    devices = {f.device for f in findings if f.device and f.severity != "note"}
    can_follow = pl.col("status").is_in(FOLLOWS)
    follows = pl.col("device").is_in(devices)
    if devices and not left.filter(can_follow).is_empty():
        # "nvme0", "vda" and "eth0" are names of drivers: which device it is, nothing tells.
        follows |= pl.col("device").is_not_null() & ~_is_a_devices_name(recording)
    follows &= can_follow
    left = left.filter((pl.col("event") != ACCESS) & ~follows.fill_null(value=False))
    kinds = list(_by_kind(recording, left.sort(NUMBER)))
    if not judged.is_empty() and {kind.kind for kind in kinds} == {SUPPRESSED}:
        return []  # more of what was judged
    return kinds


def _trouble(recording: Recording) -> pl.DataFrame:
    """Which events tell of trouble, and what do those have in common that say the same again?

    The refused accesses that a machine recorded are among them: they may be what a finding shows
    of what the SMMU's event says as well.
    """
    refused = pl.col("status").is_not_null() & (pl.col("status") != OK)
    names = {
        facts.sid: name
        for name, facts in recording.platform.devices.items()
        if facts.sid is not None
    }
    of_stream = pl.col("sid").replace_strict(names, default=None, return_dtype=pl.String)
    stream = _words("StreamID ", "sid")
    access = pl.col("event").is_in([ACCESS, "smmu_event"]) | pl.col("status").is_in(REFUSED)
    # What is wrong with a stream's tables is so for every address.
    table = pl.col("status").is_in(CONFIGURATION)
    what = (
        pl.when(access)
        .then(pl.col("status"))
        .when(pl.col("event") == "trouble")
        .then(_words("line ", NUMBER))  # says nothing but itself
        .otherwise(pl.col("event"))
    )
    return (
        recording.scan(*TROUBLE_KINDS, ACCESS)
        .filter((pl.col("event") != ACCESS) | refused)
        .with_columns(pl.col(pl.Enum).cast(pl.String))  # few rows, whose words are compared
        .with_columns(
            what=what,
            who=pl.coalesce("device", of_stream, stream),
            page=pl.when(access & ~table).then(pl.col("address") // PAGE),
            way=pl.when(access & ~table).then(pl.col("direction")),
        )
        .with_columns(who=pl.when(pl.col("event") != "smmu_lost").then(pl.col("who")))
        .collect()
    )


def _words(before: str, column: str) -> pl.Expr:
    """Expression: a number behind a word; null where it is."""
    # pl.format() of polars 2.1 panics where a filter left nothing of a chunk.
    return pl.concat_str(pl.lit(before), pl.col(column).cast(pl.String))


def _is_a_devices_name(recording: Recording) -> pl.Expr:
    """Expression: is it a name that a device has for the DMA API?"""
    traced = recording.scan(*MAPS).select("device").unique().collect()
    names = {*recording.platform.devices, *traced["device"].cast(pl.String).drop_nulls()}
    return pl.col("device").is_in(names).fill_null(value=False)


def _shown(rows: pl.DataFrame, findings: list[Finding]) -> pl.Series:
    """Which of these events does a finding show, or name as judged?"""
    places = {place for finding in findings for place in finding.places()}
    texts = {e.text for finding in findings for e in finding.evidence if not e.source}
    named = pl.DataFrame(
        list(places), schema={"source": pl.String, "line": rows.schema["line"]}, orient="row"
    )
    numbers = set(rows.join(named, on=["source", "line"], how="semi")[NUMBER])
    # A machine's own events stand in no file.
    own = rows.filter(pl.col("source").is_null() & pl.lit(bool(texts)))
    numbers |= {row[NUMBER] for row in own.iter_rows(named=True) if describe(row) in texts}
    return rows[NUMBER].is_in(numbers)


def _by_kind(recording: Recording, left: pl.DataFrame) -> Iterator[Unjudged]:
    named = pl.col("event").is_in(["trouble", "smmu_event"])
    kind = pl.when(named).then(pl.coalesce("status", "event")).otherwise("event")
    groups = left.with_columns(kind=kind).group_by("event", "kind", maintain_order=True)
    for row in groups.agg(pl.first(NUMBER), count=pl.len()).iter_rows(named=True):
        tells = trouble_of(row["event"], row["kind"]).tells
        first = evidence_of(recording.row(row[NUMBER]))
        yield Unjudged(row["kind"], tells, row["count"], first)
