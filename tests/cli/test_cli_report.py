"""`topbit report` as its users call it."""

import json
from pathlib import Path

import pytest

import topbit
from paths import DATA
from topbit.cli import main

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
    [("r.doc", ".txt or .json"), ("none/r.txt", "cannot write: No such file")],
)
def test_a_file_that_cannot_be_written_is_one_line(
    recording: Path, output: str, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["report", str(recording), "-o", str(recording.parent / output)]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert words in captured.err
    assert captured.err.count("\n") == 1
