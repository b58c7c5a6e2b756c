"""Traces whose lines are not in the order of their times."""

from __future__ import annotations

from pathlib import Path

import pytest

from topbit.readers import order
from topbit.readers.read import read
from topbit.rules import check

LOG = """\
[    0.000000] Linux version 7.2.13 (build@host) (aarch64-linux-gnu-gcc 14.2.0) #1 SMP aarch64
[    0.000000] RME: Using RSI version 1.0
[    0.000000]   node   0: [mem 0x0000000080000000-0x00000000ffffffff]
[    0.000000] software IO TLB: mapped [mem 0x00000000fbfff000-0x00000000fffff000] (64MB)
"""
BOUNCE = (
    "fio-8 [003] ..... {}: swiotlb_bounced: dev_name: 0000:00:01.0 dma_mask=ffffffffffffffff "
    "dev_addr=84570000 size=4096 FORCE"
)
MAP = (
    "fio-8 [003] ..... {}: dma_map_phys: 0000:00:01.0 dir=FROM_DEVICE dma_addr=80fc200000 "
    "size=4096 phys_addr=84570000 attrs="
)
UNMAP = (
    "<idle>-0 [001] d.h.. {}: dma_unmap_phys: 0000:00:01.0 dir=FROM_DEVICE dma_addr=80fc200000 "
    "size=4096 attrs="
)


def times(tmp_path: Path, *lines: str) -> tuple[list[float], set[str]]:
    path = tmp_path / "console.log"
    path.write_text(LOG + "\n".join(lines) + "\n")
    (recording,) = read([path])
    return recording.frame["time"].to_list(), {f.rule for f in check(recording).findings}


SHUFFLED = [
    BOUNCE.format("101.000001"), MAP.format("101.000002"),
    BOUNCE.format("101.000005"), MAP.format("101.000006"),
    UNMAP.format("101.000003"), UNMAP.format("101.000008"),
]  # fmt: skip


@pytest.mark.parametrize("part", [1, 2, 3, order.PART])
def test_the_events_of_several_cpus_are_put_in_order(
    tmp_path: Path, part: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(order, "PART", part)
    found, broken = times(tmp_path, *SHUFFLED)
    assert found == sorted(found)
    assert broken == set()


def test_what_stands_behind_the_last_event_of_the_part_before_is_late(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(order, "PART", 2)
    lines = [MAP.format(f"101.00000{time}") for time in (1, 5, 3, 6)]
    assert times(tmp_path, *lines)[0] == [101.000001, 101.000003, 101.000005, 101.000006]


def test_a_slot_that_is_given_twice_stays_one(tmp_path: Path) -> None:
    late = [line.replace("101.000003", "101.000007") for line in SHUFFLED]
    assert times(tmp_path, *late)[1] == {"M6"}


@pytest.mark.parametrize("part", [1, order.PART])
@pytest.mark.parametrize(("clock", "put_in_order"), [("99.000004", True), ("98.000003", False)])
def test_what_is_far_off_is_another_trace(
    tmp_path: Path, clock: str, put_in_order: bool, part: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(order, "PART", part)
    found, _ = times(tmp_path, MAP.format("101.000002"), UNMAP.format(clock))
    assert (found == sorted(found)) is put_in_order


def test_times_that_do_not_tell_microseconds_decide_nothing(tmp_path: Path) -> None:
    found, _ = times(tmp_path, MAP.format("101.02"), UNMAP.format("101.01"))
    assert found == [101.02, 101.01]
