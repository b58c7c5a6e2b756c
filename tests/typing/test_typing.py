"""Type checkers understand `import topbit`, and addresses: right passes, wrong does not."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import needs
from paths import ROOT

HERE = Path(__file__).parent
FILES = [HERE / name for name in ("uses.py", "misuses.py", "addresses.py")]
PYRIGHT = "pyright@1.1.414"

Errors = dict[str, set[int]]
"""File name -> lines with an error."""


def wrong() -> Errors:
    found: Errors = {}
    for path in FILES:
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            if line.endswith("# wrong"):
                found.setdefault(path.name, set()).add(number)
    return found


def by_mypy() -> Errors:
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", *map(str, FILES)],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    found: Errors = {}
    for path, line in re.findall(r"^(\S+):(\d+): error: ", done.stdout, re.MULTILINE):
        found.setdefault(Path(path).name, set()).add(int(line))
    assert found or not done.returncode, done.stdout + done.stderr
    return found


def by_pyright() -> Errors:
    npx = shutil.which("npx") or needs.lacking("npx of Node.js, which brings pyright")
    tried = subprocess.run([npx, "--yes", PYRIGHT, "--version"], capture_output=True, text=True)
    if tried.returncode:
        needs.lacking(f"{PYRIGHT}, which npx cannot fetch: {tried.stderr.strip()[-200:]}")
    done = subprocess.run(
        [npx, "--yes", PYRIGHT, "--outputjson", "--pythonpath", sys.executable, "-p", str(HERE)],
        capture_output=True,
        text=True,
    )
    found: Errors = {}
    for entry in json.loads(done.stdout)["generalDiagnostics"]:
        if entry["severity"] == "error":
            line = entry["range"]["start"]["line"] + 1
            found.setdefault(Path(entry["file"]).name, set()).add(line)
    return found


@pytest.mark.parametrize("checker", [by_mypy, by_pyright])
def test_right_uses_pass_and_wrong_ones_do_not(checker: Callable[[], Errors]) -> None:
    assert checker() == wrong()
