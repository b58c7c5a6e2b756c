"""Markdown for mails: narrow, quotable, and with nothing in it that others obey."""

from __future__ import annotations

import pytest
from markdown_it import MarkdownIt

from report_kinds import KINDS
from topbit.errors import InputError
from topbit.report.markdown_form import render, render_error

PARSER = MarkdownIt("commonmark")


def kinds_of_blocks(text: str) -> set[str]:
    return {token.type for token in PARSER.parse(text) if token.type != "inline"}


@pytest.mark.parametrize("kind", KINDS)
def test_no_line_is_long_or_means_something_in_a_mail(kind: str) -> None:
    for line in render(KINDS[kind]).splitlines():
        assert len(line) <= 72
        assert line == line.rstrip()
        assert line.isprintable()
        assert not line.startswith(("---", "From ", "diff ", "Index:", "-- "))


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "many"])
def test_it_is_bold_titles_and_fenced_blocks_also_when_quoted(kind: str) -> None:
    text = render(KINDS[kind])
    plain = {"paragraph_open", "paragraph_close", "fence"}
    assert kinds_of_blocks(text) == plain
    quoted = "".join(f"> {line}\n" for line in text.splitlines())
    assert kinds_of_blocks(quoted) == plain | {"blockquote_open", "blockquote_close"}
    blocks = [token.content for token in PARSER.parse(text) if token.type == "fence"]
    assert [t.content for t in PARSER.parse(quoted) if t.type == "fence"] == blocks


def test_titles_are_shown_as_they_are() -> None:
    inline = [token for token in PARSER.parse(render(KINDS["hostile"])) if token.type == "inline"]
    for token in inline:
        kinds = {child.type for child in token.children or ()}
        assert kinds <= {"strong_open", "strong_close", "text", "softbreak", "text_special"}
    shown = "".join(child.content for token in inline for child in token.children or ())
    assert "</script><script>alert(1)</script>" in shown


def test_it_tells_what_the_text_form_tells() -> None:
    text = render(KINDS["violation"])
    words = " ".join(text.replace("\\", "").split())
    for part in (
        "**topbit: VIOLATION: the VMM broke F1; 1 warning; 1 note**",
        "guest Linux 6.14.0, a Realm",
        "**VIOLATION F1 the VMM did not map the unprotected alias (16 times)**",
        "at fault VMM, on nvme0",
        "guest dma_map nvme0 ... logs/trace one.txt:812",
    ):
        assert part in words
    assert "**not checked, and what to give for it" in render(KINDS["not checked"])
    assert "Boot 2 of 2:" in render(KINDS["two boots"])


def test_an_error_is_told_in_a_block() -> None:
    text = render_error(InputError("is `empty`", where="a"))
    assert text == "**topbit: no report**\n\n```\na: is `empty`\n```\n"
