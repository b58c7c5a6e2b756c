from pathlib import Path

import pytest

import needs
from debian_archive import Archive
from topbit.errors import MissingToolError
from topbit.store import apt, busybox
from topbit.store.apt import AptRoot
from topbit.store.debian import Source


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("TOPBIT_BUSYBOX", raising=False)


def test_ones_own_serves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOPBIT_BUSYBOX", str(tmp_path / "own"))
    with pytest.raises(MissingToolError, match=r"TOPBIT_BUSYBOX: .*own is not a file"):
        busybox.fetch()
    (tmp_path / "own").touch()
    assert busybox.fetch() == tmp_path / "own"


def test_the_way_around_a_missing_one_is_said() -> None:
    with pytest.raises(MissingToolError, match=r"busybox for arm64 is missing.*TOPBIT_BUSYBOX"):
        busybox.find()


def test_it_is_fetched_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for program in ("apt-get", "dpkg-deb", "gpg", "gpg-agent"):
        needs.program(program)
    archive = Archive(tmp_path / "archive", "trixie", "arm64")
    archive.add("busybox-static", "1", {"usr/bin/busybox": "static"})
    archive.publish()
    monkeypatch.setattr(apt, "KEYRINGS", (archive.keyring,))
    root = AptRoot(tmp_path / "apt", "arm64", [Source(archive.uri, archive.suite)])
    monkeypatch.setattr(busybox, "arm64_apt", lambda: root)
    said: list[str] = []
    path = busybox.fetch(said.append)
    assert path == tmp_path / "cache/topbit/busybox/busybox"
    assert path.read_text() == "static"
    assert [name.name for name in path.parent.iterdir()] == ["busybox"]
    assert busybox.fetch(said.append) == path
    assert len(said) == 1
