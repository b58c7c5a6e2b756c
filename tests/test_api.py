"""What `import topbit` gives, as a program uses it."""

from __future__ import annotations

import doctest
import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import topbit
from paths import DATA, ROOT
from topbit import api
from topbit.machine.qemu import run as qemu_run
from topbit.recording.schema import COLUMNS
from topbit.report import ahead

LOGS = DATA / "recordings" / "vmm-maps-protected-half"


def rules(report: topbit.Report) -> set[str]:
    return {finding.rule for finding in report.findings if finding.severity == "violation"}


@pytest.mark.parametrize(
    "code",
    [
        "import topbit",
        "import topbit.api",
        "import topbit.errors",
        "import topbit; dir(topbit); topbit.run; topbit.TopbitError",
        "import topbit; topbit.explain(0x100433ce000, 41)",
    ],
)
def test_nothing_heavy_is_loaded_before_it_is_used(code: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", f"{code}\nimport sys\nprint(*sys.modules)"],
        capture_output=True,
        text=True,
        check=True,
    )
    loaded = {name.split(".")[0] for name in done.stdout.split()}
    assert "topbit" in loaded
    assert not loaded & {"numpy", "polars", "rich", "zstandard", "argparse"}


@pytest.mark.parametrize("name", topbit.__all__)
def test_every_public_name_is_there_and_says_what_it_is(name: str) -> None:
    thing = getattr(topbit, name)
    assert thing is getattr(topbit, name)
    assert thing.__name__ == name
    assert thing.__doc__
    assert name in dir(topbit)


def test_no_other_name_is_there() -> None:
    with pytest.raises(AttributeError, match="module 'topbit' has no attribute 'nonsense'"):
        topbit.nonsense  # type: ignore[attr-defined]


def test_the_examples_of_the_functions_are_right(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    result = doctest.testmod(api)
    assert result.failed == 0
    for name in ("run", "read", "check", "explain", "matrix", "scenarios"):
        assert ">>> " in getattr(api, name).__doc__


@pytest.mark.parametrize("page", ["docs/howto-python.md", "docs/howto-check.md", "README.md"])
def test_the_examples_of_the_documents_are_right(
    page: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "tests").symlink_to(ROOT / "tests")
    monkeypatch.chdir(tmp_path)
    text = (ROOT / page).read_text(encoding="utf-8")
    # A fence would be taken for output.
    unfenced = re.sub(r"^```.*$", "", text, flags=re.MULTILINE)
    examples = doctest.DocTestParser().get_doctest(unfenced, {}, page, page, 0)
    result = doctest.DocTestRunner().run(examples)
    assert result.failed == 0
    assert result.attempted


TOML = '[vmm]\nsmmu_map = "protected"\n[[device]]\nname = "nvme0"\n'


def test_a_scenario_is_named_written_or_given(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(TOML, encoding="utf-8")
    scenario = topbit.Scenario("mine")
    for wanted in (TOML, path, str(path)):
        assert rules(topbit.check(topbit.run(wanted))) == {"F1", "V1"}
    assert topbit.check(topbit.run(scenario)).ok
    assert topbit.check(topbit.run()).ok


def test_settings_change_the_scenario() -> None:
    for settings in ({"vmm.smmu_map": "protected"}, ["vmm.smmu_map=protected"]):
        recording = topbit.run("seed", settings=settings)
        assert rules(topbit.check(recording)) == {"F1", "V1"}
        assert recording.platform.changed == ["vmm.smmu_map"]


@pytest.mark.parametrize(
    ("given", "error", "words"),
    [
        ({"scenario": "sede"}, topbit.ScenarioError, "did you mean 'seed'"),
        ({"settings": ["vmm.smmu_map=up"]}, topbit.ScenarioError, "not one of"),
        ({"machine": "modle"}, topbit.UsageError, "did you mean 'model'"),
        ({"kernel": "7.3"}, topbit.UsageError, "--kernel: the model machine has no such thing"),
        ({"kernl": "7.3"}, TypeError, "unexpected keyword argument 'kernl'"),
        ({"kernl": "7.3", "machine": "qemu"}, TypeError, "unexpected keyword argument 'kernl'"),
    ],
)
def test_a_run_that_cannot_be(given: dict[str, Any], error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        topbit.run(**given)


def test_a_guest_that_breaks_off_is_recorded_and_not_ok(tmp_path: Path) -> None:
    recording = topbit.run("map-failure")
    report = topbit.check(recording)
    assert report.unfinished.startswith("the modelled guest ended before its workload: ")
    assert (report.verdict, report.ok, report.exit_status) == ("ok", False, 3)
    recording.write(tmp_path / "run.parquet")
    assert topbit.check(tmp_path / "run.parquet").unfinished == report.unfinished


def served(ending: str, asked: list[Any]) -> Callable[..., object]:
    """Stands for a run on QEMU."""

    def run(scenario: object, options: object, **given: object) -> object:
        asked.append((scenario, options, given["note"], given["progress"]))
        assert given["started"] is ahead.make_ready
        recording = topbit.Recording.of_events(topbit.Platform(machine="qemu"), [])
        return SimpleNamespace(ending=ending, recording=recording)

    return run


def test_the_qemu_machine_is_given_what_it_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []
    monkeypatch.setattr(qemu_run, "run", served("power off", asked))
    recording = topbit.run(
        "seed",
        settings={"realm.ipa_bits": 42},
        machine="qemu",
        kernel="7.3",
        timeout=None,
        note=print,
        progress=repr,
    )
    assert recording.platform.machine == "qemu"
    ((scenario, options, *heard),) = asked
    assert scenario.realm.ipa_bits == 42
    assert options == {"kernel": "7.3", "timeout": None}
    assert heard == [print, repr]


def test_an_interrupted_run_is_an_interruption(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(qemu_run, "run", served("interrupted", []))
    with pytest.raises(topbit.RunInterrupted) as stop:
        topbit.run("seed", machine="qemu")
    assert stop.value.recording.platform.machine == "qemu"


def test_files_are_read_and_checked_alike() -> None:
    every = [str(path) for path in sorted(LOGS.iterdir())]
    for paths in (LOGS, str(LOGS), every, iter(every)):
        assert rules(topbit.check(paths)) == {"F1"}
    (recording,) = topbit.read(every[0], ipa_bits=41)
    assert recording.platform.origins["ipa_bits"] == "option"
    assert tuple(recording.frame.columns) == COLUMNS
    assert topbit.check(LOGS, ipa_bits=41).boots[0].platform.origins["ipa_bits"] == "option"
    lines: list[int] = []
    topbit.check(LOGS, progress=lines.append)
    assert sum(lines) > 100


def test_recordings_are_checked_one_or_several() -> None:
    good, bad = topbit.run("seed"), topbit.run("vmm-maps-protected")
    assert topbit.check(good).ok
    both = topbit.check([bad, good])
    assert len(both.boots) == 2
    assert both.verdict is topbit.Verdict.VIOLATION
    assert json.loads(both.render("json"))["boots"] == 2


def test_what_cannot_be_checked_is_refused() -> None:
    recording = topbit.run("seed")
    for nothing in ([], [recording, str(LOGS)]):
        with pytest.raises(topbit.UsageError, match="give recordings or files"):
            topbit.check(nothing)  # type: ignore[call-overload]
    with pytest.raises(topbit.UsageError, match="ipa_bits: a recording has its own facts"):
        topbit.check(recording, ipa_bits=41)  # type: ignore[call-overload]
    with pytest.raises(topbit.InputError, match="No such file"):
        topbit.check("/nonexistent")


def test_an_address_is_explained() -> None:
    assert topbit.explain(0x433CE000, ipa_bits=41).alias == 0x100433CE000
    with pytest.raises(topbit.UsageError, match="no width"):
        topbit.explain(0x433CE000, ipa_bits=53)


def test_the_matrix_takes_vmms_by_name() -> None:
    matrix = topbit.matrix(conventions=["kvmtool", "plain"])
    assert [row.head for row in matrix.rows][2:4] == [
        ("6.15", "kvmtool", "yes"),
        ("6.15", "plain", "no"),
    ]


def test_the_matrix_takes_settings() -> None:
    matrix = topbit.matrix(settings={"guest.kernel": "6.15", "vmm.smmu_map": "alias"})
    assert len(matrix.rows) == 10
    assert {row.head[:2] for row in matrix.rows} == {("6.15", "alias")}
    assert matrix.violations == sum(row.violations for row in matrix.rows) > 0
    assert str(matrix).startswith("What a device reached")


def test_the_scenarios_that_are_brought_along_can_be_run_by_name_or_as_they_are() -> None:
    first, *_, last = topbit.scenarios()
    assert topbit.run(first).platform == topbit.run(first.name).platform
    assert topbit.run(last).platform == topbit.run(last.name).platform
