"""Imports go only upwards in the list of rooms."""

import ast
from pathlib import Path

import pytest

import topbit

ROOMS = [
    "arch",
    "errors",
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
    "store",
    "machine",
    "replay",
    "rules",
    "report",
    "cli",
]
SOURCE = Path(topbit.__file__).parent
MODULES = sorted(p for p in SOURCE.rglob("*.py") if p.parent != SOURCE or p.stem in ROOMS)


def _room(path: Path) -> str:
    return path.relative_to(SOURCE).parts[0].removesuffix(".py")


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(SOURCE)))
def test_imports_go_upwards(path: Path) -> None:
    own = ROOMS.index(_room(path))
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        names = []
        if isinstance(node, ast.ImportFrom) and node.level == 0:
            names = [node.module or ""]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        for name in names:
            parts = name.split(".")
            if parts[0] == "topbit" and len(parts) > 1:
                assert ROOMS.index(parts[1]) <= own, f"line {node.lineno} imports {name}"


def test_every_room_says_what_belongs_in_it() -> None:
    for package in SOURCE.rglob("__init__.py"):
        text = ast.get_docstring(ast.parse(package.read_text(encoding="utf-8")))
        assert text, package
