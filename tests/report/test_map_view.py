"""How the address map is laid out on a page."""

from __future__ import annotations

import dataclasses

import pytest

from map_events import EVERY, GIVEN, LET, PLATFORM, POOL, RAM, REFUSED, SHARED, TABLE
from topbit.events import Event
from topbit.recording import Platform, Recording
from topbit.report.address_map import address_map
from topbit.report.map_view import MapView, Pin, amount, gathered, map_view


def view(*events: Event, platform: Platform = PLATFORM) -> MapView:
    return map_view(address_map(Recording.of_events(platform, events), [], 6))


def told(made: MapView) -> dict[tuple[str, str, str], str]:
    return {
        (panel.letter, half.half, row.label): row.told
        for panel in made.panels
        for half in panel.halves
        for row in half.rows
    }


def test_what_each_row_says() -> None:
    assert told(view(GIVEN, LET, REFUSED, TABLE, SHARED)) == {
        ("A", "unprotected", "memory"): "shared at some time: 12 KiB; swiotlb pool: 64 MiB",
        ("A", "unprotected", "nvme0"): "1 refused, 1 let through, 1 given, no stage-2 mapping",
        ("A", "protected", "memory"): "RAM: 1 GiB; swiotlb pool: 64 MiB",
        ("A", "protected", "nvme0"): "stage 2 maps 8 KiB",
        ("B", "unprotected", "memory"): "shared at some time: 12 KiB; swiotlb pool: 64 MiB",
        ("B", "unprotected", "nvme0"): "1 let through, 1 given",
        ("B", "protected", "memory"): "RAM: 64 MiB; swiotlb pool: 64 MiB",
        ("C", "unprotected", "memory"): "not seen shared",
        ("C", "unprotected", "nvme0"): "1 refused, no stage-2 mapping",
        ("C", "protected", "memory"): "RAM: 64 KiB",
        ("C", "protected", "nvme0"): "stage 2 maps 8 KiB",
    }


@pytest.mark.parametrize(
    "events",
    [
        [REFUSED],  # no table was recorded: nothing tells
        [REFUSED, dataclasses.replace(EVERY, address=1 << 40 | RAM)],
    ],
)
def test_a_mapping_is_missed_only_where_it_would_be_known(events: list[Event]) -> None:
    assert told(view(*events))["A", "unprotected", "nvme0"] == "1 refused"


def test_what_is_drawn_has_a_style_and_a_path() -> None:
    (row,) = [
        row
        for half in view(GIVEN, LET, REFUSED, TABLE).panels[0].halves
        for row in half.rows
        if row.troubled
    ]
    styles = {shape.style: shape.path for shape in row.shapes}
    assert styles == {
        "given": "M410.5 0V12", "reached": "M410.5 12V24", "refused": "M0.5 0V24",
    }  # fmt: skip
    assert (row.label, row.detail) == ("nvme0", "StreamID 0x8")


def test_panels_say_where_they_lie() -> None:
    made = view(GIVEN, REFUSED)
    assert made.bit == 40
    assert made.ends == ("0x0000000000000000", "0x0000010000000000", "0x000001ffffffffff")
    assert [(s.letter, round(s.left, 3), round(s.width, 3)) for s in made.slivers] == [
        ("A", 0.098, 0.098)
    ]
    ram, pool, refused = made.panels
    assert (ram.title, ram.size, ram.inside, pool.inside) == ("RAM", "1 GiB", "", "A")
    assert [(s.letter, round(s.left, 2)) for s in ram.enlarged] == [("C", 0.0), ("B", 85.45)]
    upper, lower = pool.halves
    assert (upper.first, upper.last) == ("0x0000010076b00000", "0x000001007aafffff")
    assert (lower.first, lower.last) == ("0x0000000076b00000", "0x000000007aafffff")
    assert (refused.enlarged, POOL > RAM) == ((), True)


def test_letters_that_would_hide_each_other_stand_together() -> None:
    assert [s.letter for s in view(GIVEN, EVERY).slivers] == ["B A", ""]


def test_without_a_width_there_is_one_half_and_no_shared_bit() -> None:
    made = view(REFUSED, platform=Platform())
    assert (made.bit, made.ends) == (None, ("0x0000000000000000",))
    assert [half.half for panel in made.panels for half in panel.halves] == ["protected"]
    assert made.panels[0].halves[0].meaning == ""


def test_a_pool_is_drawn_where_nothing_else_is_known() -> None:
    made = view(platform=Platform(realm=False, scheme="amd-sev-snp", pools=[(POOL, 64 << 20)]))
    assert [panel.title for panel in made.panels] == ["swiotlb pool"]
    assert told(made) == {
        ("A", "protected", "memory"): "RAM not known; swiotlb pool: 64 MiB",
    }
    assert made.styles == {"pool"}


def test_the_legend_explains_what_is_drawn() -> None:
    drawn = {"ram", "alias", "pool", "given", "refused", "mapped"}
    assert view(GIVEN, REFUSED, TABLE).styles == drawn
    assert view(GIVEN, REFUSED, TABLE, SHARED).styles == drawn | {"shared", "was-shared"}


def test_devices_without_a_row_are_counted() -> None:
    events = [dataclasses.replace(GIVEN, device=f"d{number}") for number in range(11)]
    made = view(*events)
    assert made.left_out == 3
    rows = [label for letter, half, label in told(made) if letter == "A" and half == "unprotected"]
    assert len(rows) == 9


@pytest.mark.parametrize(
    ("at", "pins"),
    [
        ([], ()),
        ([(0.0, 1), (3.9, 2), (4.1, 3)], (Pin(0.0, (1, 2)), Pin(4.1, (3,)))),
        ([(5.0, 2), (5.0, 1), (5.0, 2)], (Pin(5.0, (1, 2)),)),
    ],
)
def test_pins_that_would_hide_each_other_are_one(
    at: list[tuple[float, int]], pins: tuple[Pin, ...]
) -> None:
    assert gathered(at) == pins


@pytest.mark.parametrize(
    ("size", "said"),
    [(0, "0 bytes"), (1023, "1023 bytes"), (1024, "1 KiB"), (1536, "1.5 KiB"), (5 << 40, "5 TiB"),
     ((6 << 20) + (600 << 10), "6.6 MiB"), (1 << 30, "1 GiB")],
)  # fmt: skip
def test_amounts(size: int, said: str) -> None:
    assert amount(size) == said
