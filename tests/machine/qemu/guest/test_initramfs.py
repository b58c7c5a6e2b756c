import stat
import subprocess
from pathlib import Path

import pytest

import needs
from topbit.errors import InputError
from topbit.machine.qemu.guest.initramfs import Archive, build
from topbit.store.modules import Module

BUSYBOX = b"\x7fELF\x02\x01".ljust(18, b"\0") + b"\xb7\0" + bytes(44)


@pytest.fixture
def busybox(tmp_path: Path) -> Path:
    path = tmp_path / "busybox"
    path.write_bytes(BUSYBOX)
    return path


def listed(archive: bytes) -> list[str]:
    """Oracle: GNU cpio."""
    cpio = needs.tool("cpio")
    done = subprocess.run([cpio, "-it", "--quiet"], input=archive, capture_output=True, check=True)
    return done.stdout.decode().split()


def unpacked(archive: bytes, folder: Path) -> None:
    """Oracle: GNU cpio. Devices are left out: making them needs root."""
    cpio = needs.tool("cpio")
    command = [cpio, "-id", "--quiet", "--nonmatching", "dev/*"]
    subprocess.run(command, input=archive, cwd=folder, check=True)


def test_cpio_unpacks_what_was_put_in(busybox: Path, tmp_path: Path) -> None:
    modules = [Module("failover", b"\x7fELF one"), Module("virtio_net", b"\x7fELF two ")]
    archive = build(busybox, modules, "#!/bin/sh\n", {"topbit/steps/a": b"echo a", "etc/b": b"b"})
    root = tmp_path / "root"
    root.mkdir()
    unpacked(archive, root)
    assert (root / "init").read_text() == "#!/bin/sh\n"
    assert (root / "bin/busybox").read_bytes() == BUSYBOX
    assert (root / "bin/sh").readlink() == Path("busybox")
    assert (root / "topbit/modules/virtio_net.ko").read_bytes() == b"\x7fELF two "
    assert (root / "topbit/modules/order").read_text() == "failover\nvirtio_net\n"
    modes = {"init": 0o755, "bin/busybox": 0o755, "topbit/steps/a": 0o755, "etc/b": 0o644}
    assert {path: stat.S_IMODE((root / path).stat().st_mode) for path in modes} == modes


def test_console_is_a_character_device(busybox: Path) -> None:
    cpio = needs.tool("cpio")
    archive = build(busybox, [], "")
    command = [cpio, "-itv", "--quiet", "dev/console", "dev/null"]
    lines = subprocess.run(command, input=archive, capture_output=True, check=True).stdout.decode()
    console, null = [line.split() for line in lines.splitlines()]
    assert (console[0], console[4:6]) == ("crw-------", ["5,", "1"])
    assert (null[0], null[4:6]) == ("crw-rw-rw-", ["1,", "3"])


def test_folders_come_before_what_is_in_them_and_once() -> None:
    archive = Archive()
    archive.file("a/b/c", b"1")
    archive.file("a/b/d", b"2")
    archive.folder("a")
    assert listed(archive.pack()) == ["a", "a/b", "a/b/c", "a/b/d"]


def test_same_entries_same_bytes(busybox: Path) -> None:
    assert build(busybox, [], "x") == build(busybox, [], "x")


def test_busybox_of_another_machine_is_refused(tmp_path: Path) -> None:
    (tmp_path / "busybox").write_bytes(BUSYBOX[:18] + b"\x3e\0" + bytes(44))
    with pytest.raises(InputError, match="not an arm64 program"):
        build(tmp_path / "busybox", [], "")
    with pytest.raises(InputError, match="No such file"):
        build(tmp_path / "absent", [], "")


def test_absolute_path_is_a_bug() -> None:
    with pytest.raises(ValueError, match="relative"):
        Archive().file("/init", b"")
