"""Which messages tell that a pool was full, and how large was what they tell of?"""

from __future__ import annotations

import dataclasses

from rule_events import REALM, full
from topbit.events import Event
from topbit.recording import Recording
from topbit.replay.columns import usable
from topbit.rules.pool_messages import full_messages


def test_what_the_messages_tell() -> None:
    events = [
        full(64, 5, 7), full(0x40000, 0, 0), full(0x40001),
        Event("guest", "swiotlb_full", "disk", size=64), Event("guest", "swiotlb_full", "disk"),
    ]  # fmt: skip
    rows = full_messages(Recording.of_events(REALM, events))
    assert rows.select("total", "used", "too_large").rows() == [
        (7, 5, False), (0, 0, False), (512, 512, True), (None, None, False), (None, None, False),
    ]  # fmt: skip


def test_a_hosts_own_messages_are_there() -> None:
    hosts = dataclasses.replace(full(), agent="host")
    assert len(full_messages(usable(Recording.of_events(REALM, [hosts, full()])))) == 2
