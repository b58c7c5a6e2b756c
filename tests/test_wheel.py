"""What is built installs and runs where nothing else is: no tree, no other packages."""

import os
import shutil
import subprocess
import sys
import tarfile
import venv
import zipfile
from pathlib import Path

import pytest

import needs
from paths import DATA, ROOT

SOURCE = ROOT / "src" / "topbit"
pytestmark = pytest.mark.slow


def run(*command: str | Path, status: int = 0, cwd: Path | None = None) -> str:
    """What does the command print? It must end with `status`, and not find this tree."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PYTHON")}
    done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True)
    assert done.returncode == status, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """In which folder are sdist and wheel? Built of a copy, so that the tree stays as it is."""
    tree = tmp_path_factory.mktemp("tree")
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, tree)
    shutil.copytree(SOURCE, tree / "src" / "topbit", ignore=shutil.ignore_patterns("__pycache__"))
    run(sys.executable, "-m", "build", "--no-isolation", tree)
    return tree / "dist"


def test_both_hold_every_file_of_the_package(built: Path) -> None:
    files = {
        str(path.relative_to(SOURCE.parent))
        for path in SOURCE.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    (wheel,) = built.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        assert files - set(archive.namelist()) == set()
    (sdist,) = built.glob("*.tar.gz")
    with tarfile.open(sdist) as tar:
        inside = {name.partition("/src/")[2] for name in tar.getnames()}
    assert files - inside == set()


@pytest.fixture(scope="module")
def installed(built: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """In which environment is the wheel, with what it depends on and nothing else?"""
    made = tmp_path_factory.mktemp("installed") / "venv"
    venv.create(made, with_pip=True)
    pip = [made / "bin/python", "-m", "pip", "--quiet", "--disable-pip-version-check", "install"]
    locked = ROOT / "requirements" / "run.txt"
    fetched = subprocess.run([*pip, "--require-hashes", "-r", locked], capture_output=True)
    if fetched.returncode:
        needs.lacking(f"a package registry: {fetched.stderr.decode()[-500:]}")
    (wheel,) = built.glob("*.whl")
    run(*pip, "--no-index", wheel)  # what it depends on is there, or it fails
    return made


def test_the_wheel_runs_in_an_empty_environment(installed: Path, tmp_path: Path) -> None:
    bin_ = installed / "bin"
    recording = DATA / "recordings" / "vmm-maps-protected-half"
    assert "10 runs, 12 of 30 cells" in run(bin_ / "topbit", "run", status=1, cwd=tmp_path)
    said = run(bin_ / "topbit", "check", recording, status=1, cwd=tmp_path)
    assert "VIOLATION F1  the VMM did not map the unprotected alias" in said
    where = run(bin_ / "python", "-c", "import topbit; print(topbit.__file__)", cwd=tmp_path)
    assert Path(where.strip()).is_relative_to(installed)


@pytest.mark.qemu
def test_the_wheel_boots_a_kernel(installed: Path, tmp_path: Path) -> None:
    needs.tool("qemu")
    needs.kernel("6.18")
    said = run(
        installed / "bin/topbit",
        "run",
        "seed",
        "--machine",
        "qemu",
        "--kernel",
        "6.18",
        cwd=tmp_path,
    )
    assert said.startswith("verdict  OK: no violation")
