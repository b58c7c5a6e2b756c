"""Which line was it before a mail program or a terminal broke it?

Mail is wrapped at 72 to 80 columns, between words; a terminal's copy is cut wherever its width
ends. Lines are only put together where the result is certain: together they can be read, the first
one alone cannot, and those that follow it do not begin as lines of a log or trace do.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

from topbit.readers.containers import QUOTED

Read = TypeVar("Read")

TRACE_LINES, LOG_LINES = 64, 8
"""Lines that one of a trace (a scatterlist of 128 entries has 4 KB) or of a log can have become."""
WIDEST = 200
"""Columns of the widest mail or terminal that breaks lines."""
NARROWEST = 40
"""Columns of the narrowest."""
# How a line of a log or a trace begins, whatever wraps it.
BEGINS = re.compile(
    r"\s*(?:\[[ \w:+.<>-]{1,40}\]|<\d{1,3}>|\w{3} [ \d]\d \d\d:\d\d:\d\d|\d{4}-\d\d-\d\d[T ]"
    r"|\S{1,32}-\d{1,7} +[\[(]|\S{1,32} +\d{1,7} +\[\d)"
)


def joinings(lines: Sequence[tuple[int, str]], index: int, most: int) -> Iterator[tuple[str, int]]:
    """Which longer lines may the one at `index` have been, and how many more does each take?"""
    if not NARROWEST <= len(lines[index][1]) <= WIDEST:
        return
    # The first is the soft break of mail's quoted-printable form.
    for between in ("=", " ", ""):
        whole = lines[index][1]
        whole = whole.rstrip() if between == " " else whole
        if between == "=" and not whole.endswith("="):
            continue
        for count in range(1, min(most, len(lines) - index)):
            following = lines[index + count][1]
            following = unquoted(following)
            if not following.strip() or len(following) > WIDEST or BEGINS.match(following):
                break
            if between == " ":
                whole = f"{whole} {following.strip()}"
            else:
                whole = whole.removesuffix(between) + following
            yield whole, count


def unquoted(line: str) -> str:
    """What is the line without the marks of quoted mail?"""
    quoted = QUOTED.match(line)
    return line[quoted.end() :] if quoted else line


def read_joined(
    lines: Sequence[tuple[int, str]],
    index: int,
    read: Callable[[str], Read | None],
    errors: type[Exception],
    most: int,
) -> tuple[Read, int] | None:
    """What does `read` make of the line at `index` with those behind it, and how many are they?

    Args:
        lines: of the file.
        index: the line that cannot be read alone.
        read: gives None, or raises one of `errors`, for what cannot be read.
        errors: see `read`.
        most: lines that it can have become.
    """
    for whole, count in joinings(lines, index, most):
        try:
            found = read(whole)
        except errors:
            continue
        if found is not None:
            return found, count
    return None
