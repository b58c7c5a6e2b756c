"""How a verb ends: exit status, and one line about what went wrong."""

from __future__ import annotations

import errno
import signal
import subprocess
import sys
from collections.abc import Callable

import pytest

from report_schema import valid
from topbit.cli import check as check_verb
from topbit.cli import main
from topbit.cli.ending import EPILOG, for_bisect, status_of, wanted_form, wants_bisect
from topbit.errors import InputError, MissingToolError


def raising(error: BaseException) -> Callable[[], int]:
    def verb() -> int:
        raise error

    return verb


@pytest.mark.parametrize(
    ("error", "status", "line"),
    [
        (InputError("is empty", where="a"), 2, "topbit: a: is empty\n"),
        (MissingToolError("no QEMU"), 3, "topbit: no QEMU\n"),
        (KeyboardInterrupt(), 130, "topbit: interrupted\n"),
    ],
)
def test_what_a_user_can_mend_is_one_line(
    error: BaseException, status: int, line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert status_of(raising(error)) == status
    assert capsys.readouterr() == ("", line)


@pytest.mark.parametrize("status", [0, 1, 3])
def test_a_verbs_own_exit_status_is_kept(status: int) -> None:
    assert status_of(lambda: status) == status


@pytest.mark.parametrize(
    "error",
    [
        KeyError("x"),
        RuntimeError("two\nlines \x1b[2J"),
        OSError(errno.EIO, "broken"),
        MemoryError(),
    ],
)
def test_an_error_of_topbit_itself_is_one_line_that_says_where_to_report_it(
    error: Exception, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("TOPBIT_TRACEBACK", raising=False)
    assert status_of(raising(error)) == 70
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert err.removesuffix("\n").isprintable()
    assert err.startswith(f"topbit: internal error: {type(error).__name__}: ")
    assert "(test_ending.py:" in err
    assert "issue tracker" in err
    assert "TOPBIT_TRACEBACK=1" in err


class Panic(BaseException):
    """As polars raises it: no Exception."""

    __module__ = "pyo3_runtime"


def test_a_panic_of_a_library_is_an_internal_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert status_of(raising(Panic("assertion failed"))) == 70
    assert capsys.readouterr().err.startswith("topbit: internal error: Panic: assertion failed")


def test_what_is_no_error_goes_on() -> None:
    with pytest.raises(SystemExit):
        status_of(raising(SystemExit(3)))


def test_the_traceback_is_shown_if_wanted(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOPBIT_TRACEBACK", "1")
    assert status_of(raising(KeyError("x"))) == 70
    err = capsys.readouterr().err
    assert err.startswith("Traceback (most recent call last):")
    assert err.splitlines()[-1].startswith("topbit: internal error: KeyError: 'x'")


@pytest.mark.parametrize(
    ("status", "told"), [(0, 0), (1, 1), (2, 125), (3, 125), (4, 125), (70, 125), (130, 125)]
)
def test_what_bisect_is_told(status: int, told: int) -> None:
    assert for_bisect(status) == told


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        (["check", "--exit-for", "bisect", "x"], True),
        (["check", "--exit-for=bisect", "x"], True),
        (["check", "bisect"], False),
        (["check", "--exit-for"], False),
    ],
)
def test_whether_bisect_asks(words: list[str], wanted: bool) -> None:
    assert wants_bisect(words) == wanted


@pytest.mark.parametrize(
    ("words", "status"),
    [
        (["run", "seed"], 0),
        (["run", "vmm-maps-protected"], 1),
        (["run", "map-failure"], 125),
        (["run", "sede"], 125),
        (["check", "/nonexistent"], 125),
        (["check"], 125),
    ],
)
def test_run_and_check_for_bisect(words: list[str], status: int) -> None:
    assert main([*words, "--exit-for", "bisect"]) == status


@pytest.mark.parametrize("words", [["check", "--nonsense"], ["run", "--nonsense"]])
def test_bad_usage_for_bisect(words: list[str]) -> None:
    assert main([*words, "--exit-for", "bisect"]) == 125


def test_an_internal_error_for_bisect(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(check_verb, "run", raising(KeyError("x")))
    assert main(["check", "x", "--exit-for", "bisect"]) == 125


@pytest.mark.parametrize(
    ("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)], ids=["INT", "TERM"]
)
def test_a_signal_is_one_line_and_its_exit_status(number: int, status: int) -> None:
    code = (
        "import os, sys, time, topbit.cli, topbit.cli.scenario as verb\n"
        f"verb.run = lambda args: (os.kill(os.getpid(), {int(number)}), time.sleep(60))\n"
        "sys.argv = ['topbit', 'scenario', 'list']\n"
        "topbit.cli.command()\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=50)
    assert (done.returncode, done.stdout, done.stderr) == (status, "", "topbit: interrupted\n")


@pytest.mark.parametrize(
    ("verb", "status"),
    [
        ("[kill(), 1][-1]", 143),
        # What was found until then says more than how the run ended.
        ("suppress(kill) or 1", 1),
        # A second signal does not wait for the report.
        ("suppress(kill) or kill()", -signal.SIGTERM),
    ],
)
def test_termination_ends_a_run_and_a_second_one_ends_everything(verb: str, status: int) -> None:
    code = (
        "import os, signal, sys, topbit.cli, topbit.cli.scenario as verb\n"
        "kill = lambda: os.kill(os.getpid(), signal.SIGTERM)\n"
        "def suppress(act):\n"
        "    try: act()\n"
        "    except KeyboardInterrupt: pass\n"
        f"verb.run = lambda args: {verb}\n"
        "sys.argv = ['topbit', 'scenario', 'list']\n"
        "topbit.cli.command()\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=50)
    assert done.returncode == status


def test_help_tells_every_exit_status() -> None:
    for status in (0, 1, 2, 3, 4, 70, 125, 130, 143):
        assert f"{status} " in EPILOG


@pytest.mark.parametrize(
    ("words", "form"),
    [
        (["check", "--format", "json", "x"], "json"),
        (["check", "--format=json", "x"], "json"),
        (["check", "x"], "text"),
        (["check", "x", "--format"], ""),
        (["check", "json"], "text"),
    ],
)
def test_which_form_is_asked_for(words: list[str], form: str) -> None:
    assert wanted_form(words) == form


@pytest.mark.parametrize(
    ("words", "status", "what"),
    [
        (["check", "/nonexistent", "--format", "json"], 2, "cannot read: No such file"),
        (["check", "--format", "json"], 2, "no file was given"),
        (["check", "--format", "json", "--nonsense"], 2, "unrecognized arguments: --nonsense"),
        (["check", "--format=json", "--ipa-bits", "wide", "x"], 2, "argument --ipa-bits"),
        (["check", "x", "--format=json", "-o", "/nonexistent/x.parquet"], 2, "cannot write"),
        (["run", "sede", "--format", "json"], 2, "no scenario 'sede'"),
        (["run", "--format", "json"], 2, "the matrix is many runs"),
        (["report", "/nonexistent", "--format", "json"], 2, "cannot read"),
        (["explain", "nvme0", "--format", "json"], 2, "'nvme0' is no address"),
        (["explain", "0", "--format", "json", "--ipa-bits", "9"], 2, "9 is no width"),
    ],
)
def test_what_went_wrong_is_a_document_for_programs(
    words: list[str], status: int, what: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words) == status
    out, err = capsys.readouterr()
    document = valid(out)
    assert document["exit_status"] == status
    assert document["error"]["what"].startswith(what)
    assert err.splitlines()[-1].startswith("topbit: ")


@pytest.mark.parametrize(
    ("error", "status"),
    [(KeyError("x"), 70), (KeyboardInterrupt(), 130), (MissingToolError("no QEMU"), 3)],
)
def test_every_end_is_a_document_for_programs(
    error: BaseException, status: int, capsys: pytest.CaptureFixture[str]
) -> None:
    assert status_of(raising(error), "json") == status
    assert valid(capsys.readouterr().out)["exit_status"] == status


def test_a_form_that_is_none_has_no_document(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "x", "--format", "jsom"]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert "invalid choice: 'jsom'" in err
