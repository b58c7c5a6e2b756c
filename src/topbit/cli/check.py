"""topbit check: did every agent keep the convention, going by logs from anywhere?"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from topbit.cli.ending import add_exit_for
from topbit.cli.output import add_format, show

HELP = "check traces, kernel logs and SMMU event queues of one run"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Which arguments does `topbit check` take?"""
    parser.add_argument(
        "files",
        metavar="FILE",
        nargs="+",
        type=Path,
        help="ftrace text, trace.dat of trace-cmd, kernel log, console log, SMMU event queue dump "
        "(also .xz, .gz), a folder with the files of one run, or a recording (.parquet)",
    )
    parser.add_argument(
        "--ipa-bits",
        metavar="N",
        type=int,
        help="width of the Realm's IPA space, 32 to 52; else it is inferred from the addresses",
    )
    add_format(parser)
    add_exit_for(parser)


def run(args: argparse.Namespace) -> int:
    """Check the files; the report's exit status."""
    from topbit import api

    with _progress() as advance:
        report = api.check(args.files, ipa_bits=args.ipa_bits, progress=advance)
    show(report, args.format)
    return report.exit_status


@contextmanager
def _progress() -> Iterator[Callable[[int], None]]:
    """Who shows how many lines were read? A line on the terminal; nobody in a pipe."""
    if not sys.stderr.isatty():
        yield lambda lines: None
        return
    from rich.console import Console
    from rich.progress import Progress, SpinnerColumn, TextColumn

    columns = (SpinnerColumn(), TextColumn("{task.description} {task.completed:,.0f} lines"))
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("reading", total=None)
        yield lambda lines: progress.advance(task, lines)
