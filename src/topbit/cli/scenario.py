"""topbit scenario: which scenarios are there, and what do they say?"""

from __future__ import annotations

import argparse

HELP = "list the built-in scenarios, or show one as TOML"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Which arguments does `topbit scenario` take?"""
    verbs = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    verbs.add_parser("list", help="names and one line each")
    show = verbs.add_parser("show", help="one scenario as TOML, to copy and change")
    show.add_argument("name", metavar="NAME", help="a built-in name, or the path of a TOML file")


def run(args: argparse.Namespace) -> int:
    """List or show."""
    if args.action == "list":
        from topbit import api

        scenarios = api.scenarios()
        width = max(len(scenario.name) for scenario in scenarios)
        for scenario in scenarios:
            print(f"{scenario.name:<{width}}  {scenario.summary}")
    else:
        from topbit.scenario import find
        from topbit.scenario.toml import dumps

        print(dumps(find(args.name)), end="")
    return 0
