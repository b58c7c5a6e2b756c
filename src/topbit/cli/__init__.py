"""The command line: one module per verb.

A verb module has `HELP`, `add_arguments(parser)` and `run(args) -> exit status`. Everything
heavy is imported inside `run`, so that `topbit --help` stays instant.
Belongs here: parsing arguments, handing them on, the exit status.
Does not belong here: the work, and how results are shown (`report/`).
"""

from __future__ import annotations

import argparse
import contextlib
import errno
import importlib
import os
import sys
from collections.abc import Sequence
from typing import NoReturn

from topbit import __version__
from topbit.errors import TopbitError

VERBS = ("run", "check", "explain", "report", "scenario", "kernel", "tool")

EPILOG = """\
exit status: 0 no violation, 1 violations found, 2 bad usage or bad input,
3 the run could not be made, or the guest did not do all of its work"""


def parser() -> argparse.ArgumentParser:
    """Which arguments does topbit take?"""
    top = argparse.ArgumentParser(
        prog="topbit",
        description="Run, check and explain device DMA in confidential virtual machines.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    top.add_argument("--version", action="version", version=f"topbit {__version__}")
    verbs = top.add_subparsers(dest="verb", metavar="VERB", required=True)
    for verb in VERBS:
        module = importlib.import_module(f"topbit.cli.{verb}")
        sub = verbs.add_parser(verb, help=module.HELP, description=module.HELP)
        module.add_arguments(sub)
        sub.set_defaults(run=module.run)
    return top


NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def main(argv: Sequence[str] | None = None) -> int:
    """Run topbit; returns the exit status."""
    args = parser().parse_args(argv)
    try:
        status: int = args.run(args)
        sys.stdout.flush()
        return status
    except TopbitError as error:
        print(f"topbit: {error}", file=sys.stderr)
        return error.exit_status
    except BrokenPipeError:
        # The reader of a pipe went away: nothing is wrong, and nothing more to say.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        if error.errno not in NO_ROOM:
            raise
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        print(f"topbit: the output is incomplete: {error.strerror}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("topbit: interrupted", file=sys.stderr)
        return 130


def command() -> NoReturn:
    """The command `topbit`: `main`, and an end at once.

    What the interpreter would do at its end, giving every object back, takes a tenth of a second
    after a long run. By then all output is written and everything that had to be closed is.
    """
    status = main()
    with contextlib.suppress(OSError):
        sys.stderr.flush()
    os._exit(status)
