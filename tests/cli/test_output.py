"""What the verbs print: one document, errors included, and nothing that spoils a terminal."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from pathlib import Path

import pytest

from paths import DATA
from report_readers import read
from topbit.cli import main
from topbit.report.forms import FORMS

SMALL_POOL = b"""\
[    0.000000] Linux version 6.18.0 (a@b) #1 SMP
[    0.000000] RSI: Using RSI version 1.0
[ 1.0] nvme 0000:00:01.0: swiotlb buffer is full (sz: 4096 bytes), total 512 (slots), used 0 (slots)
"""
REFUSED = b"""\
[    1.0] arm-smmu-v3 a.iommu: event 0x10 received:
[    1.0] arm-smmu-v3 a.iommu: event: F_TRANSLATION client: 0000:01:00.0 sid: 0x100 ssid: 0x0
"""
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


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    ("log", "status"),
    [
        (b"", 2),  # nothing to read
        (SMALL_POOL, 0),
        (REFUSED, 4),
    ],
    ids=["unreadable", "ok", "inconclusive"],
)
def test_every_form_ends_with_the_same_exit_status_and_is_one_document(
    log: bytes, status: int, form: str, tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    (tmp_path / "log").write_bytes(log)
    assert main(["check", str(tmp_path / "log"), "--format", form]) == status
    out, err = capfdbinary.readouterr()
    assert bool(err) is (status == 2)
    if form == "text" and status == 2:
        assert out == b""
    else:
        read(form, out)


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


@pytest.mark.parametrize(
    ("columns", "no_colour", "has_map", "has_colour"),
    [(120, "", True, True), (80, "1", True, False), (79, "", False, True)],
)
def test_a_terminal_gets_a_map_if_it_is_wide_enough_and_colours_if_it_may(
    columns: int, no_colour: str, has_map: bool, has_colour: bool
) -> None:
    shown = on_a_terminal(["check", LOGS], columns, {"NO_COLOR": no_colour} if no_colour else {})
    assert ("address map" in shown) is has_map
    assert ("\x1b[1;31m" in shown) is has_colour
    plain = re.sub(r"\x1b\[[0-9;]*m", "", shown)
    assert "VIOLATION F1  the VMM did not map" in plain
    # What does not fit is broken between words: only a path is longer.
    long = [line for line in plain.splitlines() if len(line) > columns]
    assert all(" " not in line.strip() for line in long)


def test_an_explanation_fits_the_terminal_and_is_whole_in_a_pipe(
    capfd: pytest.CaptureFixture[str],
) -> None:
    words = ["explain", "0x100433ce000", "--ipa-bits", "41"]
    assert main(words) == 0
    whole = capfd.readouterr().out
    shown = on_a_terminal(words, 60, {}, status=0)
    assert max(map(len, whole.splitlines())) > 80
    assert max(map(len, shown.splitlines())) <= 60
    assert shown.split() == whole.split()


def test_a_pipe_gets_neither_map_nor_colour() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "topbit", "check", LOGS], capture_output=True, text=True
    )
    assert "address map" not in done.stdout
    assert "\x1b" not in done.stdout


@pytest.mark.parametrize("matrix", [["run"]])
def test_the_matrix_fits_eighty_columns(matrix: list[str]) -> None:
    done = subprocess.run([sys.executable, "-m", "topbit", *matrix], capture_output=True, text=True)
    assert done.returncode == 1
    assert max(map(len, done.stdout.splitlines())) <= 80


def on_a_terminal(
    words: list[str], columns: int, environment: dict[str, str], status: int = 1
) -> str:
    """What does topbit write to a terminal of so many columns? It must end with `status`."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
    base = {key: value for key, value in os.environ.items() if key not in ("COLUMNS", "NO_COLOR")}
    done = subprocess.Popen(
        [sys.executable, "-m", "topbit", *words],
        stdin=subprocess.DEVNULL,
        stdout=theirs,
        stderr=subprocess.DEVNULL,
        env={**base, "TERM": "xterm-256color", "PYTHONIOENCODING": "utf-8", **environment},
    )
    os.close(theirs)
    shown = b""
    with contextlib.suppress(OSError):  # EIO: nobody has the terminal open any more
        while part := os.read(ours, 65536):
            shown += part
    os.close(ours)
    assert done.wait() == status
    return shown.decode().replace("\r\n", "\n")
