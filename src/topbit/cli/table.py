"""topbit table: which address is a device given, by which kernel, on which platform?"""

from __future__ import annotations

import argparse
from pathlib import Path

from topbit.cli import run_qemu
from topbit.cli.bar import bar
from topbit.cli.output import note
from topbit.errors import UsageError

HELP = "the address that each kind of device is given for each kind of memory, and what changed"
KERNEL, IPA_BITS = "7.3", 41
OBSERVED_BITS = (41, 42, 48, 52)
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
        action="append",
        default=[],
        help="width of a Realm's IPA space, 32 to 52; default: 41; with --observe it may be "
        "repeated, and is else 41, 42, 48 and 52",
    )
    parser.add_argument(
        "--prove",
        action="store_true",
        help="no table: prove what is stated of the address helpers, for every address and width "
        "(needs the extra `proofs`); exit status 1 if something does not come out as stated",
    )
    parser.add_argument(
        "--observe",
        action="store_true",
        help="boot the kernel as a Realm on the QEMU machine, ask it for the rows of arm-cca, and "
        "say where it does otherwise; exit status 1 if it does, 4 if a row was not answered",
    )
    parser.add_argument(
        "--flavour",
        choices=("cloud", "full", "rt", "16k"),
        help="with --observe: which of Debian's",
    )
    parser.add_argument(
        "--modules", metavar="DIR", type=Path, help="with --observe: the modules of one's own Image"
    )
    parser.add_argument("--format", choices=FORMS, default="text", help="default: text")


def run(args: argparse.Namespace) -> int:
    """Show the table, what a kernel does, or the proofs."""
    if args.observe:
        return _observe(args)
    for option in ("flavour", "modules"):
        if getattr(args, option) is not None:
            raise UsageError("goes with a kernel that boots", where=f"--{option}", hint="--observe")
    if args.prove:
        return _prove(args)
    from topbit import api

    if len(args.ipa_bits) > 1:
        raise UsageError(
            "a table is about one width", where="--ipa-bits", hint="--observe takes several"
        )
    bits = args.ipa_bits[0] if args.ipa_bits else IPA_BITS
    table = api.table(args.kernel, against=args.against, ipa_bits=bits, schemes=args.scheme)
    print(table.render(args.format), end="")
    return 0


def _observe(args: argparse.Namespace) -> int:
    """Boot the kernel, and show what it did beside what the table says."""
    if args.prove or args.against is not None or set(args.scheme) - {"arm-cca"}:
        raise UsageError(
            "what runs is one kernel in a Realm",
            where="--observe",
            hint="it takes --kernel, --flavour, --modules, --ipa-bits and --format",
        )
    from topbit import api

    with bar() as fetched, run_qemu.progress_line() as progress:
        table = api.observe(
            args.kernel,
            ipa_bits=tuple(dict.fromkeys(args.ipa_bits)) or OBSERVED_BITS,
            modules=args.modules,
            flavour=args.flavour or "cloud",
            note=note,
            progress=progress,
            fetched=fetched,
        )
    print(table.render(args.format), end="")
    return table.exit_status


def _prove(args: argparse.Namespace) -> int:
    chosen = (args.kernel, args.against, args.ipa_bits, args.scheme)
    if chosen != (KERNEL, None, [], []) or args.format == "markdown":
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
