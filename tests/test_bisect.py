"""The recipe of docs/howto-bisect.md, really run: in eight commits, one breaks the convention."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import needs
from paths import ROOT
from topbit.scenario import find
from topbit.scenario.toml import dumps

RECIPE = re.search(
    r"<!-- the test runs this block -->\n```sh\n(.*?)```",
    (ROOT / "docs" / "howto-bisect.md").read_text(encoding="utf-8"),
    re.DOTALL,
)


@pytest.mark.parametrize(("first_bad", "broken"), [(3, None), (7, 4)])
def test_the_first_bad_commit_is_found(first_bad: int, broken: int | None, tmp_path: Path) -> None:
    """`broken`: a commit between whose scenario is no scenario, so that it is skipped."""
    needs.program("git")
    home, repository = tmp_path / "bin", tmp_path / "vmm"
    home.mkdir()
    repository.mkdir()
    (home / "topbit").write_text(f'#!/bin/sh\nexec {sys.executable} -m topbit "$@"\n')
    (home / "topbit").chmod(0o755)
    environment = {
        **{key: value for key, value in os.environ.items() if not key.startswith("GIT_")},
        "PATH": f"{home}:{os.environ['PATH']}",
        "GIT_CONFIG_GLOBAL": os.devnull,
        **{
            f"GIT_{who}_{what}": "t@t"
            for who in ("AUTHOR", "COMMITTER")
            for what in ("NAME", "EMAIL")
        },
    }

    def run(*command: str) -> str:
        done = subprocess.run(
            command, cwd=repository, env=environment, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    run("git", "init", "-q")
    text = dumps(find("seed"))
    assert 'smmu_map = "alias"' in text
    for number in range(8):
        made = text.replace('smmu_map = "alias"', 'smmu_map = "protected"')
        now = made if number >= first_bad else text
        scenario = "no scenario" if number == broken else f"{now}\n# {number}\n"
        (repository / "vmm.toml").write_text(scenario)
        run("git", "add", ".")
        run("git", "commit", "-qm", f"change {number}")
        if not number:
            run("git", "tag", "v1.0")
    assert RECIPE is not None
    told = run("sh", "-ec", RECIPE[1])
    assert "is the first bad commit" in told
    found = re.search(r"^([0-9a-f]+) is the first bad commit", told, re.MULTILINE)
    assert found
    assert run("git", "log", "-1", "--format=%s", found[1]) == f"change {first_bad}\n"
