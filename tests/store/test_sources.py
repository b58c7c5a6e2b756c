"""What is kept of a linux-source package, and which of them is meant."""

import io
import subprocess
import tarfile
from pathlib import Path

import pytest

import needs
from topbit.errors import InputError, RunError
from topbit.store import sources
from topbit.store.apt import Package
from topbit.store.apt_program import Came


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def package(tmp_path: Path, files: dict[str, str]) -> Path:
    """A .deb as Debian's: a tree in a tar.xz, beside other files."""
    needs.program("dpkg-deb")
    tree = io.BytesIO()
    with tarfile.open(fileobj=tree, mode="w:xz") as tar:
        for name, text in files.items():
            info = tarfile.TarInfo(f"linux-source-9.9/{name}")
            info.size = len(text)
            tar.addfile(info, io.BytesIO(text.encode()))
    root = tmp_path / "root"
    (root / "usr/share/doc").mkdir(parents=True)
    (root / "usr/share/doc/copyright").write_text("GPL")
    (root / "usr/src").mkdir(parents=True)
    (root / "usr/src/linux-source-9.9.tar.xz").write_bytes(tree.getvalue())
    (root / "DEBIAN").mkdir()
    control = ("Package: linux-source-9.9", "Version: 9.9.3-1", "Architecture: all")
    control += ("Maintainer: a <a@b>", "Description: x", "")
    (root / "DEBIAN/control").write_text("\n".join(control))
    deb = tmp_path / "linux-source-9.9.deb"
    subprocess.run(["dpkg-deb", "--build", str(root), str(deb)], check=True, capture_output=True)
    return deb


FILES = {
    "Makefile": "VERSION = 9\n",
    "drivers/net/Makefile": "no\n",
    "include/linux/dma-direct.h": "yes\n",
    "kernel/dma/swiotlb.c": "yes\n",
    "kernel/fork.c": "no\n",
}


def test_only_what_is_looked_at_is_kept(tmp_path: Path) -> None:
    into = tmp_path / "into"
    sources.unpack(package(tmp_path, FILES), into, "9.9")
    kept = {str(path.relative_to(into)) for path in into.rglob("*") if path.is_file()}
    assert kept == {"Makefile", "include/linux/dma-direct.h", "kernel/dma/swiotlb.c"}
    assert (into / "Makefile").read_text() == "VERSION = 9\n"


def test_a_package_without_a_tree(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"sources of Linux 9\.9"):
        sources.unpack(package(tmp_path, {"kernel/fork.c": ""}), tmp_path / "into", "9.9")


def test_a_file_that_is_no_package(tmp_path: Path) -> None:
    needs.program("dpkg-deb")
    (tmp_path / "x.deb").write_text("x")
    with pytest.raises(RunError, match="cannot be unpacked"):
        sources.unpack(tmp_path / "x.deb", tmp_path / "into", "9.9")


class Archive:
    def __init__(self, deb: Path, *names: str) -> None:
        self.deb = deb
        self.packages = [Package(name, "9.9.3-1~bpo13+1", 7, "") for name in names]

    def update(self) -> None: ...

    def offers(self, pattern: str) -> list[Package]:
        assert pattern == "linux-source-[0-9]*"
        return self.packages

    def download(self, package: Package, into: Path, came: Came) -> Path:
        came(7)
        copy = into / "x.deb"
        copy.write_bytes(self.deb.read_bytes())
        return copy


def test_a_series_is_fetched_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    archive = Archive(package(tmp_path, FILES), "linux-source-9.8", "linux-source-9.9")
    monkeypatch.setattr(sources, "arm64_apt", lambda: archive)
    said: list[str] = []
    came: list[tuple[str, int, int]] = []
    assert sources.held("9.9") is None
    found = sources.fetch("linux-source-9.9", said.append, lambda *told: came.append(told))
    assert found.name == "9.9-9.9.3"
    names = [".kept-2", "Makefile", "include", "kernel"]
    assert sorted(path.name for path in found.iterdir()) == names
    assert "the sources of Linux 9.9.3" in said[0]
    assert came[-1] == ("the sources of Linux 9.9.3", 7, 7)
    monkeypatch.setattr(sources, "arm64_apt", None)
    assert sources.fetch("9.9") == sources.held("9.9") == found


def tree(tmp_path: Path, name: str) -> Path:
    folder = tmp_path / "cache/topbit/sources" / name
    folder.mkdir(parents=True)
    (folder / sources.EDITION).touch()
    return folder


def test_a_tree_of_an_older_topbit_is_fetched_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = tree(tmp_path, "9.9-9.9.3")
    (old / sources.EDITION).unlink()
    (old / "Makefile").write_text("old")
    archive = Archive(package(tmp_path, FILES), "linux-source-9.9")
    monkeypatch.setattr(sources, "arm64_apt", lambda: archive)
    assert sources.held("9.9") is None
    assert sources.fetch("9.9") == old
    assert (old / "Makefile").read_text() == "VERSION = 9\n"


def test_the_newest_tree_of_a_series(tmp_path: Path) -> None:
    for name in ("9.9-9.9.9", "9.9-9.9.10", "9.10-9.10.1"):
        tree(tmp_path, name)
    (tmp_path / "cache/topbit/sources/9.9-9.9.11").mkdir()  # not whole
    found = sources.held("9.9")
    assert found is not None
    assert found.name == "9.9-9.9.10"


def test_a_series_that_the_archive_has_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "arm64_apt", lambda: Archive(tmp_path, "linux-source-9.8"))
    with pytest.raises(InputError, match=r"no linux-source-9\.9.*it has linux-source-9\.8"):
        sources.fetch("9.9")


@pytest.mark.parametrize(
    ("name", "series"),
    [("7.3", True), ("linux-source-7.3", True), ("7.3.4", False), ("linux", False), ("", False)],
)
def test_what_names_a_series(name: str, series: bool) -> None:
    assert sources.is_series(name) is series
    if not series:
        with pytest.raises(InputError, match="no series"):
            sources.held(name)
