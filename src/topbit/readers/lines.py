"""Which lines has a text, and what does each say once it is free of what terminals obey?"""

from __future__ import annotations

import re
from collections.abc import Iterator

ANSI = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[@-Z\\-_])")
CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ufeff]")


def clean(text: str) -> Iterator[tuple[int, str]]:
    """Which lines has a text, numbered from 1, without colours, carriage returns and NULs?"""
    # Not str.splitlines(): form feeds and the like are no line ends for `less` or an editor.
    for number, line in enumerate(text.split("\n"), 1):
        yield number, plain(line)


def plain(line: str) -> str:
    """What does a line say without what a terminal would obey?"""
    if line.isprintable():
        return line
    return CONTROL.sub("", ANSI.sub("", line))
