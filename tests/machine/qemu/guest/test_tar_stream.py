"""Tar streams of the guest's: what tar(1) and tarfile write is read, and nothing harmful."""

from __future__ import annotations

import io
import subprocess
import tarfile
from pathlib import Path

import pytest

import needs
from topbit.machine.qemu.guest.tar_stream import File, files

LONG = "deep/" * 30 + "file"  # 154 bytes: does not fit a header's name


def taped(*entries: tuple[str, bytes], form: int = tarfile.GNU_FORMAT) -> bytes:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w", format=form) as tar:
        for name, data in entries:
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            tar.addfile(entry, io.BytesIO(data))
    return made.getvalue()


def changed(tape: bytes, at: int, field: bytes) -> bytes:
    """With another field in the first header, and the sum that fits."""
    made = bytearray(tape)
    made[at : at + len(field)] = field
    made[148:156] = b" " * 8
    made[148:156] = b"%06o\0 " % sum(made[:512])
    return bytes(made)


@pytest.mark.parametrize("form", ["gnu", "ustar", "v7"])
def test_what_tar_writes(form: str, tmp_path: Path) -> None:
    """Oracle: GNU tar."""
    tar = needs.program("tar")
    (tmp_path / "folder/inside").mkdir(parents=True)
    (tmp_path / "folder/inside/a").write_bytes(b"a" * 1000)
    (tmp_path / "folder/program").write_bytes(b"")
    (tmp_path / "folder/program").chmod(0o755)
    (tmp_path / "folder/link").symlink_to("/etc/passwd")
    (tmp_path / "umlaut-\xe4").write_bytes(b"512" * 512)
    command = [tar, f"--format={form}", "--sort=name", "-c", "-f", "-"]
    whole = subprocess.run(
        [*command, "-C", tmp_path, "folder", "umlaut-\xe4"], capture_output=True, check=True
    ).stdout
    wanted = [
        File("folder/inside/a", b"a" * 1000, False),
        File("folder/program", b"", True),
        File("umlaut-\xe4", b"512" * 512, False),
    ]
    assert list(files(whole)) == wanted
    assert list(files(whole + whole)) == wanted * 2  # one behind the other


@pytest.mark.parametrize("form", [tarfile.GNU_FORMAT, tarfile.USTAR_FORMAT])
def test_long_names(form: int) -> None:
    tape = taped((LONG, b"1"), ("short", b"2"), form=form)
    assert [(file.name, file.data) for file in files(tape)] == [(LONG, b"1"), ("short", b"2")]


@pytest.mark.parametrize("kind", [b"1", b"2", b"3", b"4", b"5", b"6", b"S", b"K", b"x", b"g"])
def test_what_is_no_plain_file_is_passed_over(kind: bytes) -> None:
    tape = changed(taped(("a", b"17"), ("b", b"2")), 156, kind)
    assert [file.name for file in files(tape)] == ["b"]


@pytest.mark.parametrize(
    "size",
    [
        b"\xff" * 12,  # GNU's base 256: -1
        b"\x80" + bytes(10) + b"\x02",
        b"-0000000512\0",
        b"77777777777\0",  # 8 GiB
        b"abc",
    ],
)
def test_a_size_that_cannot_be_ends_the_stream(size: bytes) -> None:
    """With a negative one Python's tarfile, before 3.13.6, reads the same header for ever."""
    tape = taped(("a", b"1")) + changed(taped(("b", b"2"), ("c", b"3")), 124, size)
    found = files(tape)
    assert next(found).name == "a"
    with pytest.raises(ValueError, match=r"cut off|no header"):
        next(found)


@pytest.mark.parametrize("cut", [1, 511, 513, 1023])
def test_what_is_cut_off_is_said(cut: int) -> None:
    tape = taped(("a", b"1"))[:1024] + taped(("b", bytes(range(256)) * 2))[: 1024 - cut]
    found = files(tape)
    assert next(found).name == "a"
    with pytest.raises(ValueError, match=r"cut off|no header"):
        next(found)


def test_a_changed_header_is_no_header() -> None:
    tape = bytearray(taped(("a", b"1")))
    tape[0] ^= 1
    with pytest.raises(ValueError, match="sum"):
        list(files(bytes(tape)))


def test_a_name_ends_at_its_first_zero() -> None:
    tape = changed(taped(("got/a", b"1")), 0, b"got/a\0b")
    assert [file.name for file in files(tape)] == ["got/a"]
    long_name = bytearray(taped((LONG, b"1")))
    long_name[512 + 7] = 0
    assert [file.name for file in files(bytes(long_name))] == [LONG[:7]]
