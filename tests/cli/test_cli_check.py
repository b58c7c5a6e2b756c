"""`topbit check` as its users call it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from paths import DATA
from report_schema import valid
from topbit.cli import main
from topbit.errors import InputError
from topbit.recording import Recording

RECORDINGS = DATA / "recordings"


def topbit(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> tuple[int, str, str]:
    status = main([str(argument) for argument in arguments])
    out, err = capsys.readouterr()
    return status, out, err


@pytest.mark.parametrize("folder", ["realm-6.18-ok", "realm-6.16-ok"])
def test_good_realms_pass(capsys: pytest.CaptureFixture[str], folder: str) -> None:
    status, out, err = topbit(capsys, "check", RECORDINGS / folder)
    assert (status, err) == (0, "")
    assert "all with bit 40, the shared bit, set" in out
    assert "streaming maps, all bounced" in out
    assert out.startswith("verdict  OK: no violation")


def test_the_vmm_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    status, out, _ = topbit(capsys, "check", RECORDINGS / "vmm-maps-protected-half")
    assert status == 1
    assert out.startswith("verdict  VIOLATION: the VMM broke F1\n")
    for device, count in (("02.0", 16), ("01.0", 10), ("03.0", 7), ("04.0", 3)):
        assert out.count(f"at fault  VMM, on 0000:00:{device}") == 1
        assert f"({count} times)" in out


def test_the_kernel_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    status, out, _ = topbit(capsys, "check", RECORDINGS / "wide-ipa-7.3", "--ipa-bits", "52")
    assert status == 1
    assert "the guest kernel set bit 9 (0x200) instead of bit 51, the shared bit" in out
    assert out.startswith("verdict  VIOLATION: the guest broke H7")
    assert "unparsed 7 lines" in out


def test_json_and_nothing_else(capsys: pytest.CaptureFixture[str]) -> None:
    folder = RECORDINGS / "vmm-maps-protected-half"
    status, out, err = topbit(capsys, "check", folder, "--format", "json")
    assert (status, err) == (1, "")
    document = json.loads(out)
    assert document["verdict"] == "violation"
    assert {finding["agent"] for finding in document["findings"]} == {"vmm"}
    assert document["unparsed"] == 0


def test_a_recording_is_checked_and_reported(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    from topbit.readers.read import read

    path = tmp_path / "run.parquet"
    read([RECORDINGS / "vmm-maps-protected-half"])[0].write(path)
    status, out, _ = topbit(capsys, "check", path)
    assert status == 1
    for suffix in (".txt", ".json"):
        written = tmp_path / f"report{suffix}"
        status, _, _ = topbit(capsys, "report", path, "-o", written)
        assert status == 0
        assert "F1" in written.read_text()
    assert (tmp_path / "report.txt").read_text() == out
    status, _, err = topbit(capsys, "report", path, "-o", tmp_path / "report.doc")
    assert status == 2
    assert ".txt or .json" in err


@pytest.mark.parametrize(
    ("name", "content", "options", "says"),
    [
        ("none.log", None, [], "cannot read: No such file"),
        ("empty.log", b"", [], "is empty"),
        ("q.bin", bytes(33), [], "33 bytes are no multiple of 32-byte records"),
        ("console.log", b"a\n\xe9t\xe9\n", [], "holds no DMA trace event"),
        ("perf.data", b"PERFILE2" + bytes(100), [], "is a perf.data of perf, which is not read"),
        ("console.log", b"hello\n", [], "holds no DMA trace event"),
        ("console.log", b"hello\n", ["--ipa-bits", "53"], "53 is no width"),
        ("run.parquet", b"PAR1", [], "truncated recording"),
    ],
)
def test_bad_input_is_one_clear_line(
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    name: str,
    content: bytes | None,
    options: list[str],
    says: str,
) -> None:
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    status, out, err = topbit(capsys, "check", path, *options)
    assert (status, out) == (2, "")
    assert says in err
    assert err.startswith("topbit: ")
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    "arguments",
    [
        ["check", "x", "--c-bit", "wide"],
        ["check", "x", "--ipa-bits", "wide"],
        ["check", "x", "--format", "x"],
    ],
)
def test_bad_usage(capsys: pytest.CaptureFixture[str], arguments: list[str]) -> None:
    status, out, err = topbit(capsys, *arguments)
    assert (status, out) == (2, "")
    assert err.splitlines()[-1].startswith("topbit: argument --")


def test_a_pipe_gets_no_progress_and_no_colour() -> None:
    program = "import sys; from topbit.cli import main; sys.exit(main())"
    run = subprocess.run(
        [sys.executable, "-c", program, "check", str(RECORDINGS / "vmm-maps-protected-half")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (run.returncode, run.stderr) == (1, "")
    assert "\x1b" not in run.stdout


def test_no_file_at_all(capsys: pytest.CaptureFixture[str]) -> None:
    status, out, err = topbit(capsys, "check")
    assert (status, out) == (2, "")
    assert "no file was given" in err


def test_what_was_read_is_stored(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    stored = tmp_path / "run.parquet"
    folder = RECORDINGS / "vmm-maps-protected-half"
    status, out, err = topbit(capsys, "check", folder, "-o", stored)
    assert (status, err) == (1, "")
    assert topbit(capsys, "check", stored) == (1, out, "")


def test_of_several_boots_the_last_one_is_stored(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    boot = (
        "[    0.000000] Booting Linux on physical CPU 0x0\n"
        "[    0.000000] Linux version {} (x@y) (gcc) #1 SMP\n"
        "[    0.500000] smp: Brought up 1 node, {} CPUs\n"
        "[    9.000000] nvme 0000:00:01.0: swiotlb buffer is full (sz: 4096 bytes), total 32768 "
        "(slots), used 3270{} (slots)\n"
    )
    log, stored = tmp_path / "log", tmp_path / "run.parquet"
    log.write_text(boot.format("6.16.1", 1, 1) + boot.format("6.18.2", 2, 2))
    status, _, err = topbit(capsys, "check", log, "-o", stored)
    assert (status, err) == (0, f"topbit: {stored} holds the last of 2 boots\n")
    assert Recording.read(stored).platform.kernel == "6.18.2"


def test_a_place_where_nothing_can_be_stored_is_told_before_anything_is_read(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    status, out, err = topbit(capsys, "check", tmp_path / "x", "-o", tmp_path / "none/r.parquet")
    assert (status, out) == (2, "")
    assert "the folder does not exist" in err


def test_a_recording_that_cannot_be_stored_leaves_the_report(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(recording: Recording, path: Path) -> None:
        raise InputError("cannot write: No space left on device", where=str(path))

    monkeypatch.setattr(Recording, "write", full)
    for words in (["check", RECORDINGS / "realm-6.18-ok"], ["run", "seed"]):
        stored = tmp_path / "r.parquet"
        status, out, err = topbit(capsys, *words, "-o", stored, "--format", "json")
        assert status == 2
        assert valid(out)["verdict"] == "ok"
        assert err == f"topbit: {stored}: cannot write: No space left on device\n"
