import dataclasses
import subprocess
from collections.abc import Sequence
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


def test_a_program_is_asked_for_its_version_once_until_it_is_another_one(tmp_path: Path) -> None:
    path, asked = tmp_path / "bin/qemu-system-aarch64", tmp_path / "asked"
    for number, version in enumerate(("10.0.2", "10.1.0"), 1):
        program(path.with_name("new"), f"QEMU emulator version {version}'; echo >>'{asked}")
        path.with_name("new").rename(path)
        threads = [tools.look_ahead("qemu") for _ in range(3)]
        assert tools.find("qemu") == path
        for thread in threads:
            thread.join()
        assert asked.read_text() == "\n" * number


def test_a_program_that_does_not_run_is_asked_again(tmp_path: Path) -> None:
    path, works = tmp_path / "bin/dtc", tmp_path / "works"
    program(path, f"'; test -e '{works}' && echo 'Version: DTC 1.7.0")
    tools.look_ahead("dtc").join()
    with pytest.raises(MissingToolError):
        tools.find("dtc")
    works.touch()
    assert tools.find("dtc") == path


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


def test_newest_qemu_comes_with_its_own_c_library(
    archive: Archive, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is fetched from another Debian, over nothing at all, and run by that one's loader."""
    library = "usr/lib/some-linux-gnu"
    archive.add(
        "qemu-system-arm",
        "1",
        {
            "usr/bin/qemu-system-aarch64": '#!/bin/sh\necho "QEMU emulator version 11.1.3 $*"\n',
            "usr/share/qemu/efi.rom": "",
        },
        "libc6",
    )
    loads = '#!/bin/sh\necho "$1 $2"; shift 2; exec "$@"\n'
    archive.add("libc6", "1", {f"{library}/ld-linux.so.2": loads, f"{library}/libc.so.6": ""})
    archive.publish()
    asked = []

    def whole_apt(suites: Sequence[str]) -> AptRoot:
        asked.append(suites)
        return AptRoot(
            tmp_path / "whole", archive.architecture, [Source(archive.uri, archive.suite)]
        )

    monkeypatch.setattr(tools, "whole_apt", whole_apt)
    # The preferred suite is the archive's only one here.
    preferred = dataclasses.replace(tools.TOOLS["newest-qemu"], suites=("trixie", archive.suite))
    monkeypatch.setitem(tools.TOOLS, "newest-qemu", preferred)
    program(tmp_path / "bin/qemu-system-aarch64", "QEMU emulator version 10.0.2")
    path = tools.fetch("newest-qemu")
    root = tmp_path / "cache/topbit/tools/newest-qemu/root"
    assert asked == [("trixie", "bookworm")]
    assert subprocess.check_output([path, "--version"], text=True).splitlines() == [
        f"--library-path {root}/{library}",
        f"QEMU emulator version 11.1.3 -L {root}/usr/share/qemu --version",
    ]
    assert tools.find("qemu") == tmp_path / "bin/qemu-system-aarch64"  # used where it is named


def test_the_newest_qemus_suites_are_another_debians(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tools, "debian_mirror", lambda: "http://mirror/debian")
    apt_ = tools.whole_apt(tools.TOOLS["newest-qemu"].suites)
    assert apt_.sources == [
        Source("http://mirror/debian", "trixie"),
        Source("http://mirror/debian", "trixie-backports"),
    ]
    assert apt_.status == apt.NO_STATUS
    assert apt_.architecture


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
