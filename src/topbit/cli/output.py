"""How do the verbs write what came out, and what a person at the terminal must know?"""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from topbit.errors import InputError, UsageError, printable
from topbit.report.forms import FORMS

if TYPE_CHECKING:
    from topbit.recording import Recording
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
    """Print a report to stdout, in colour on a terminal; that a run broke off goes to stderr.

    Raises:
        UsageError: the form is binary, and stdout a terminal.
    """
    if form == "text":
        from topbit.report.text_form import render

        _print(render(report.boots, verbose))
        _print_map(report)
    else:
        if FORMS[form].binary and sys.stdout.isatty():
            raise UsageError(f"the form {form} is no text", hint="redirect it into a file")
        sys.stdout.buffer.write(report.document(form))
    sys.stdout.flush()
    if report.unfinished:
        note(f"{report.unfinished} (the report shows what happened until then)")


def store(recording: Recording, path: Path) -> int:
    """Store a recording whose report is shown all the same; an exit status, 0 or an error's."""
    try:
        recording.write(path)
    except InputError as error:
        note(str(error))
        return error.exit_status
    return 0


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


def _print_map(report: Report) -> None:
    """Draw the address map of the last boot, on a terminal that is wide enough."""
    if not sys.stdout.isatty():
        return
    from rich.console import Console
    from rich.text import Text

    from topbit.errors import printable
    from topbit.report.map_lines import ASCII, BLOCKS, NARROWEST, map_lines

    console = Console(highlight=False)
    if console.width < NARROWEST:
        return
    glyphs = BLOCKS if console.encoding == "utf-8" else ASCII
    styles = {
        f"{re.escape(glyphs.refused)}+": "bold red",
        f"{re.escape(glyphs.shared)}+": "cyan",
        f"{re.escape(glyphs.private)}+": "magenta",
        f"{re.escape(glyphs.reached)}+": "green",
    }
    for number, line in enumerate(map_lines(report.boots[-1], console.width, glyphs)):
        drawn = Text(("\n" if not number else "") + printable(line))
        if line.startswith("   ") or number == 1:
            for pattern, style in styles.items():
                drawn.highlight_regex(pattern, style)
        else:
            drawn.stylize("bold" if line else "")
        console.print(drawn, soft_wrap=True)


def note(text: str) -> None:
    """Tell the person at the terminal, on stderr. It may come from a guest."""
    print(f"topbit: {printable(text)}", file=sys.stderr)


def _style(line: str) -> str | None:
    if line.startswith(("VIOLATION ", "verdict  VIOLATION")):
        return "bold red"
    if line.startswith("verdict  OK"):
        return "bold green"
    if line.startswith(("WARNING ", "NOT JUDGED ", "UNDECIDED ", "verdict ")):
        return "bold yellow"
    return "bold" if line.startswith("NOTE ") else None
