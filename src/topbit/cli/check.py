"""topbit check: did every agent keep the convention, going by logs from anywhere?"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from topbit.report import Report

HELP = "check traces, kernel logs and SMMU event queues of one run"
FORMATS = ("text", "json")


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
    parser.add_argument("--format", choices=FORMATS, default="text", help="default: text")


def run(args: argparse.Namespace) -> int:
    """Check the files; returns 1 if any rule was violated, else 0."""
    from topbit.readers import read
    from topbit.report import Report

    with _progress() as advance:
        recordings = read(args.files, ipa_bits=args.ipa_bits, progress=advance)
        reports = [Report.of(recording) for recording in recordings]
    show(reports, args.format)
    return max(report.checked.exit_status for report in reports)


def show(reports: list[Report], form: str) -> None:
    """Print reports to stdout, in colour on a terminal."""
    from topbit.report import render

    text = render(reports, form)
    if form == "text" and sys.stdout.isatty():
        from rich.console import Console

        console = Console(highlight=False, soft_wrap=True)
        for line in text.splitlines():
            console.print(line, style=_style(line), markup=False)
    else:
        sys.stdout.write(text)


def _style(line: str) -> str | None:
    if line.startswith(("VIOLATION ", "verdict: VIOLATION")):
        return "bold red"
    if line.startswith("WARNING "):
        return "bold yellow"
    if line.startswith("verdict: "):
        return "bold green"
    return "bold" if line.startswith("NOTE ") else None


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
