"""The command line: one module per verb.

A verb module has `HELP`, `add_arguments(parser)` and `run(args) -> exit status`. Everything
heavy is imported inside `run`, so that `topbit --help` stays instant.
Belongs here: parsing arguments, handing them on, the exit status.
Does not belong here: the work (`topbit.api`), and how results are shown (`report/`).
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import gc
import importlib
import os
import sys
from collections.abc import Sequence
from typing import NoReturn

from topbit import __version__
from topbit.cli import ending
from topbit.errors import UsageError

VERBS = ("run", "check", "explain", "table", "report", "scenario", "kernel", "tool")
RARELY = 100_000
"""New objects from which on the interpreter looks for garbage among them."""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """Bad usage ends as every other error does."""
        self.print_usage(sys.stderr)
        raise UsageError(message, hint=f"see {self.prog} --help")


@functools.cache
def parser(only: str | None = None) -> argparse.ArgumentParser:
    """Which arguments does topbit take? `only`: a verb, where no other need be loaded.

    Its `parse_args` raises UsageError for arguments that it does not take.
    """
    top = _Parser(
        prog="topbit",
        description="Run, check and explain device DMA in confidential virtual machines.",
        epilog=ending.EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    top.add_argument("--version", action="version", version=f"topbit {__version__}")
    verbs = top.add_subparsers(dest="verb", metavar="VERB", required=True)
    for verb in VERBS if only is None else (only,):
        module = importlib.import_module(f"topbit.cli.{verb}")
        sub = verbs.add_parser(verb, help=module.HELP, description=module.HELP)
        module.add_arguments(sub)
        sub.set_defaults(run=module.run)
    return top


def main(argv: Sequence[str] | None = None) -> int:
    """Run topbit; returns the exit status.

    Raises:
        SystemExit: an answer such as `--help` was given, 0.
    """
    words = sys.argv[1:] if argv is None else argv

    def verb() -> int:
        only = words[0] if words and words[0] in VERBS else None
        args = parser(only).parse_args(words)
        return int(args.run(args))

    status = ending.status_of(verb, ending.wanted_form(words))
    return ending.for_bisect(status) if ending.wants_bisect(words) else status


def command() -> NoReturn:
    """The command `topbit`: `main`, and an end at once.

    What the interpreter would do at its end, giving every object back, takes a tenth of a second
    after a long run. By then all output is written and everything that had to be closed is.

    Nor does the interpreter look for garbage as often as it would: a command soon ends, and each
    look walks all events. NumPy's linear algebra, which nothing here uses, starts no threads.
    """
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    gc.set_threshold(RARELY)
    termination = ending.Termination()
    status = main()
    if termination.asked and status == ending.INTERRUPTED:
        status = ending.TERMINATED
    with contextlib.suppress(OSError):
        sys.stderr.flush()
    os._exit(status)
