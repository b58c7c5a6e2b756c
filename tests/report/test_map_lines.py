"""The address map in characters."""

from __future__ import annotations

import dataclasses

import pytest

from map_events import EVERY, GIVEN, LET, PLATFORM, POOL, RAM, REFUSED, SHARED, TABLE
from report_kinds import KINDS
from report_made import boot
from topbit.events import Event
from topbit.recording import Platform
from topbit.report.map_lines import ASCII, map_lines

SMALL = dataclasses.replace(PLATFORM, ram=[(RAM, 0x10000)], pools=[])
IN_POOL = dataclasses.replace(REFUSED, address=1 << 40 | RAM + 0x8000)


def drawn(*events: Event, platform: Platform = SMALL, width: int = 35) -> list[str]:
    """What is drawn below the legend, with 16 columns for 16 pages?"""
    return list(map_lines(boot(platform, recorded=events), width, ASCII))[3:]


def test_a_small_map() -> None:
    events = [
        dataclasses.replace(SHARED, phys=RAM + 0x8000, size=0x4000),
        dataclasses.replace(GIVEN, address=1 << 40 | RAM + 0xA000),
        dataclasses.replace(LET, address=1 << 40 | RAM + 0xB000),
        IN_POOL,
        TABLE,
    ]
    assert drawn(*events) == [
        "  RAM, 64 KiB",
        "  unprotected half 0x0000010040000000-0x000001004000ffff",
        "   memory          ........####....",
        "   nvme0           ........x.'+....",
        "  protected half 0x0000000040000000-0x000000004000ffff",
        "   memory          --------....----",
        "   nvme0           ==..............",
    ]


def test_where_there_is_room_it_is_said_in_words() -> None:
    lines = drawn(IN_POOL, width=120)
    assert lines[2].endswith("  1 refused")
    assert lines[2].count(".") == 120 - 16 - 3 - 32 - 1


@pytest.mark.parametrize("width", [80, 100, 110, 200])
@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "many"])
def test_no_line_is_longer_than_the_terminal_is_wide(kind: str, width: int) -> None:
    assert max(map(len, map_lines(KINDS[kind][-1], width)), default=0) <= width


def test_without_a_width_there_is_one_half() -> None:
    platform = dataclasses.replace(SMALL, ipa_bits=None, realm=None)
    lines = list(map_lines(boot(platform, recorded=[IN_POOL]), 80, ASCII))
    assert lines[0] == (
        "address map, in one half: which bit is the shared bit is not known (--ipa-bits N tells it)"
    )
    assert not any("half 0x" in line for line in lines)


def test_devices_without_a_row_are_counted_and_nothing_has_no_map() -> None:
    events = [dataclasses.replace(GIVEN, device=f"d{number}") for number in range(8)]
    assert drawn(*events, platform=PLATFORM)[-1] == "  2 more devices have no row here"
    assert list(map_lines(boot(Platform()), 80)) == []


def test_every_enlarged_part_has_a_panel() -> None:
    titles = [line for line in drawn(GIVEN, EVERY, platform=PLATFORM) if ", " in line]
    assert titles == ["  RAM, 1 GiB", "  MSI doorbell, 64 KiB", "  swiotlb pool, 64 MiB"]
    assert POOL > RAM
