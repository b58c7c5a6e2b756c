"""`topbit run` and `topbit scenario` as a user meets them."""

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import topbit
from topbit import api
from topbit.cli import main
from topbit.events import Event
from topbit.machine.interrupted import RunInterrupted
from topbit.recording import Recording

# guest, VMM maps, masks -> per device kind (reached, blamed): the convention, spelled out.
OK = ("shared memory", "-")
FAULT = "F_TRANSLATION"
OLD = ("shared memory", "guest H3 M1")
EXPECTED = {
    ("6.14.0", "alias", "yes"): [(FAULT, "guest F2 H3 M1"), (FAULT, "guest H3"), OLD],
    ("6.14.0", "protected", "yes"): [
        ("shared memory", "guest H3 M1, VMM V1"),
        (FAULT, "guest H3"),
        OLD,
    ],
    ("6.14.0", "both", "yes"): [OLD, (FAULT, "guest H3"), OLD],
    ("6.14.0", "none", "yes"): [(FAULT, "guest F2 H3 M1"), (FAULT, "guest H3"), OLD],
    ("6.14.0", "alias", "no"): [(FAULT, "guest F2 H3 M1"), (FAULT, "guest H3"), OLD],
    ("6.15", "alias", "yes"): [OK, OK, OK],
    ("6.15", "protected", "yes"): [(FAULT, "VMM F1 V1"), OK, OK],
    ("6.15", "both", "yes"): [OK, OK, OK],
    ("6.15", "none", "yes"): [(FAULT, "VMM F1 V1"), OK, OK],
    ("6.15", "alias", "no"): [OK, OK, ("no memory slot", "VMM V8")],
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
    assert "verdict  " in capsys.readouterr().out
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
    assert captured.out.startswith("verdict  UNFINISHED: no violation, but ")
    assert "Linux asks for ever" in captured.err
    assert not Recording.read(path).of_kind("convert").is_empty()


def test_a_violation_says_more_than_the_guests_end(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "private-page-destroyed"]) == 1
    assert "the host destroyed the page 0x" in capsys.readouterr().err


REALM = topbit.Platform(realm=True, ipa_bits=41, machine="qemu")
PLAIN = Event("guest", "dma_map", device="a", address=0x43D92000, phys=0x43D92000, size=64)


@pytest.fixture
def qemu(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[dict[str, Any]]]:
    """Let a run on QEMU record these events and end so; gives what it was asked."""

    def prepare(
        *events: Event, ending: str = "", unfinished: str = "", status: int | None = None
    ) -> list[dict[str, Any]]:
        platform = dataclasses.replace(REALM, unfinished=unfinished, command_status=status)
        recording = Recording.of_events(platform, events)
        asked: list[dict[str, Any]] = []

        def run(scenario: str, **given: Any) -> Recording:
            asked.append({"scenario": scenario} | given)
            if ending == "interrupted":
                raise RunInterrupted(recording)
            return recording

        monkeypatch.setattr(api, "run", run)
        return asked

    return prepare


@pytest.mark.parametrize(
    ("events", "ending", "unfinished", "status", "words"),
    [
        ([], "", "", 0, ""),
        ([], "", "not all went well", 3, "topbit: not all went well (the report shows what"),
        ([PLAIN], "", "not all went well", 1, "topbit: not all went well (the report shows what"),
        ([], "interrupted", "interrupted", 130, "topbit: interrupted (the report shows what"),
        ([PLAIN], "interrupted", "interrupted", 1, "topbit: interrupted (the report shows what"),
        ([], "", "a \x1b[2Jhostile\nname", 3, r"topbit: a \x1b[2Jhostile\nname (the report"),
    ],
)
def test_how_a_run_on_qemu_ends(
    events: list[Event],
    ending: str,
    unfinished: str,
    status: int,
    words: str,
    qemu: Callable[..., list[dict[str, Any]]],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    qemu(*events, ending=ending, unfinished=unfinished)
    stored = tmp_path / "run.parquet"
    assert main(["run", "--machine", "qemu", "-o", str(stored)]) == status
    captured = capsys.readouterr()
    assert captured.err.startswith(words)
    assert captured.err.count("\n") == bool(words)
    assert captured.out.startswith("verdict  ")
    assert Recording.read(stored).platform.unfinished == unfinished


@pytest.mark.parametrize(
    ("events", "unfinished", "status", "exits", "bisects"),
    [
        ([], "", None, 0, 0),
        ([], "", 0, 0, 0),
        ([], "", 7, 7, 1),
        ([], "", 125, 125, 125),
        ([], "", 137, 137, 125),
        ([PLAIN], "", 7, 1, 1),
        ([], "not all went well", 7, 3, 125),
    ],
)
def test_the_commands_status_counts_where_nothing_else_is_wrong(
    events: list[Event],
    unfinished: str,
    status: int | None,
    exits: int,
    bisects: int,
    qemu: Callable[..., list[dict[str, Any]]],
) -> None:
    qemu(*events, unfinished=unfinished, status=status)
    words = ["run", "--machine", "qemu", "--run", "x"]
    assert main(words) == exits
    assert main([*words, "--exit-for", "bisect"]) == bisects


@pytest.mark.parametrize("options", [[], ["--console"]])
def test_what_the_command_writes_goes_to_stderr_as_it_is(
    options: list[str],
    qemu: Callable[..., list[dict[str, Any]]],
    capfdbinary: pytest.CaptureFixture[bytes],
) -> None:
    asked = qemu(Event("guest", "output", detail="2\n"))
    assert main(["run", "--machine", "qemu", "--run", "nproc", *options]) == 0
    asked[0]["output"](b"\xff\0\r\n")
    assert capfdbinary.readouterr().err == b"\xff\0\r\n"


@pytest.mark.parametrize(
    ("words", "options"),
    [
        ([], {}),
        (["--cpus", "0", "--kernel", "7.3"], {"cpus": 0, "kernel": "7.3"}),
        (["--run", "ls", "--timeout", "2", "--gdb"], {"command": "ls", "timeout": 2, "gdb": True}),
        (["--gdb", "vmlinux"], {"gdb": Path("vmlinux")}),
        (["--add", "a", "--add", "b:/c", "--get", "/d"], {"add": ["a", "b:/c"], "get": ["/d"]}),
    ],
)
def test_options_of_the_qemu_machine(
    words: list[str], options: dict[str, object], qemu: Callable[..., list[dict[str, Any]]]
) -> None:
    asked = qemu()
    assert main(["run", "--machine", "qemu", "--set", "realm.ipa_bits=42", *words]) == 0
    (given,) = asked
    assert (given.pop("scenario"), given.pop("machine")) == ("seed", "qemu")
    assert given.pop("settings") == ["realm.ipa_bits=42"]
    told = {"note", "progress", "fetched", "output", "vmm"}
    assert {key: given[key] for key in given.keys() - told} == options


def test_no_run_is_made_that_cannot_be_stored(qemu: Callable[..., list[dict[str, Any]]]) -> None:
    asked = qemu()
    assert main(["run", "--machine", "qemu", "-o", "/nonexistent/x.parquet"]) == 2
    assert asked == []


def test_options_of_qemu_without_qemu_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "--cpus", "2"]) == 2
    assert capsys.readouterr().err.startswith("topbit: --cpus: the model machine has no such")


def test_the_matrix_of_vmms_by_name(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "--conventions", "kvmtool,qemu-nvidia"]) == 1
    out = capsys.readouterr().out
    assert "edk2    qemu-nvidia  yes    shared memory" in out
    assert "6 runs" in out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["seed", "--conventions", "kvmtool"], "--set vmm.convention"),
        (["--machine", "qemu", "--conventions", "kvmtool"], "--set vmm.convention"),
        (["--conventions", "kvmtool,nobody"], "no VMM's convention is called 'nobody'"),
    ],
)
def test_where_no_vmms_are_named(
    words: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["run", *words]) == 2
    assert said in capsys.readouterr().err
