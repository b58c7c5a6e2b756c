"""Files into the guest, and out of it, and no file anywhere else."""

from __future__ import annotations

import io
import subprocess
import tarfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from topbit.errors import InputError, TopbitError, UsageError
from topbit.machine.qemu.guest.transfer import Added, Wanted, get_step, unpack


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("folder/below").mkdir(parents=True)
    Path("folder/below/a").write_text("a")
    Path("test.sh").write_text("echo")
    Path("test.sh").chmod(0o755)
    Path("odd:name").write_text("odd")


@pytest.mark.parametrize(
    ("word", "files"),
    [
        ("test.sh", {"test.sh": (b"echo", 0o755)}),
        ("./folder/../test.sh:/usr/bin//t", {"usr/bin/t": (b"echo", 0o755)}),
        ("folder", {"folder/below/a": (b"a", 0o644)}),
        ("folder:/x/", {"x/below/a": (b"a", 0o644)}),
        ("odd:name", {"odd:name": (b"odd", 0o644)}),
        ("odd:name:/n", {"n": (b"odd", 0o644)}),
    ],
)
def test_what_is_put_into_the_guest(word: str, files: dict[str, tuple[bytes, int]]) -> None:
    for path in (Path("folder/below/a"), Path("odd:name")):
        path.chmod(0o644)
    assert Added.parse(word).files() == files


@pytest.mark.parametrize(
    ("parse", "word", "error", "words"),
    [
        (Added.parse, "absent", InputError, "--add absent: cannot be read"),
        (Added.parse, "test.sh:usr/bin", UsageError, "'usr/bin' is no place in the guest"),
        (Added.parse, "test.sh:/", UsageError, "--add: '/' is no place"),
        (Wanted.parse, "res", UsageError, "--get: 'res' is no place in the guest"),
        (Wanted.parse, "/res:absent/x", InputError, "--get /res:absent/x: absent: there is no"),
    ],
)
def test_what_cannot_be_is_said(
    parse: type[Added], word: str, error: type[TopbitError], words: str
) -> None:
    with pytest.raises(error) as raised:
        parse(word)  # type: ignore[call-arg, arg-type]
    assert words in str(raised.value)


def tape(files: dict[str, bytes], mode: int = 0o644) -> bytes:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as tar:
        for name, data in files.items():
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(data), mode
            tar.addfile(entry, io.BytesIO(data))
    return made.getvalue()


def test_each_comes_to_where_it_is_wanted(tmp_path: Path) -> None:
    wanted = [Wanted.parse("/tmp/log"), Wanted.parse("/var/res:got"), Wanted.parse("/x/p:q")]
    stream = tape({"log": b"1"}) + tape({"res/a": b"2", "res/b/c": b"3"}) + tape({"p": b""}, 0o755)
    assert unpack(stream + tape({"log": b"cut"})[:100], wanted) == [
        "log", "got/a", "got/b/c", "q",
    ]  # fmt: skip
    assert Path("log").read_bytes() == b"1"
    assert Path("got/b/c").read_bytes() == b"3"
    assert Path("q").stat().st_mode & 0o111 == 0o111


@pytest.mark.parametrize(
    "name", ["other", "/etc/x", "../log", "log/../../x", "./../x", "", "/log", "log/.."]
)
def test_a_guest_writes_nowhere_else(name: str, tmp_path: Path) -> None:
    before = sorted(tmp_path.parent.rglob("*"))
    assert unpack(tape({name: b"evil"}), [Wanted.parse("/tmp/log")]) == []
    assert sorted(tmp_path.parent.rglob("*")) == before


def test_only_plain_files_are_written() -> None:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as tar:
        link = tarfile.TarInfo("log")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(link)
    assert unpack(made.getvalue(), [Wanted.parse("/tmp/log")]) == []
    assert not Path("log").is_symlink()


@settings(deadline=None)
@given(st.data())
def test_a_hostile_stream_is_never_an_exception(data: st.DataObject) -> None:
    stream = bytearray(tape({"log/a": b"1", "log/b": b"2"}))
    for _ in range(data.draw(st.integers(1, 6))):
        at = 512 * data.draw(st.integers(0, 3)) + data.draw(st.integers(0, 511))
        stream[at : at + 1] = data.draw(st.binary(min_size=1, max_size=1))
    unpack(bytes(stream), [Wanted("/tmp/log", Path("out"))])


def test_the_guest_says_what_is_not_there(tmp_path: Path) -> None:
    (tmp_path / "there").write_text("x")
    step = get_step([Wanted("/there", Path("a")), Wanted("/it's absent", Path("b"))], str(tmp_path))
    script = step.script.replace(". /topbit/streams || exit 1", "").replace(
        '/topbit/outbox copy "$out_files"', "tar -t"
    )
    done = subprocess.run(["sh", "-c", script], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (1, "there\n/it's absent is not there\n")
