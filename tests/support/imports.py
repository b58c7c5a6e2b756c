"""Which module imports which? Read off the syntax trees: TYPE_CHECKING and functions included."""

from __future__ import annotations

import ast
from pathlib import Path


def module_name(path: Path, source: Path) -> str:
    """Under which name is the file imported, `source` being the folder of the top package?"""
    parts = [source.name, *path.relative_to(source).with_suffix("").parts]
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports_of(code: str, package: str) -> dict[str, int]:
    """Which modules or names does the code of a module in `package` import, and on which line?

    ``from a import b`` gives ``a.b``, which may be a module or a name in one; ``from . import b``
    counts from `package`.
    """
    found: dict[str, int] = {}
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: package.count(".") + 2 - node.level] if node.level else []
            base = ".".join([*above, *([node.module] if node.module else [])])
            names = [f"{base}.{alias.name}" for alias in node.names]
        else:
            continue
        found |= {name: node.lineno for name in names if name not in found}
    return found


def graph(source: Path) -> dict[str, set[str]]:
    """Which modules of the package in folder `source` does each of its modules import?

    That a module's own packages are loaded before it is not counted.
    """
    files = {module_name(path, source): path for path in source.rglob("*.py")}
    found: dict[str, set[str]] = {}
    for name, path in files.items():
        package = name if path.stem == "__init__" else name.rpartition(".")[0]
        found[name] = set()
        for imported in imports_of(path.read_text(encoding="utf-8"), package):
            target = imported if imported in files else imported.rpartition(".")[0]
            if target in files:
                found[name].add(target)
    return found


def rings(arrows: dict[str, set[str]]) -> list[list[str]]:
    """Which groups of nodes reach each other? Sorted; a node that has an arrow to itself is one.

    Strongly connected components (Tarjan 1972), without those of one node.
    """
    order: dict[str, int] = {}
    low: dict[str, int] = {}
    path: list[str] = []
    found: list[list[str]] = []

    def visit(node: str) -> None:
        order[node] = low[node] = len(order)
        path.append(node)
        for target in sorted(arrows[node]):
            if target not in order:
                visit(target)
            if target in path:
                low[node] = min(low[node], low[target])
        if low[node] == order[node]:
            at = path.index(node)
            group, path[at:] = path[at:], []
            if len(group) > 1 or node in arrows[node]:
                found.append(sorted(group))

    for node in sorted(arrows):
        if node not in order:
            visit(node)
    return sorted(found)
