"""Which events of trouble does a rule ask for, and what do their attributes say?"""

from __future__ import annotations

import re
from typing import Any

import polars as pl

from topbit.recording import Recording

TROUBLE = "trouble"


def of_trouble(recording: Recording, *names: str, where: pl.Expr | None = None) -> pl.DataFrame:
    """Which events tell of one of these kinds of `recording.trouble.TROUBLES`?"""
    named = pl.col("status").is_in(names)
    return recording.of_kind(TROUBLE, where=named if where is None else named & where)


def attribute(name: str) -> pl.Expr:
    """Expression: which value has an attribute, if it is there?"""
    return pl.col("attrs").str.extract(rf"(?:^|\|){name}=([^|]*)")


def of_device(device: str | None) -> pl.Expr:
    """Expression: is an event about this device?"""
    return pl.col("device").eq_missing(pl.lit(device))


def bus_limit(row: dict[str, Any]) -> str:
    """Which highest address does a message say that the bus carries, in hexadecimal?"""
    told = re.search(r"bus_limit=(0x[0-9a-f]+)", row["attrs"] or "")
    return told[1] if told else "0x0"
