"""A compiled oracle is asked the same questions as the model."""

from __future__ import annotations

import subprocess
from collections.abc import Iterable
from pathlib import Path


def answers(program: Path, words: Iterable[object], questions: Iterable[str]) -> list[str]:
    """Which lines does the kernel's code print? `words`: its arguments; `questions`: its input."""
    done = subprocess.run(
        [str(program), *map(str, words)],
        input="\n".join(questions) + "\n",
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, f"exit status {done.returncode}: {done.stderr[:500]}"
    return done.stdout.splitlines()
