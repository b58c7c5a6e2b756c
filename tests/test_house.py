"""What the project promises outside its code: locked packages, hooks, a floor of coverage."""

import re
import shutil
import subprocess
import tomllib

import pytest

from paths import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", ["run.txt", "test.txt", "docs.txt"])
def test_locked_packages_have_hashes_and_name_no_registry(name: str) -> None:
    text = (ROOT / "requirements" / name).read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if line and not line.lstrip().startswith("#")]
    assert {line.lstrip()[:9] for line in lines if line.startswith(" ")} == {"--hash=sh"}
    packages = [line for line in lines if not line.startswith(" ")]
    assert all(re.fullmatch(r"[a-z0-9.-]+==\S+ \\", line) for line in packages)


def test_what_the_qemu_machine_imports_is_installed_with_topbit() -> None:
    names = {re.split(r"[<>=]", wanted)[0] for wanted in PROJECT["project"]["dependencies"]}
    assert "qemu.qmp" in names
    locked = (ROOT / "requirements" / "run.txt").read_text(encoding="utf-8")
    missing = [name for name in names if f"\n{name.replace('.', '-')}==" not in f"\n{locked}"]
    assert missing == []


def test_the_hooks_run_what_make_test_runs() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    hooks = (ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8")
    entries = re.findall(r"entry: \.venv/bin/(.+)", hooks)
    wanted = [
        command.removesuffix(" .")
        for command in re.findall(r"^\t\$\(BIN\)/((?:ruff|mypy).*)", makefile, re.M)
    ]
    assert [entry.removesuffix(" --force-exclude") for entry in entries] == wanted
    assert "http" not in hooks  # nothing is fetched


def test_the_floor_of_coverage_never_sank() -> None:
    git = shutil.which("git")
    if git is None or not (ROOT / ".git").exists():
        pytest.skip("no history here")
    changes = [git, "log", "-p", "--format=", "-G", "^fail_under", "--", "pyproject.toml"]
    history = subprocess.run(changes, cwd=ROOT, capture_output=True, text=True)
    if history.returncode:
        pytest.skip(f"git does not tell: {history.stderr}")
    floors = map(int, re.findall(r"^\+fail_under = (\d+)$", history.stdout, re.MULTILINE))
    assert PROJECT["tool"]["coverage"]["report"]["fail_under"] >= max(floors, default=0)
