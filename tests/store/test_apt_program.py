import sys
from pathlib import Path

import pytest

from topbit.errors import MissingToolError, RunError
from topbit.store.apt_program import followed, run


def shell(tmp_path: Path, text: str) -> list[str]:
    program = tmp_path / "program"
    program.write_text(f"#!/bin/sh\n{text}\n")
    program.chmod(0o755)
    return [str(program), "wanted"]


def test_what_it_prints_in_its_folder_with_its_configuration(tmp_path: Path) -> None:
    command = shell(tmp_path, 'pwd; echo "$APT_CONFIG $LC_ALL $1"')
    assert run(command, cwd=tmp_path, config=tmp_path / "apt.conf").splitlines() == [
        str(tmp_path),
        f"{tmp_path}/apt.conf C.UTF-8 wanted",
    ]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("echo 'W: a'; echo 'E: no mirror' >&2; exit 100", "failed: E: no mirror ("),
        ("echo 'E: one\nW: x\nE: two\nE: three' >&2; exit 1", "failed: E: one (and 2 more) ("),
        ("echo only this; exit 1", "failed: only this ("),
        (
            "echo 'The following packages have unmet dependencies:\n tool : Depends: lib'\n"
            "echo 'E: Unable to correct problems' >&2; exit 1",
            "problems have unmet dependencies: tool : Depends: lib (",
        ),
    ],
)
def test_why_it_failed(text: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(RunError) as raised:
        run(shell(tmp_path, text))
    assert said in str(raised.value)
    assert str(raised.value).startswith("wanted: ")


def test_program_that_is_not_there_is_named() -> None:
    with pytest.raises(MissingToolError, match="apt-nothing is not installed"):
        run(["apt-nothing"])


def test_how_far_it_is(tmp_path: Path) -> None:
    """The lines are apt's (README.progress-reporting): kind, number, per cent, text."""
    came: list[int] = []
    with followed(1000, came.append) as (option, ends):
        number = option.removeprefix("-oAPT::Status-Fd=")
        assert (int(number),) == tuple(ends)
        lines = "dlstatus:1:0.5:Retrieving\nnonsense\npmstatus:x:90:x\ndlstatus:2:49.96:Retrieving"
        run([sys.executable, "-c", f"import os; os.write({number}, {lines.encode()!r})"], ends=ends)
    assert came == [5, 500, 1000]
