"""`topbit report` as its users call it."""

import io
import json
import re
from pathlib import Path

import pytest

import topbit
from paths import DATA
from topbit.cli import main
from topbit.cli.output import _style

LOGS = DATA / "recordings" / "vmm-maps-protected-half"


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    path = tmp_path / "run.parquet"
    topbit.read(LOGS)[0].write(path)
    return path


def test_it_goes_to_stdout_and_says_nothing_by_its_exit_status(
    recording: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["report", str(recording)]) == 0
    assert capsys.readouterr().out == topbit.check(recording).render("text")
    assert main(["report", str(recording), "--format", "json"]) == 0
    assert json.loads(capsys.readouterr().out)["verdict"] == "violation"


@pytest.mark.parametrize(
    ("name", "options", "form"),
    [
        ("r.txt", [], "text"),
        ("r.json", [], "json"),
        ("r.txt", ["--format", "json"], "json"),
        ("r.doc", ["--format", "text"], "text"),
    ],
)
def test_a_file_gets_the_form_that_is_named(
    recording: Path, name: str, options: list[str], form: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = recording.with_name(name)
    assert main(["report", str(recording), "-o", str(path), *options]) == 0
    assert path.read_text(encoding="utf-8") == topbit.check(recording).render(form)
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("output", "words"),
    [
        ("r.doc", "end the name in .txt or .json or "),
        ("none/r.txt", "cannot write: No such file"),
    ],
)
def test_a_file_that_cannot_be_written_is_one_line(
    recording: Path, output: str, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["report", str(recording), "-o", str(recording.parent / output)]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert words in captured.err
    assert captured.err.count("\n") == 1


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_on_a_terminal_lines_are_broken_between_words_and_coloured(
    recording: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)
    terminal = Terminal()
    monkeypatch.setattr("sys.stdout", terminal)
    assert main(["report", str(recording)]) == 0
    shown = terminal.getvalue()
    assert shown.startswith("\x1b[1;31mverdict  VIOLATION: the VMM broke F1\x1b[0m\n")
    plain = re.sub(r"\x1b\[[\d;]*m", "", shown)
    assert max(len(line) for line in plain.splitlines() if len(line.split()) > 1) <= 60
    assert plain.split() == topbit.check(recording).render().split()


def test_rules_are_told_one_by_one_if_wanted(
    recording: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["report", str(recording), "-v"]) == 0
    told = capsys.readouterr().out
    assert "  V8        The VMM masks the shared bit off every address" in told
    for verb in (["check", str(recording)], ["run", "seed"]):
        main([*verb, "--verbose"])
        assert "  H4        With AMD SME an encrypted DMA address" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("line", "style"),
    [
        ("verdict  VIOLATION: the VMM broke F1", "bold red"),
        ("VIOLATION F1  it is wrong", "bold red"),
        ("verdict  OK: no violation", "bold green"),
        ("verdict  INCONCLUSIVE: no violation, but", "bold yellow"),
        ("verdict  UNFINISHED: no violation, but", "bold yellow"),
        ("WARNING S1  it is full", "bold yellow"),
        ("NOT JUDGED dmar  it is", "bold yellow"),
        ("UNDECIDED  more than one reading", "bold yellow"),
        ("NOTE S1  it is", "bold"),
        ("  seen      VIOLATION", None),
    ],
)
def test_the_colour_of_a_line(line: str, style: str | None) -> None:
    assert _style(line) == style
