"""topbit table: which address is a device given, by which kernel, on which platform?"""

from __future__ import annotations

import argparse

from topbit.errors import UsageError

HELP = "the address that each kind of device is given for each kind of memory, and what changed"
KERNEL, IPA_BITS = "7.3", 41
FORMS = ("text", "markdown", "json")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Which arguments does `topbit table` take?"""
    parser.add_argument(
        "--kernel",
        metavar="RELEASE",
        default=KERNEL,
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
        default=IPA_BITS,
        help="width of a Realm's IPA space, 32 to 52; default: 41",
    )
    parser.add_argument(
        "--prove",
        action="store_true",
        help="no table: prove what is stated of the address helpers, for every address and width "
        "(needs the extra `proofs`); exit status 1 if something does not come out as stated",
    )
    parser.add_argument("--format", choices=FORMS, default="text", help="default: text")


def run(args: argparse.Namespace) -> int:
    """Show the table, or the proofs."""
    if args.prove:
        return _prove(args)
    from topbit import api

    table = api.table(
        args.kernel, against=args.against, ipa_bits=args.ipa_bits, schemes=args.scheme
    )
    print(table.render(args.format), end="")
    return 0


def _prove(args: argparse.Namespace) -> int:
    chosen = (args.kernel, args.against, args.ipa_bits, args.scheme)
    if chosen != (KERNEL, None, IPA_BITS, []) or args.format == "markdown":
        raise UsageError(
            "--prove is about every kernel, platform and width",
            where="table",
            hint="it takes --format text or json, and nothing else",
        )
    from topbit.addressing.proofs import prove

    outcomes = []
    for lemma in prove.lemmas():
        outcomes.append(outcome := lemma.prove())
        if args.format == "text":
            print("\n".join(prove.lines([outcome])), flush=True)
    if args.format == "json":
        print(prove.document(outcomes))
    return 0 if all(outcome.as_stated for outcome in outcomes) else 1
