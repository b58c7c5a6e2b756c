"""Imports go only upwards in the list of rooms, and never in a ring."""

import ast
import re
from pathlib import Path

import pytest

import topbit
from imports import graph, imports_of, rings
from paths import ROOT

ROOMS = [
    "errors",
    "arch",
    "events",
    "memory",
    "addressing",
    "rmm",
    "smmu",
    "host",
    "vmm",
    "linux",
    "devices",
    "scenario",
    "recording",
    "readers",
    "kernel_tree",
    "store",
    "machine",
    "replay",
    "rules",
    "report",
    "api",
    "pytest",
    "cli",
]
DOORS = {"topbit", "topbit.__main__"}  # in front of all rooms
APART = [("topbit.machine.model", "topbit.machine.qemu")]
SOURCE = Path(topbit.__file__).parent
ARROWS = graph(SOURCE)


def _within(name: str, package: str) -> bool:
    return f"{name}.".startswith(f"{package}.")


@pytest.mark.parametrize("name", sorted(ARROWS.keys() - DOORS))
def test_imports_go_upwards(name: str) -> None:
    own = ROOMS.index(name.split(".")[1])
    for target in ARROWS[name] - {"topbit"}:
        assert ROOMS.index(target.split(".")[1]) <= own, f"imports {target}"


def test_the_rooms_are_drawn_as_they_are() -> None:
    text = (ROOT / "docs/architecture.md").read_text(encoding="utf-8")
    rows = [line.split("|")[1] for line in text.splitlines() if line.startswith("| `")]
    drawn = [room for cell in rows for room in re.findall(r"`(\w+)(?:/|\.py)`", cell)]
    assert drawn == ROOMS
    assert sorted(p.stem for p in SOURCE.iterdir() if _is_room(p)) == sorted(ROOMS)
    files = set(re.findall(r"`(\w+/[\w/]+\.py)`", text))
    assert len(files) > 20
    assert [f for f in files if not (SOURCE / f).is_file() and not (ROOT / f).is_file()] == []


def _is_room(path: Path) -> bool:
    return not path.name.startswith("_") and (path.is_dir() or path.suffix == ".py")


def test_no_ring_of_imports() -> None:
    assert rings(ARROWS) == []


@pytest.mark.parametrize(("one", "other"), APART)
def test_the_machines_import_nothing_of_each_other(one: str, other: str) -> None:
    crossing = [
        (name, target)
        for name, targets in ARROWS.items()
        for target in targets
        if (_within(name, one) and _within(target, other))
        or (_within(name, other) and _within(target, one))
    ]
    assert crossing == []


@pytest.mark.parametrize(
    "path",
    sorted(set(SOURCE.rglob("__init__.py")) - {SOURCE / "__init__.py"}),
    ids=lambda path: str(path.parent.relative_to(SOURCE)),
)
def test_every_room_says_what_belongs_in_it_and_what_does_not(path: Path) -> None:
    text = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    assert "Belongs here: " in text
    assert "Does not belong here: " in text


@pytest.mark.parametrize(
    ("code", "found"),
    [
        ("import a.b, c", {"a.b": 1, "c": 1}),
        ("from a.b import c", {"a.b.c": 1}),
        ("from . import c", {"top.room.c": 1}),
        ("from .b import c", {"top.room.b.c": 1}),
        ("from ..b import c", {"top.b.c": 1}),
        ("if TYPE_CHECKING:\n    import a", {"a": 2}),
        ("def f():\n    from a import b", {"a.b": 2}),
    ],
)
def test_every_form_of_import_is_seen(code: str, found: dict[str, int]) -> None:
    assert imports_of(code, "top.room") == found


@pytest.mark.parametrize(
    ("arrows", "found"),
    [
        ({"a": "b", "b": "c", "c": ""}, []),
        ({"a": "b", "b": "a"}, [["a", "b"]]),
        ({"a": "a"}, [["a"]]),
        ({"a": "b", "b": "cd", "c": "a", "d": "e", "e": "d"}, [["a", "b", "c"], ["d", "e"]]),
        ({"a": "bc", "b": "d", "c": "d", "d": ""}, []),
    ],
)
def test_rings_are_found(arrows: dict[str, str], found: list[list[str]]) -> None:
    assert rings({node: set(targets) for node, targets in arrows.items()}) == found
