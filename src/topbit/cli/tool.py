"""topbit tool: which host programs does the QEMU machine need, and where are they?"""

from __future__ import annotations

import argparse

from topbit.cli.bar import bar
from topbit.cli.output import note

HELP = "list and fetch QEMU and the other host programs"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Which arguments does `topbit tool` take?"""
    verbs = parser.add_subparsers(dest="action", required=True, metavar="list|fetch")
    verbs.add_parser("list", help="where each program is, or how to get it (no network)")
    fetching = verbs.add_parser(
        "fetch", help="fetch from Debian's archive into topbit's cache what the machine lacks"
    )
    fetching.add_argument("tools", nargs="+", metavar="TOOL", help="a name that `list` shows")


def run(args: argparse.Namespace) -> int:
    """List or fetch; prints name and place of each; returns the exit status."""
    return _list() if args.action == "list" else _fetch(args.tools)


def _list() -> int:
    from topbit.errors import MissingToolError
    from topbit.store import tools

    for name in tools.TOOLS:
        try:
            said = str(tools.find(name))
        except MissingToolError as missing:
            said = f"-  {missing}"
        print(f"{name:11}  {said}")
    return 0


def _fetch(names: list[str]) -> int:
    from topbit.errors import UsageError, nearest
    from topbit.store import tools

    for name in names:
        if name not in tools.TOOLS:
            raise UsageError(f"no tool is named {name!r}", hint=nearest(name, tools.TOOLS))
    with bar() as fetched:
        for name in names:
            path = tools.fetch(name, note, fetched)
            print(f"{name}\t{path}", flush=True)
    return 0
