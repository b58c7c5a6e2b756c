import subprocess
from pathlib import Path

import pytest

import needs
from debian_archive import Archive
from topbit.cli import main
from topbit.errors import MissingToolError
from topbit.store import apt, debian, tools
from topbit.store.apt import AptRoot
from topbit.store.debian import Source

DEBIAN = {"ID": "debian", "VERSION_CODENAME": "bookworm"}


def program(path: Path, says: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\necho '{says}'\n")
    path.chmod(0o755)


@pytest.fixture(autouse=True)
def _bare_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No tool on PATH, none in the cache."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/usr/bin:/bin")
    which = tools.shutil.which
    ours = {tool.program for tool in tools.TOOLS.values()}

    def hidden(name: str) -> str | None:
        return which(name, path=str(tmp_path / "bin")) if name in ours else which(name)

    monkeypatch.setattr(tools.shutil, "which", hidden)
    for name in tools.TOOLS:
        monkeypatch.delenv("TOPBIT_" + name.upper().replace("-", "_"), raising=False)
    monkeypatch.setattr(tools, "os_release", lambda: DEBIAN)


def test_good_program_on_path_is_used(tmp_path: Path) -> None:
    program(tmp_path / "bin/qemu-system-aarch64", "QEMU emulator version 10.0.2 (Debian)")
    assert tools.find("qemu") == tmp_path / "bin/qemu-system-aarch64"


def test_old_program_on_path_is_refused_with_its_version(tmp_path: Path) -> None:
    program(tmp_path / "bin/qemu-system-aarch64", "QEMU emulator version 7.2.15 (Debian)")
    with pytest.raises(MissingToolError, match=r"found 7\.2\.15.*tool fetch qemu"):
        tools.find("qemu")


def test_cached_program_serves_where_the_one_on_path_is_old(tmp_path: Path) -> None:
    program(tmp_path / "bin/qemu-system-aarch64", "QEMU emulator version 7.2.15")
    cached = tmp_path / "cache/topbit/tools/qemu/qemu-system-aarch64"
    program(cached, "QEMU emulator version 10.0.2")
    assert tools.find("qemu") == cached


def test_own_program_is_named_by_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program(tmp_path / "mine", "QEMU emulator version 10.1.0")
    monkeypatch.setenv("TOPBIT_QEMU", str(tmp_path / "mine"))
    assert tools.find("qemu") == tmp_path / "mine"
    monkeypatch.setenv("TOPBIT_QEMU", str(tmp_path / "absent"))
    with pytest.raises(MissingToolError, match="TOPBIT_QEMU"):
        tools.find("qemu")


def test_other_distribution_is_told_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tools, "os_release", lambda: {"ID": "fedora"})
    with pytest.raises(MissingToolError, match=r"qemu-system-aarch64 9\.1 or newer.*TOPBIT_QEMU"):
        tools.fetch("qemu")


def test_unknown_tool_ends_with_usage(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["tool", "fetch", "qem"]) == 2
    assert "did you mean 'qemu'?" in capsys.readouterr().err


@pytest.fixture
def archive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Archive:
    for name in ("apt-get", "dpkg-deb", "gpg", "gpg-agent"):
        needs.program(name)
    architecture = subprocess.check_output(["dpkg", "--print-architecture"], text=True).strip()
    made = Archive(tmp_path / "archive", "bookworm", architecture)
    made.add(
        "device-tree-compiler",
        "1",
        {"usr/bin/dtc": '#!/bin/sh\necho "Version: DTC 1.6.1 $LD_LIBRARY_PATH"\n'},
        "libfdt1",
    )
    made.add("libfdt1", "1", {"usr/lib/some-linux-gnu/libfdt.so.1": ""})
    made.publish()
    monkeypatch.setattr(apt, "KEYRINGS", (made.keyring,))

    def host_apt(status: Path) -> AptRoot:
        sources = [Source(made.uri, made.suite)]
        return AptRoot(tmp_path / "apt", architecture, sources, Path("/dev/null"))

    monkeypatch.setattr(tools, "host_apt", host_apt)
    return made


def test_fetched_program_runs_with_its_libraries(
    archive: Archive, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["tool", "fetch", "dtc"]) == 0
    name, path = capsys.readouterr().out.rstrip("\n").split("\t")
    home = tmp_path / "cache/topbit/tools/dtc"
    assert (name, path) == ("dtc", str(home / "dtc"))
    said = subprocess.check_output([path, "--version"], text=True)
    assert said == f"Version: DTC 1.6.1 {home}/root/usr/lib/some-linux-gnu\n"


def test_fetched_program_needs_no_archive_again(archive: Archive, tmp_path: Path) -> None:
    path = tools.fetch("dtc")
    (archive.folder / "debian").rename(tmp_path / "gone")
    assert tools.fetch("dtc") == path


def test_fetched_program_that_no_longer_runs_is_fetched_again(archive: Archive) -> None:
    path = tools.fetch("dtc")
    (path.parent / "root/usr/bin/dtc").unlink()
    assert tools.fetch("dtc") == path
    assert tools.find("dtc") == path


@pytest.mark.qemu
def test_real_archive_gives_a_working_tool(monkeypatch: pytest.MonkeyPatch) -> None:
    """Debian's own archive, through this machine's mirror: trace-cmd is small."""
    monkeypatch.setattr(tools, "os_release", debian.os_release)
    if debian.os_release().get("ID") != "debian":
        needs.lacking("not a Debian machine")
    path = tools.fetch("trace-cmd")
    assert (
        "trace-cmd version" in subprocess.run([path, "-h"], capture_output=True, text=True).stdout
    )
