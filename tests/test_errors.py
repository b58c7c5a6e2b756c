"""Errors carry their data and print as one line."""

import ast
import builtins
import re
from pathlib import Path

import topbit
from topbit import errors
from topbit.errors import (
    InputError,
    MissingToolError,
    PlatformFault,
    TopbitError,
    UsageError,
    nearest,
    printable,
)

SOURCE = Path(topbit.__file__).parent
BUILTIN = {
    name
    for name, value in vars(builtins).items()
    if isinstance(value, type) and issubclass(value, Exception)  # an interrupt is none
}


def test_one_line_with_place_and_hint() -> None:
    error = InputError("is empty", where="trace.txt", hint="record again")
    assert str(error) == "trace.txt: is empty (record again)"
    assert (error.what, error.where, error.hint) == ("is empty", "trace.txt", "record again")


def test_exit_status() -> None:
    assert UsageError("x").exit_status == 2
    assert InputError("x").exit_status == 2
    assert MissingToolError("x").exit_status == 3


def test_nearest() -> None:
    assert nearest("smmu_mpa", ["smmu_map", "name"]) == "did you mean 'smmu_map'?"
    assert nearest("zzz", ["b", "a"]) == "known: a, b"


def classes() -> list[tuple[str, str, set[str]]]:
    """File, name and bases of every class of topbit."""
    found = []
    for path in SOURCE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ClassDef):
                bases = {base.id for base in node.bases if isinstance(base, ast.Name)}
                found.append((str(path.relative_to(SOURCE)), node.name, bases))
    return found


def test_every_exception_is_in_one_of_the_two_trees() -> None:
    roots = [(path, name) for path, name, bases in classes() if bases & BUILTIN]
    assert sorted(roots) == [("errors.py", "PlatformFault"), ("errors.py", "TopbitError")]
    assert not issubclass(PlatformFault, TopbitError)


def family(root: str) -> set[str]:
    """The names of all classes that descend from `root`."""
    found, more = {root}, {root}
    while more:
        more = {name for _, name, bases in classes() if bases & more} - found
        found |= more
    return found - {root}


def test_the_trees_are_drawn() -> None:
    drawn = re.findall(r"\+-- (\w+)", errors.__doc__ or "")
    inner = ("readers/", "addressing/proofs/")  # which catch them themselves
    caught = {name for path, name, _ in classes() if path.startswith(inner)}
    assert set(drawn) == (family("TopbitError") | family("PlatformFault")) - caught


def test_text_of_somebody_else_neither_commands_the_terminal_nor_makes_lines() -> None:
    assert printable("plain ü") == "plain ü"
    assert printable("a\x1b[31m\nb\u202e\udcff") == r"a\x1b[31m\nb\u202e\udcff"
    assert str(InputError("x\n", where="a\x1b]0;x\x07")) == r"a\x1b]0;x\x07: x\n"
