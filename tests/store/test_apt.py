from pathlib import Path

import pytest

import needs
from debian_archive import Archive
from topbit.errors import RunError
from topbit.store import apt
from topbit.store.apt import AptRoot
from topbit.store.debian import Source


@pytest.fixture(autouse=True)
def _tools() -> None:
    for program in ("apt-get", "apt-cache", "dpkg-deb", "gpg", "gpg-agent"):
        needs.program(program)


@pytest.fixture
def archive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Archive:
    made = Archive(tmp_path / "archive", "trixie", "arm64")
    monkeypatch.setattr(apt, "KEYRINGS", (made.keyring,))
    made.add("linux-image-6.18.9", "6.18.9-1", {"boot/vmlinuz": "old"})
    made.add("linux-image-6.18.15", "6.18.15-1", {"boot/vmlinuz": "new"}, "kmod")
    made.publish()
    return made


def root(archive: Archive, tmp_path: Path) -> AptRoot:
    return AptRoot(tmp_path / "apt", "arm64", [Source(archive.uri, archive.suite)])


def test_package_is_found_fetched_and_unpacked(archive: Archive, tmp_path: Path) -> None:
    here = root(archive, tmp_path)
    here.update()
    found = here.offers("linux-image-*")
    assert [(p.name, p.version, p.depends) for p in found] == [
        ("linux-image-6.18.15", "6.18.15-1", "kmod"),
        ("linux-image-6.18.9", "6.18.9-1", ""),
    ]
    assert here.offers("linux-modules-*") == []
    deb = here.download(found[0], tmp_path / "into")
    apt.extract([deb], tmp_path / "unpacked")
    assert (tmp_path / "unpacked/boot/vmlinuz").read_text() == "new"
    assert deb.stat().st_size == found[0].size


def test_unsigned_archive_is_refused(archive: Archive, tmp_path: Path) -> None:
    archive.publish(sign=False)
    with pytest.raises(RunError, match="not signed"):
        root(archive, tmp_path).update()


def test_archive_signed_by_another_key_is_refused(
    archive: Archive, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = Archive(tmp_path / "other", "trixie", "arm64")
    monkeypatch.setattr(apt, "KEYRINGS", (other.keyring,))
    with pytest.raises(RunError, match=r"not signed|NO_PUBKEY"):
        root(archive, tmp_path).update()


def test_changed_package_is_refused(archive: Archive, tmp_path: Path) -> None:
    here = root(archive, tmp_path)
    here.update()
    (package,) = here.offers("linux-image-6.18.9")
    deb = next(archive.pool.glob("linux-image-6.18.9_*"))
    deb.write_bytes(deb.read_bytes()[:-1] + b"x")
    with pytest.raises(RunError, match="Hash Sum mismatch"):
        here.download(package, tmp_path / "into")


def test_index_is_asked_once_a_day_and_when_forced(archive: Archive, tmp_path: Path) -> None:
    here = root(archive, tmp_path)
    here.update()
    archive.add("linux-image-7.3.4", "7.3.4-1", {"boot/vmlinuz": "newer"})
    archive.publish()
    here.update()
    assert here.offers("linux-image-7*") == []
    here.update(force=True)
    assert [package.name for package in here.offers("linux-image-7*")] == ["linux-image-7.3.4"]


def test_known_index_serves_without_a_network(
    archive: Archive, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = root(archive, tmp_path)
    here.update()
    (archive.folder / "debian/dists").rename(archive.folder / "gone")
    monkeypatch.setattr(apt, "INDEX_AGE", -1.0)
    here.update()
    assert len(here.offers("linux-image-*")) == 2
    with pytest.raises(RunError):
        here.update(force=True)


def test_only_what_the_machine_lacks_is_fetched(
    archive: Archive, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive.add("tool", "2", {"usr/bin/tool": ""}, "libnew, libold")
    archive.add("libnew", "1", {"usr/lib/libnew.so": ""})
    archive.add("libold", "1", {"usr/lib/libold.so": ""})
    archive.publish()
    status = tmp_path / "status"
    status.write_text(
        "Package: libold\nStatus: install ok installed\nVersion: 1\nArchitecture: arm64\n"
        "Maintainer: x\nDescription: x\n"
    )
    sources = [Source(archive.uri, archive.suite)]
    here = AptRoot(tmp_path / "apt", "arm64", sources, status)
    here.update()
    needed = here.missing("tool")
    debs = here.fetch(needed)
    assert sorted(deb.name for deb in debs) == ["libnew_1_arm64.deb", "tool_2_arm64.deb"]
    assert needed.size == sum(deb.stat().st_size for deb in debs)
    assert here.missing("libold").files == ()
    with pytest.raises(RunError, match="Unable to locate package nothing"):
        here.missing("nothing")


def test_unmet_dependency_is_named(archive: Archive, tmp_path: Path) -> None:
    archive.add("tool", "2", {"usr/bin/tool": ""}, "libabsent (>= 3)")
    archive.publish()
    here = root(archive, tmp_path)
    here.update()
    with pytest.raises(RunError, match="libabsent"):
        here.missing("tool")
