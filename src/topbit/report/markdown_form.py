"""What is the report in Markdown, for a mail to a list?

72 columns, so that it survives being quoted a few times; no tables, no long lines, no trailing
spaces; nothing that stands for something in a patch mail ("---") or an mbox ("From "). What comes
from logs stands in fenced blocks, where Markdown finds nothing to render.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterable, Iterator, Sequence

from topbit.errors import TopbitError, printable
from topbit.report.boot import BootReport
from topbit.report.sentence import verdict_sentence
from topbit.report.text_form import render as render_text

WIDTH = 72


def render(boots: Sequence[BootReport]) -> str:
    """What is the whole report, with line ends?"""
    return "".join(line + "\n" for line in _lines(boots))


def render_error(error: TopbitError) -> str:
    """What is said where there is no report?"""
    return "".join(
        f"{line}\n" for line in [*_bold("topbit: no report"), "", *_fenced([str(error)])]
    )


def _lines(boots: Sequence[BootReport]) -> Iterator[str]:
    yield from _bold(f"topbit: {verdict_sentence(boots)}")
    for number, boot in enumerate(boots, 1):
        if len(boots) > 1:
            yield from ("", f"Boot {number} of {len(boots)}:")
        for title, lines in _blocks(boot):
            yield ""
            if title:
                yield from (*_bold(title), "")
            yield from _fenced(lines)


def _blocks(boot: BootReport) -> Iterator[tuple[str, list[str]]]:
    """Which blocks has the text form below its verdict, each with its title, if it has one?"""
    _, *rest = render_text([boot]).split("\n\n")
    for block in rest:
        lines = block.splitlines()
        titled = len(lines) > 1 and lines[1].startswith("  ") and not lines[0].startswith(" ")
        title = lines.pop(0) if titled else ""
        yield title, [line.strip() for line in lines]


def _fenced(lines: Iterable[str]) -> list[str]:
    """Which lines are the fenced block of these? Its fence is longer than any within."""
    folded = [part for line in lines for part in _wrapped(printable(line), "    ")]
    longest = max((len(run) for line in folded for run in re.findall("`+", line)), default=0)
    fence = "`" * max(3, longest + 1)
    return [fence, *folded, fence]


def _wrapped(text: str, indent: str = "") -> list[str]:
    return [
        line.rstrip()
        for line in textwrap.wrap(
            text, WIDTH, subsequent_indent=indent, break_on_hyphens=False, drop_whitespace=True
        )
    ]


def _bold(text: str) -> list[str]:
    """Which paragraph is it in bold letters, and shown as it is otherwise?"""
    shown = re.sub(r"([\\`*_{}\[\]<>#|&])", r"\\\1", " ".join(printable(text).split()))
    return _wrapped(f"**{shown}**")
