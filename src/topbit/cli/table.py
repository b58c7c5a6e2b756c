"""topbit table: which address is a device given, by which kernel, on which platform?"""

from __future__ import annotations

import argparse

HELP = "the address that each kind of device is given for each kind of memory, and what changed"
FORMS = ("text", "markdown", "json")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Which arguments does `topbit table` take?"""
    parser.add_argument(
        "--kernel",
        metavar="RELEASE",
        default="7.3",
        help="a release (6.12, 6.14.2, 7.3, 7.4) or a proposal (proposed:NAME); default: 7.3",
    )
    parser.add_argument(
        "--against", metavar="RELEASE", help="show only what this kernel does otherwise"
    )
    parser.add_argument(
        "--scheme",
        metavar="NAME",
        action="append",
        default=[],
        help="only this platform, e.g. arm-cca, amd-sev-snp, intel-tdx; may be repeated",
    )
    parser.add_argument(
        "--ipa-bits",
        metavar="N",
        type=int,
        default=41,
        help="width of a Realm's IPA space, 32 to 52; default: 41",
    )
    parser.add_argument("--format", choices=FORMS, default="text", help="default: text")


def run(args: argparse.Namespace) -> int:
    """Show the table."""
    from topbit import api

    table = api.table(
        args.kernel, against=args.against, ipa_bits=args.ipa_bits, schemes=args.scheme
    )
    print(table.render(args.format), end="")
    return 0
