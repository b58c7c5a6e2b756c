"""How does topbit end: with which exit status, and what is said of what went wrong?

Python's traceback never ends a verb: an error is one line on stderr.
"""

from __future__ import annotations

import argparse
import errno
import os
import signal
import sys
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path
from types import FrameType

from topbit.errors import TopbitError
from topbit.report.forms import FORMS

BAD_INPUT = 2
INTERNAL_ERROR = 70  # EX_SOFTWARE of sysexits.h
INTERRUPTED = 128 + signal.SIGINT
TERMINATED = 128 + signal.SIGTERM
UNTESTABLE = 125  # git bisect run: this commit cannot be tested
NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
TRACEBACK = "TOPBIT_TRACEBACK"

EPILOG = f"""\
exit status: 0 no violation, 1 violations found, 2 bad usage or bad input,
3 the run could not be made, or the guest did not do all of its work,
4 inconclusive: no violation, but trouble that no rule judges, or nothing to judge,
that of run's --run CMD if it fails where topbit itself would exit 0 or 4,
{INTERNAL_ERROR} an error of topbit itself ({TRACEBACK}=1 shows where),
{INTERRUPTED} interrupted (Ctrl-C), {TERMINATED} terminated (SIGTERM);
with --exit-for bisect 0 and 1 as above, {UNTESTABLE} for all else"""


def add_exit_for(parser: argparse.ArgumentParser) -> None:
    """Let the verb take `--exit-for`."""
    parser.add_argument(
        "--exit-for",
        choices=("bisect",),
        help=f"exit status as `git bisect run` takes it: 0, 1, and {UNTESTABLE} for anything that "
        "is neither",
    )


def wants_bisect(words: Sequence[str]) -> bool:
    """Does the command line ask for `--exit-for bisect`? Also one that cannot be parsed."""
    return "--exit-for=bisect" in words or ("--exit-for", "bisect") in pairwise(words)


def for_bisect(status: int) -> int:
    """Which exit status tells `git bisect run` the same? It takes 1 to 124 for a bad commit."""
    return status if status in (0, 1) else UNTESTABLE


def command_for_bisect(status: int) -> int:
    """Which exit status tells `git bisect run` how the guest's command failed?

    As if it had run the command itself, but that a signal's (128 and more) does not end it.
    """
    return 1 if status < 128 and status != UNTESTABLE else UNTESTABLE


def wanted_form(words: Sequence[str]) -> str:
    """Which form does a command line ask for? Also one that cannot be parsed; else "text"."""
    for word, following in pairwise([*words, ""]):
        if word == "--format":
            return following
        if word.startswith("--format="):
            return word.removeprefix("--format=")
    return "text"


def status_of(verb: Callable[[], int], form: str = "text") -> int:
    """How does the verb end? Its own exit status, or what became of it, which is said.

    What went wrong is one line on stderr, and in a form for programs a document on stdout.
    """
    try:
        status = verb()
        sys.stdout.flush()
        return status
    except TopbitError as error:
        return _end(error, form)
    except BrokenPipeError:
        # The reader of a pipe went away: nothing is wrong, and nothing more to say.
        _drop_output()
        return 0
    except KeyboardInterrupt:
        return _end(TopbitError("interrupted"), form, INTERRUPTED)
    except Exception as error:
        if isinstance(error, OSError) and error.errno in NO_ROOM:
            _drop_output()
            _say(f"the output is incomplete: {error.strerror}")
            return BAD_INPUT
        return _end(_internal(error), form, INTERNAL_ERROR)
    except BaseException as error:
        # A panic of polars is no Exception.
        if not type(error).__module__.startswith("pyo3"):
            raise
        return _end(_internal(error), form, INTERNAL_ERROR)


def _end(error: TopbitError, form: str, status: int | None = None) -> int:
    """Say what went wrong; returns the exit status, which is the error's own if none is given."""
    _say(str(error))
    error.exit_status = error.exit_status if status is None else status
    if form in FORMS and not (FORMS[form].binary and sys.stdout.isatty()):
        try:
            sys.stdout.buffer.write(FORMS[form].render_error(error))
            sys.stdout.flush()
        except OSError:  # a full disk, a reader that went away: stderr has told it
            _drop_output()
    return error.exit_status


def _say(text: str) -> None:
    print(f"topbit: {text}", file=sys.stderr)


def _drop_output() -> None:
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _internal(error: BaseException) -> TopbitError:
    """What is said of an error that topbit itself made?"""
    import traceback

    if os.environ.get(TRACEBACK):
        traceback.print_exception(error)
    last = traceback.extract_tb(error.__traceback__)[-1]
    words = " ".join(f"{type(error).__name__}: {error}".split())
    return TopbitError(
        f"{words} ({Path(last.filename).name}:{last.lineno})",
        where="internal error",
        hint=f"please report it to topbit's issue tracker, with the command and what {TRACEBACK}=1 "
        "shows",
    )


class Termination:
    """Was the process asked to end? From now on SIGTERM ends a run as Ctrl-C does.

    Attributes:
        asked: it was.
    """

    def __init__(self) -> None:
        self.asked = False
        signal.signal(signal.SIGTERM, self._ask)

    def _ask(self, number: int, frame: FrameType | None) -> None:
        self.asked = True
        signal.signal(signal.SIGTERM, signal.SIG_DFL)  # a second one ends it at once
        raise KeyboardInterrupt
