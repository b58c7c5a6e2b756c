"""A library whose process may run threads neither forks nor changes what they all share."""

import ast
from pathlib import Path

import pytest

import topbit

SOURCE = Path(topbit.__file__).parent
CALLS = {
    "os.fork": "a lock that another thread holds stays locked in the child",
    "os.forkpty": "as os.fork",
    "pty.fork": "as os.fork",
    "os.umask": "the other threads' files get the wrong mode meanwhile",
    "os.chdir": "the other threads' relative paths lead elsewhere",
    "os.fchdir": "as os.chdir",
    "time.tzset": "the process's",
    "locale.setlocale": "the process's",
}
KEYWORDS = {"preexec_fn": "Python between fork and exec: as os.fork"}


def unsafe(tree: ast.AST) -> list[str]:
    """Which calls stand in the syntax tree that threads make wrong?"""
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and ast.unparse(node) in CALLS:
            found.append(f"line {node.lineno}: {ast.unparse(node)}: {CALLS[ast.unparse(node)]}")
        elif isinstance(node, ast.keyword) and node.arg in KEYWORDS:
            found.append(f"line {node.lineno}: {node.arg}: {KEYWORDS[node.arg]}")
        elif isinstance(node, ast.ImportFrom):
            names = [f"{node.module}.{alias.name}" for alias in node.names]
            found += [
                f"line {node.lineno}: {name}: {CALLS[name]}" for name in names if name in CALLS
            ]
    return found


@pytest.mark.parametrize(
    ("code", "line"),
    [
        ("import os\nchild = os.fork()", "line 2: os.fork"),
        ("from os import umask", "line 1: os.umask"),
        ("run(command, preexec_fn=ask)", "line 1: preexec_fn"),
    ],
)
def test_unsafe_calls_are_seen(code: str, line: str) -> None:
    (found,) = unsafe(ast.parse(code))
    assert found.startswith(line)


def test_there_are_none() -> None:
    found = [
        f"{path.relative_to(SOURCE)}: {line}"
        for path in sorted(SOURCE.rglob("*.py"))
        for line in unsafe(ast.parse(path.read_text(encoding="utf-8")))
    ]
    assert found == []
