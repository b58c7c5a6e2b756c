"""D: does the data arrive that was sent?"""

from __future__ import annotations

from collections.abc import Iterator

import polars as pl

from topbit.recording import Recording
from topbit.rules.finding import Finding
from topbit.rules.rule import any_event, rule
from topbit.rules.wording import device_name, evidence_of

WRONG = "wrong"
"""`status` of a transfer of which other data arrived than was sent."""


@rule(
    "D1",
    "What a device transfers is what arrives.",
    source="end-to-end comparison of each transfer",
    needs=[any_event("payload")],
)
def payload_arrives(recording: Recording) -> Iterator[Finding]:
    """On which devices did wrong data arrive?"""
    rows = recording.of_kind("payload", where=pl.col("status") == WRONG)
    for row in rows.iter_rows(named=True):
        yield Finding(
            "D1",
            "warning",
            "device",
            "wrong data arrived",
            device=device_name(recording, row["device"], row["sid"]),
            seen=f"{row['size']} bytes, {row['direction'] or 'both ways'}: {row['status']}",
            expected="the data that was sent",
            evidence=[evidence_of(row)],
            hint="the other findings tell who sent it to the wrong place",
        )
