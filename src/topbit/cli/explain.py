"""topbit explain: what does one address mean to each agent?"""

from __future__ import annotations

import argparse

HELP = "say which half an address lies in and what each agent does with it"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Which arguments does `topbit explain` take?"""
    parser.add_argument("address", metavar="ADDRESS", help="e.g. 0x100433ce000")
    parser.add_argument(
        "--ipa-bits",
        metavar="N",
        type=int,
        help="width of the Realm's IPA space, 32 to 52; without it the address's own width",
    )
    parser.add_argument("--format", choices=("text", "json"), default="text", help="default: text")


def run(args: argparse.Namespace) -> int:
    """Explain one address."""
    from topbit.report.explain_form import render, to_address, width_for

    address = to_address(args.address)
    width, note = width_for(address, args.ipa_bits)
    print(render(address, width, note, args.format), end="")
    return 0
