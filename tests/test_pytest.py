"""The pytest plugin, as another project's suite uses it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import topbit
from paths import DATA
from topbit.pytest import PAGE, assert_no_violation

BAD = DATA / "recordings" / "vmm-maps-protected-half"
GOOD = DATA / "recordings" / "realm-6.18-ok"


@pytest.mark.parametrize("form", ["files", "recording", "report"])
def test_a_violation_fails_with_the_report_as_its_message(form: str) -> None:
    recording = topbit.run("seed", settings={"vmm.smmu_map": "protected"})
    checked = {"files": BAD, "recording": recording, "report": topbit.check(recording)}[form]
    with pytest.raises(pytest.fail.Exception, match="VIOLATION F1  the VMM did not map"):
        assert_no_violation(checked)


def test_what_keeps_the_convention_passes_and_gives_the_report() -> None:
    assert assert_no_violation(topbit.run("seed")).ok
    assert assert_no_violation(GOOD, ipa_bits=41).boots[-1].platform.ipa_bits == 41


def test_what_is_inconclusive_passes_only_if_that_is_said(tmp_path: Path) -> None:
    log = tmp_path / "console.log"
    log.write_text("[    0.000000] Booting Linux on physical CPU 0x0000000000 [0x410fd0f0]\n")
    with pytest.raises(pytest.fail.Exception, match="INCONCLUSIVE"):
        assert_no_violation(log)
    assert assert_no_violation(log, inconclusive=True).verdict == "inconclusive"


def test_a_run_that_did_not_end_its_work_fails() -> None:
    unfinished = topbit.run("map-failure")
    with pytest.raises(pytest.fail.Exception, match="UNFINISHED"):
        assert_no_violation(unfinished, inconclusive=True)


def test_a_recording_takes_no_options() -> None:
    with pytest.raises(topbit.UsageError, match="a recording has its own facts"):
        assert_no_violation(topbit.run("seed"), ipa_bits=41)


def test_the_fixture_is_found_and_leaves_a_page(tmp_path: Path) -> None:
    (tmp_path / "test_vmm.py").write_text(
        f"def test_bad(topbit_check):\n    topbit_check({str(BAD)!r})\n"
        f"def test_good(topbit_check):\n    assert topbit_check({str(GOOD)!r}, ipa_bits=41).ok\n"
    )
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "-p",
            "no:cacheprovider",
            f"--basetemp={tmp_path}/t",
        ],
        cwd=tmp_path,
        env={k: v for k, v in os.environ.items() if not k.startswith(("PYTEST", "COV"))},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1, done.stdout + done.stderr
    assert "1 failed, 1 passed" in done.stdout
    assert "VIOLATION F1  the VMM did not map the unprotected alias" in done.stdout
    (page,) = tmp_path.rglob(PAGE)
    assert f"the same as a page: {page}" in done.stdout
    assert page.read_text().startswith("<!doctype html>")
