"""What the verbs print: one document, errors included, and nothing that spoils a terminal."""

from __future__ import annotations

import pytest

from paths import DATA
from topbit.cli import main
from topbit.report.forms import FORMS

LOGS = str(DATA / "recordings" / "vmm-maps-protected-half")


@pytest.mark.parametrize("form", FORMS)
def test_a_check_prints_one_document_and_nothing_else(
    form: str, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    assert main(["check", LOGS, "--format", form]) == 1
    assert main(["report", "nosuch.parquet", "--format", form]) == 2
    out, err = capfdbinary.readouterr()
    assert b"F1" in out
    assert err == b"topbit: nosuch.parquet: cannot read: No such file or directory\n"


@pytest.mark.parametrize(
    ("words", "status", "in_out"),
    [
        (["check", "nosuch", "--format", "ktap"], 2, "# nosuch: cannot read"),
        (["check", "--nosuch", "--format", "ktap"], 2, "unrecognized arguments"),
        (["check", "--nosuch", "--format=ktap"], 2, "unrecognized arguments"),
        (["run", "nosuch", "--format", "lava"], 2, "RESULT=unknown"),
        (["check", "nosuch"], 2, ""),
        (["check", "nosuch", "--format", "nosuch"], 2, ""),
        (["report", "nosuch.parquet", "-o", "a.xml"], 2, ""),
    ],
)
def test_an_error_has_a_document_where_the_form_is_for_programs(
    words: list[str], status: int, in_out: str, capfd: pytest.CaptureFixture[str]
) -> None:
    assert main(words) == status
    out = capfd.readouterr().out
    assert in_out in out
    assert bool(out) is bool(in_out)


def test_no_binary_form_is_written_to_a_terminal(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    assert main(["check", LOGS, "--format", "perfetto"]) == 2
    out, err = capfd.readouterr()
    assert out == ""
    assert err == "topbit: the form perfetto is no text (redirect it into a file)\n"
