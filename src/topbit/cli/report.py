"""topbit report: what happened in a recorded run, in any form?"""

from __future__ import annotations

import argparse
from pathlib import Path

from topbit.cli.output import add_verbose
from topbit.report.forms import FORMS, form_for

HELP = "show the report of a recording, or write it to a file"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Which arguments does `topbit report` take?"""
    parser.add_argument("recording", metavar="RECORDING", type=Path, help="a .parquet recording")
    parser.add_argument(
        "--format",
        choices=tuple(FORMS),
        help="default: what the suffix of FILE names, else text",
    )
    add_verbose(parser)
    suffixes = ", ".join(suffix for form in FORMS.values() for suffix in form.suffixes)
    parser.add_argument(
        "-o",
        "--output",
        metavar="FILE",
        type=Path,
        help=f"write it there ({suffixes}), not to stdout",
    )


def run(args: argparse.Namespace) -> int:
    """Show or write the report; 0 once that is done, whatever the verdict is.

    Raises:
        InputError: the recording cannot be read, or the file not be written.
        UsageError: the suffix names no form.
    """
    from topbit import api
    from topbit.cli.output import show
    from topbit.errors import InputError

    form = args.format or (form_for(args.output).name if args.output else "text")
    report = api.check(args.recording)
    if args.output is None:
        show(report, form, verbose=args.verbose)
        return 0
    try:
        args.output.write_bytes(report.document(form))
    except OSError as error:
        raise InputError(f"cannot write: {error.strerror}", where=str(args.output)) from error
    return 0
