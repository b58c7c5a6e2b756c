import io
import sys

import pytest

from topbit.cli.bar import bar


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def shown_on(stream: io.StringIO, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr(sys, "stderr", stream)
    with bar() as fetched:
        for came in (0, 3_000_000, 6_000_000):
            fetched("a kernel", came, 6_000_000)
    return stream.getvalue()


def test_a_terminal_shows_how_far_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "80")
    shown = shown_on(Terminal(), monkeypatch)
    assert "a kernel" in shown
    assert "/6.0 MB" in shown


def test_a_pipe_gets_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    assert shown_on(io.StringIO(), monkeypatch) == ""
