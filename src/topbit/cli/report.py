"""topbit report: what happened in a recorded run, written to a file?"""

from __future__ import annotations

import argparse
from pathlib import Path

HELP = "write the report of a recording to a file"
SUFFIXES = {".txt": "text", ".json": "json"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Which arguments does `topbit report` take?"""
    parser.add_argument("recording", metavar="RECORDING", type=Path, help="a .parquet recording")
    parser.add_argument(
        "-o",
        "--output",
        metavar="FILE",
        type=Path,
        required=True,
        help="where to write it; its suffix names the form: .txt or .json",
    )


def run(args: argparse.Namespace) -> int:
    """Write the report; returns 0 once it stands there, whatever the verdict is.

    Raises:
        InputError: the recording cannot be read, or the file not be written.
        UsageError: the suffix names no form.
    """
    from topbit.errors import InputError, UsageError
    from topbit.recording import Recording
    from topbit.report import Report, render

    form = SUFFIXES.get(args.output.suffix)
    if form is None:
        raise UsageError(
            f"{args.output.suffix or 'no suffix'!r} names no form of report",
            where=str(args.output),
            mend=f"end the name in {' or '.join(SUFFIXES)}",
        )
    text = render([Report.of(Recording.read(args.recording))], form)
    try:
        args.output.write_text(text, encoding="utf-8")
    except OSError as error:
        raise InputError(f"cannot write: {error.strerror}", where=str(args.output)) from error
    return 0
