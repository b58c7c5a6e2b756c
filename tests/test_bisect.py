"""The recipes of docs/howto-bisect.md, really run: in eight commits, one breaks the convention."""

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

SCENARIOS, *KERNELS = re.findall(
    r"<!-- the test runs this block -->\n```sh\n(.*?)```",
    (ROOT / "docs" / "howto-bisect.md").read_text(encoding="utf-8"),
    re.DOTALL,
)
FIRST = re.compile(r"^([0-9a-f]+) is the first (?:bad|mended) commit", re.MULTILINE)


class Repository:
    """A git repository, and topbit on its PATH."""

    def __init__(self, folder: Path) -> None:
        needs.program("git")
        home, self.folder = folder / "bin", folder / "vmm"
        home.mkdir()
        self.folder.mkdir()
        (home / "topbit").write_text(f'#!/bin/sh\nexec {sys.executable} -m topbit "$@"\n')
        (home / "topbit").chmod(0o755)
        self.environment = {
            **{key: value for key, value in os.environ.items() if not key.startswith("GIT_")},
            "PATH": f"{home}:{os.environ['PATH']}",
            "GIT_CONFIG_GLOBAL": os.devnull,
            **{
                f"GIT_{who}_{what}": "t@t"
                for who in ("AUTHOR", "COMMITTER")
                for what in ("NAME", "EMAIL")
            },
        }
        self.run("git", "init", "-q")

    def run(self, *command: str) -> str:
        done = subprocess.run(
            command, cwd=self.folder, env=self.environment, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def commit(self, file: str, text: str, message: str) -> None:
        (self.folder / file).write_text(text)
        self.run("git", "add", file)
        self.run("git", "commit", "--allow-empty", "-qm", message)

    def found(self, told: str) -> str:
        """Which commit's message did git bisect end with?"""
        first = FIRST.search(told)
        assert first, told
        return self.run("git", "log", "-1", "--format=%s", first[1]).strip()


@pytest.mark.parametrize(("first_bad", "broken"), [(3, None), (7, 4)])
def test_the_first_bad_commit_is_found(first_bad: int, broken: int | None, tmp_path: Path) -> None:
    """`broken`: a commit between whose scenario is no scenario, so that it is skipped."""
    history = Repository(tmp_path)
    text = dumps(find("seed"))
    assert 'smmu_map = "alias"' in text
    for number in range(8):
        made = text.replace('smmu_map = "alias"', 'smmu_map = "protected"')
        now = made if number >= first_bad else text
        scenario = "no scenario" if number == broken else f"{now}\n# {number}\n"
        history.commit("vmm.toml", scenario, f"change {number}")
        if not number:
            history.run("git", "tag", "v1.0")
    told = history.run("sh", "-ec", SCENARIOS)
    assert history.found(told) == f"change {first_bad}"


@pytest.mark.qemu
@pytest.mark.slow
def test_the_kernels_that_broke_nvme_and_mended_it_are_found(tmp_path: Path) -> None:
    """Eight commits of three real kernels: 6.18 leaves bounced reads unmapped."""
    needs.tool("qemu")
    history = Repository(tmp_path)
    for recipe in KERNELS:
        history.run("sh", "-ec", f"cd .. && {recipe}")
    for number, kernel in enumerate(["6.16"] * 3 + ["6.18"] * 2 + ["7.2"] * 3):
        needs.kernel(kernel)
        history.commit("kernel", f"{kernel}\n", f"{number}: Linux {kernel}")
    start = ("git", "bisect", "start")
    history.run(*start, "HEAD~3", "HEAD~7")
    assert history.found(history.run("git", "bisect", "run", "../step.sh")) == "3: Linux 6.18"
    history.run("git", "bisect", "reset")
    history.run(*start, "--term-old=broken", "--term-new=mended", "HEAD", "HEAD~4")
    assert history.found(history.run("git", "bisect", "run", "../mended.sh")) == "5: Linux 7.2"
