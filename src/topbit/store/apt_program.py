"""What does a program of apt's answer, how far is it, and why did it fail?"""

from __future__ import annotations

import os
import re
import subprocess
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TypeAlias

from topbit.errors import MissingToolError, RunError

Came: TypeAlias = Callable[[int], None]
"""Is told how many bytes of a download have come until now."""


def ignore(came: int) -> None:
    """Nobody wants to know how far a download is."""


def run(
    command: Sequence[str],
    *,
    cwd: Path | None = None,
    config: Path | None = None,
    ends: Sequence[int] = (),
) -> str:
    """What does the command print?

    Args:
        cwd: its folder.
        config: file that stands before all of apt's own configuration.
        ends: descriptors that it inherits.

    Raises:
        MissingToolError: there is no such program.
        RunError: it failed; says what it complains of.
    """
    environment = {**os.environ, "LC_ALL": "C.UTF-8", "DEBIAN_FRONTEND": "noninteractive"}
    if config is not None:
        environment["APT_CONFIG"] = str(config)
    try:
        done = subprocess.run(
            command,
            cwd=cwd,
            env=environment,
            capture_output=True,
            text=True,
            check=True,
            pass_fds=ends,
        )
    except FileNotFoundError as error:
        raise MissingToolError(f"{command[0]} is not installed") from error
    except subprocess.CalledProcessError as error:
        text = error.stderr.strip() or error.stdout.strip()
        reasons = [line for line in text.splitlines() if line.startswith("E: ")] or [text]
        further = f" (and {len(reasons) - 1} more)" if len(reasons) > 1 else ""
        unmet = " ".join("".join(error.stdout.partition("have unmet dependencies:")[1:]).split())
        raise RunError(
            f"{command[0]} failed: {reasons[0][:600]}{further} {unmet}".rstrip(),
            where=command[-1],
            hint="see whether this machine's own apt-get update works",
        ) from error
    return done.stdout


@contextmanager
def followed(size: int, came: Came) -> Iterator[tuple[str, Sequence[int]]]:
    """Which option lets apt tell how far it is, and which descriptor does it then need?

    apt tells per cent of all that one command fetches (``APT::Status-Fd``, lines ``dlstatus:``).
    """
    reading, writing = os.pipe()

    def follow() -> None:
        with open(reading, encoding="utf-8", errors="replace") as lines:
            for line in lines:
                if found := re.match(r"dlstatus:\d+:([\d.]+):", line):
                    came(round(size * float(found[1]) / 100))

    follower = threading.Thread(target=follow, name="topbit-apt", daemon=True)
    follower.start()
    try:
        yield f"-oAPT::Status-Fd={writing}", (writing,)
    finally:
        os.close(writing)
        follower.join()
    came(size)
