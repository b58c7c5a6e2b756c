"""Which events of trouble are asked for, and what do their attributes say?"""

from __future__ import annotations

import polars as pl
import pytest

from rule_events import REALM, dma_map, trouble
from topbit.recording import Recording
from topbit.rules.troubles import attribute, bus_limit, of_device, of_trouble

LOG = Recording.of_events(
    REALM,
    [dma_map(status="timeout"), trouble("timeout", attrs="ret=2|level=1"),
     trouble("dmar", device=None, attrs="wret=3"), trouble("dmar", device="nic")],
)  # fmt: skip


def test_events_of_some_kinds_of_trouble() -> None:
    assert of_trouble(LOG, "timeout")["event"].to_list() == ["trouble"]
    assert len(of_trouble(LOG, "timeout", "dmar")) == 3
    assert len(of_trouble(LOG, "dmar", where=of_device("nic"))) == 1
    assert len(of_trouble(LOG, "dmar", where=of_device(None))) == 1
    assert of_trouble(LOG, "leaked").is_empty()


def test_an_attribute_is_told_apart_from_one_whose_name_ends_alike() -> None:
    rows = of_trouble(LOG, "timeout", "dmar").select(ret=attribute("ret"), level=attribute("level"))
    assert rows.rows() == [("2", "1"), (None, None), (None, None)]
    assert isinstance(attribute("ret"), pl.Expr)


@pytest.mark.parametrize(
    ("attrs", "limit"),
    [("bus_limit=0xffffffff", "0xffffffff"), ("a=1|bus_limit=0x0", "0x0"), (None, "0x0")],
)
def test_the_limit_of_a_bus(attrs: str | None, limit: str) -> None:
    assert bus_limit({"attrs": attrs}) == limit
