"""How do the verbs write what came out, and what a person at the terminal must know?"""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from topbit.report.forms import FORMS

if TYPE_CHECKING:
    from topbit.report.report import Report


def add_format(parser: argparse.ArgumentParser) -> None:
    """Let the verb take `--format`, the form of its report, and `-v`."""
    parser.add_argument("--format", choices=tuple(FORMS), default="text", help="default: text")
    add_verbose(parser)


def add_verbose(parser: argparse.ArgumentParser) -> None:
    """Let the verb take `-v`."""
    parser.add_argument(
        "-v",
        "--verbose",
        action="store_true",
        help="tell rule by rule what could not be checked (form text)",
    )


def show(report: Report, form: str, *, verbose: bool = False) -> None:
    """Print a report to stdout, in colour on a terminal; that a run broke off goes to stderr."""
    if form == "text":
        from topbit.report.text_form import render

        _print(render(report.boots, verbose))
    else:
        sys.stdout.write(report.render(form))
    sys.stdout.flush()
    if report.unfinished:
        from topbit.readers.lines import plain

        # It may come from a file of somebody else.
        told = plain(report.unfinished).replace("\n", " ")
        note(f"{told} (the report shows what happened until then)")


def _print(text: str) -> None:
    """Print it as it is into a pipe; on a terminal in colour, and broken between words."""
    if not sys.stdout.isatty():
        sys.stdout.write(text)
        return
    from rich.console import Console

    from topbit.report.text_form import wrapped

    console = Console(highlight=False, soft_wrap=True)
    for line in text.splitlines():
        for part in wrapped(line, console.width):
            console.print(part, style=_style(line), markup=False)


def note(text: str) -> None:
    """Tell the person at the terminal, on stderr."""
    print(f"topbit: {text}", file=sys.stderr)


def _style(line: str) -> str | None:
    if line.startswith(("VIOLATION ", "verdict  VIOLATION")):
        return "bold red"
    if line.startswith("verdict  OK"):
        return "bold green"
    if line.startswith(("WARNING ", "NOT JUDGED ", "UNDECIDED ", "verdict ")):
        return "bold yellow"
    return "bold" if line.startswith("NOTE ") else None
