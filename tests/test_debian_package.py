"""The tree builds as a Debian package, which Debian's python3 runs from where it is unpacked."""

import gzip
import os
import shutil
import subprocess
from pathlib import Path

import pytest

import needs
from paths import DATA, ROOT
from topbit.cli import VERBS

pytestmark = pytest.mark.slow
TREE = ("pyproject.toml", "README.md", "LICENSE", "requirements", "src", "tools", "debian")
# As on a Debian machine: nothing of the environment that runs the tests.
ENVIRONMENT = {
    "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
    "LC_ALL": "C.UTF-8",
    **{k: v for k, v in os.environ.items() if k.startswith("PIP_") or k.endswith("_proxy")},
}


def run(*command: str | Path, status: int = 0, cwd: Path) -> str:
    """What does the command print? It must end with `status`."""
    done = subprocess.run(command, cwd=cwd, env=ENVIRONMENT, capture_output=True, text=True)
    assert done.returncode == status, done.stdout[-5000:] + done.stderr[-5000:]
    return done.stdout


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where is the package? Built of a copy, so that the tree stays as it is."""
    if not Path("/usr/bin/dpkg-buildpackage").exists():
        needs.lacking("dpkg-buildpackage is not installed (apt-get install dpkg-dev)")
    tree = tmp_path_factory.mktemp("debian") / "topbit"
    for name in TREE:
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        (tree / name).parent.mkdir(exist_ok=True)
        copy(ROOT / name, tree / name)
    wanted = ["dpkg-checkbuilddeps"]
    lacking = subprocess.run(wanted, cwd=tree, env=ENVIRONMENT, capture_output=True, text=True)
    if lacking.returncode:
        needs.lacking(f"{lacking.stderr.strip()} (apt-get build-dep .)")
    wheels = tree.parent / "wheels"
    fetch = ["/usr/bin/python3", "-m", "pip", "download", "--quiet", "--require-hashes"]
    for locked in (["run.txt", "--only-binary=:all:"], ["man.txt", "--no-build-isolation"]):
        from_list = [*fetch, "--dest", wheels, "-r", ROOT / "requirements" / locked[0], *locked[1:]]
        fetched = subprocess.run(from_list, env=ENVIRONMENT, capture_output=True)
        if fetched.returncode:
            needs.lacking(f"a package registry: {fetched.stderr.decode()[-500:]}")
    ENVIRONMENT.update(PIP_NO_INDEX="1", PIP_FIND_LINKS=str(wheels))
    run("dpkg-buildpackage", "--unsigned-source", "--unsigned-changes", cwd=tree)
    (built,) = tree.parent.glob("topbit_*.deb")
    return built


def test_debians_python_runs_what_the_package_holds(package: Path, tmp_path: Path) -> None:
    run("dpkg-deb", "--extract", package, tmp_path / "root", cwd=tmp_path)
    topbit = tmp_path / "root" / "usr" / "bin" / "topbit"
    assert "10 runs, 12 of 30 cells" in run(topbit, "run", status=1, cwd=tmp_path)
    recording = DATA / "recordings" / "vmm-maps-protected-half"
    said = run(topbit, "check", recording, status=1, cwd=tmp_path)
    assert "VIOLATION F1  the VMM did not map the unprotected alias" in said


def test_the_package_leaves_other_python_programs_alone(package: Path) -> None:
    listed = run("dpkg-deb", "--contents", package, cwd=package.parent)
    files = {line.split()[5] for line in listed.splitlines() if not line.startswith("d")}
    kept = ("lib/topbit/", "share/doc/topbit/", "share/python3/runtime.d/", "share/man/man1/topbit")
    outside = {name for name in files if not name.startswith(tuple(f"./usr/{k}" for k in kept))}
    completion = {
        "share/bash-completion/completions/topbit",
        "share/zsh/vendor-completions/_topbit",
    }
    assert outside == {f"./usr/{name}" for name in ("bin/topbit", *completion)}
    assert not [name for name in files if "setuptools" in name or name.endswith(".pth")]


def test_the_package_asks_for_the_python_of_its_wheels(package: Path) -> None:
    version = run("/usr/bin/python3", "-c", "import sys; print(sys.version_info[1])", cwd=Path("/"))
    depends = run("dpkg-deb", "--field", package, "Depends", cwd=package.parent)
    assert f"python3 (<< 3.{int(version) + 1})" in depends


def test_a_manual_page_for_topbit_and_one_for_each_verb(package: Path, tmp_path: Path) -> None:
    run("dpkg-deb", "--extract", package, tmp_path / "root", cwd=tmp_path)
    folder = tmp_path / "root" / "usr" / "share" / "man" / "man1"
    pages = {page.name: gzip.decompress(page.read_bytes()).decode() for page in folder.iterdir()}
    assert set(pages) == {"topbit.1.gz", *(f"topbit-{verb}.1.gz" for verb in VERBS)}
    for name, page in pages.items():
        assert page.startswith(f".TH {name.partition('.')[0].upper()}".replace("-", r"\-"))
    assert r"\fB\-\-ipa\-bits\fR" in pages["topbit-check.1.gz"]


def test_bash_completes_a_verb_and_its_options(package: Path, tmp_path: Path) -> None:
    run("dpkg-deb", "--extract", package, tmp_path / "root", cwd=tmp_path)
    completion = tmp_path / "root" / "usr/share/bash-completion/completions/topbit"
    words = "COMP_WORDS=(topbit {}); COMP_CWORD={}; _shtab_topbit; echo ${{COMPREPLY[@]}}"
    for typed, offered in (("tab", "table"), ("check --ipa", "--ipa-bits")):
        ask = words.format(typed, len(typed.split()))
        said = run("bash", "-c", f"source {completion}; {ask}", cwd=tmp_path)
        assert said.split() == [offered]


def test_the_version_is_the_same_everywhere() -> None:
    import topbit

    first = (ROOT / "debian" / "changelog").read_text(encoding="utf-8").splitlines()[0]
    assert first.startswith(f"topbit ({topbit.__version__}) ")
