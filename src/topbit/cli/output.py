"""How do the verbs write what came out, and what a person at the terminal must know?"""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from topbit.report.forms import FORMS

if TYPE_CHECKING:
    from topbit.report.report import Report


def add_format(parser: argparse.ArgumentParser) -> None:
    """Let the verb take `--format`, the form of its report."""
    parser.add_argument("--format", choices=tuple(FORMS), default="text", help="default: text")


def show(report: Report, form: str) -> None:
    """Print a report to stdout, in colour on a terminal; that a run broke off goes to stderr."""
    text = report.render(form)
    if form == "text" and sys.stdout.isatty():
        from rich.console import Console

        console = Console(highlight=False, soft_wrap=True)
        for line in text.splitlines():
            console.print(line, style=_style(line), markup=False)
    else:
        sys.stdout.write(text)
    sys.stdout.flush()
    if report.unfinished:
        from topbit.readers.lines import plain

        # It may come from a file of somebody else.
        told = plain(report.unfinished).replace("\n", " ")
        note(f"{told} (the report shows what happened until then)")


def note(text: str) -> None:
    """Tell the person at the terminal, on stderr."""
    print(f"topbit: {text}", file=sys.stderr)


def _style(line: str) -> str | None:
    if line.startswith(("VIOLATION ", "verdict: VIOLATION")):
        return "bold red"
    if line.startswith("WARNING "):
        return "bold yellow"
    if line.startswith("verdict: "):
        return "bold green"
    return "bold" if line.startswith("NOTE ") else None
