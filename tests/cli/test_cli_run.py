"""`topbit run` and `topbit scenario` as a user meets them."""

import json
from pathlib import Path

import pytest

from topbit.cli import main
from topbit.recording import Recording

# guest, VMM maps, masks -> per device kind (reached, blamed): the convention, spelled out.
OK = ("shared memory", "-")
FAULT = "F_TRANSLATION"
OLD = ("shared memory", "guest H3 M1")
EXPECTED = {
    ("6.14.0", "alias", "yes"): [(FAULT, "guest F2 H3 M1"), (FAULT, "guest H3"), OLD],
    ("6.14.0", "protected", "yes"): [OLD, (FAULT, "guest H3"), OLD],
    ("6.14.0", "both", "yes"): [OLD, (FAULT, "guest H3"), OLD],
    ("6.14.0", "none", "yes"): [(FAULT, "guest F2 H3 M1"), (FAULT, "guest H3"), OLD],
    ("6.14.0", "alias", "no"): [(FAULT, "guest F2 H3 M1"), (FAULT, "guest H3"), OLD],
    ("6.15", "alias", "yes"): [OK, OK, OK],
    ("6.15", "protected", "yes"): [(FAULT, "vmm F1 V1"), OK, OK],
    ("6.15", "both", "yes"): [OK, OK, OK],
    ("6.15", "none", "yes"): [(FAULT, "vmm F1 V1"), OK, OK],
    ("6.15", "alias", "no"): [OK, OK, ("no memory slot", "vmm V8")],
}


def test_the_matrix_shows_what_each_device_reached_and_who_broke_what(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["run"]) == 1
    lines = capsys.readouterr().out.splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith("------"))
    widths = [len(dashes) for dashes in lines[start].split()]

    def cells(line: str) -> list[str]:
        out, at = [], 0
        for width in widths:
            out.append(line[at : at + width].strip())
            at += width + 2
        return out

    found = {}
    for i in range(start + 1, start + 1 + 2 * len(EXPECTED), 2):
        first, second = cells(lines[i]), cells(lines[i + 1])
        found[tuple(first[:3])] = list(zip(first[3:], second[3:], strict=True))
    assert found == EXPECTED


def test_a_right_run_exits_0_and_a_wrong_one_1(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "seed"]) == 0
    assert "verdict: " in capsys.readouterr().out
    assert main(["run", "vmm-maps-protected"]) == 1
    out = capsys.readouterr().out
    assert "VIOLATION F1  the VMM did not map the unprotected alias" in out
    assert "at fault  VMM, on nvme0" in out


def test_json_is_one_document(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "vmm-does-not-mask", "--format", "json"]) == 1
    data = json.loads(capsys.readouterr().out)
    assert data["verdict"] == "violation"
    assert {"platform", "findings", "unparsed", "not_checked"} <= data.keys()
    (finding,) = [f for f in data["findings"] if f["severity"] == "violation"]
    assert (finding["rule"], finding["agent"], finding["device"]) == ("V8", "vmm", "virtio0")
    assert {"count", "message", "evidence"} <= finding.keys()


def test_the_recording_can_be_stored_and_checked_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "run.parquet"
    assert main(["run", "guest-before-fix", "-o", str(path)]) == 1
    first = capsys.readouterr().out
    assert Recording.read(path).platform.machine == "model"
    assert main(["check", str(path)]) == 1
    again = capsys.readouterr().out
    assert [line for line in again.splitlines() if line.startswith("VIOLATION")] == [
        line for line in first.splitlines() if line.startswith("VIOLATION")
    ]


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["run", "sede"], "did you mean 'seed'"),
        (["run", "none.toml"], "No such file"),
        (["run", "-o", "x.parquet"], "name a scenario"),
        (["run", "seed", "-o", "/nonexistent/x.parquet"], "/nonexistent"),
    ],
)
def test_bad_use_is_one_line_and_status_2(
    argv: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(argv) == 2
    captured = capsys.readouterr()
    assert words in captured.err
    assert captured.err.count("\n") == 1


def test_scenario_list_and_show(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main(["scenario", "list"]) == 0
    assert "vmm-maps-protected" in capsys.readouterr().out
    assert main(["scenario", "show", "seed"]) == 0
    (tmp_path / "mine.toml").write_text(capsys.readouterr().out, encoding="utf-8")
    assert main(["run", str(tmp_path / "mine.toml")]) == 0


def test_a_guest_that_does_not_come_to_its_end_exits_3_with_its_report(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "refused.parquet"
    assert main(["run", "map-failure", "-o", str(path)]) == 3
    captured = capsys.readouterr()
    assert "verdict: no violation" in captured.out
    assert "Linux asks for ever" in captured.err
    assert not Recording.read(path).of_kind("convert").is_empty()


def test_a_violation_says_more_than_the_guests_end(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "private-page-destroyed"]) == 1
    assert "the host destroyed the page 0x" in capsys.readouterr().err
