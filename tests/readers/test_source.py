"""What kind of file it is, and what text it holds."""

from __future__ import annotations

import gzip
import lzma
import os
import socket
from pathlib import Path

import pytest
import zstandard

from paths import DATA
from topbit.errors import InputError
from topbit.readers import source
from topbit.readers.encoding import MAGIC
from topbit.readers.read import read
from topbit.readers.source import MOST_FILES, files_of, open_source
from topbit.readers.stored_bytes import StoredBytes

LOG = (
    "[    0.000000] Linux version 6.16.12 (jürgen@host) (aarch64-linux-gnu-gcc) #1 SMP aarch64\n"
    "[    0.000000] RME: Using RSI version 1.0\n"
)


@pytest.mark.parametrize(
    ("data", "encoding", "replaced"),
    [
        (LOG.encode(), "utf-8", 0),
        (LOG.encode("utf-8-sig"), "utf-8", 0),
        (LOG.encode("latin-1"), "utf-8", 1),
        (LOG.encode("utf-16"), "utf-16", 0),
        (b"\xfe\xff" + LOG.encode("utf-16-be"), "utf-16", 0),
        (LOG.replace("ü", "u").encode("utf-16-le"), "utf-16-le", 0),
        (LOG.replace("ü", "u").encode("utf-16-be"), "utf-16-be", 0),
        (LOG.encode("utf-32"), "utf-32", 0),
        (LOG.encode("utf-16") + b"\n", "utf-16", 1),
        # What a serial line gives at power-up looks like a mark of UTF-16.
        (b"\xff\xfe\x80\x00" + LOG.encode(), "utf-8", 3),
        (bytes(100) + LOG.encode() + bytes(100), "utf-8", 0),
        (LOG.encode() + b"\xc3", "utf-8", 1),
        ((LOG + LOG).replace("\n", "\r").encode(), "utf-8", 0),
        ((LOG + LOG).replace("\n", "\r\n").encode("utf-16"), "utf-16", 0),
        (f'{{"Output": "{LOG + LOG}"}}'.replace("\n", "\\r\\n").encode(), "utf-8", 0),
    ],
)
def test_text(tmp_path: Path, data: bytes, encoding: str, replaced: int) -> None:
    path = tmp_path / "dmesg"
    path.write_bytes(data)
    (recording,) = read([path])
    platform = recording.platform
    (file,) = platform.files
    assert (platform.realm, platform.kernel) == (True, "6.16.12")
    assert (file.kind, file.encoding, file.replaced) == ("text", encoding, replaced)
    assert any("are no text were replaced" in note for note in platform.notes) == bool(replaced)


@pytest.mark.parametrize("magic", MAGIC)
def test_other_files_are_named(tmp_path: Path, magic: bytes) -> None:
    path = tmp_path / "x"
    path.write_bytes(magic + bytes(range(256)) * 4)
    what, hint = MAGIC[magic]
    with pytest.raises(InputError, match=f"is {what}, which is not read") as caught:
        open_source(path)
    assert caught.value.hint == hint


def test_a_tar_archive_is_named(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(bytes(257) + b"ustar" + bytes(250))
    with pytest.raises(InputError, match="a tar archive"):
        open_source(path)


def test_what_is_no_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(InputError, match="is a pipe, no file"):
        open_source(tmp_path / "pipe")
    with pytest.raises(InputError, match="is a device, no file"):
        open_source(Path("/dev/zero"))
    with socket.socket(socket.AF_UNIX) as unix:
        os.chdir(tmp_path)
        unix.bind("socket")
        with pytest.raises(InputError, match="is a socket, no file"):
            open_source(tmp_path / "socket")


def test_a_folder_of_far_too_many_files(tmp_path: Path) -> None:
    for number in range(MOST_FILES + 1):
        (tmp_path / str(number)).touch()
    with pytest.raises(InputError, match="1001 files"):
        files_of([tmp_path])


def test_a_picture_in_a_folder_of_logs(tmp_path: Path) -> None:
    (tmp_path / "dmesg").write_text(LOG)
    (tmp_path / "screen.png").write_bytes(b"\x89PNG" + bytes(100))
    (recording,) = read([tmp_path])
    platform = recording.platform
    assert [file.kind for file in platform.files] == ["text", "other"]
    assert any("screen.png: is a PNG picture" in note for note in platform.notes)
    with pytest.raises(InputError, match="PNG"):
        read([tmp_path / "dmesg", tmp_path / "screen.png"])
    (tmp_path / "dmesg").unlink()
    with pytest.raises(InputError, match="PNG"):
        read([tmp_path])


def test_an_event_queue_is_no_text() -> None:
    queue = DATA / "recordings" / "vmm-maps-protected-half" / "smmu-eventq.bin"
    assert open_source(queue).kind == "event queue"


TEXT = "a line\nanother: ümläut\n"
QUEUE = bytes(31) + b"\1" + bytes(32)
TRACE_DAT = b"\x17\x08\x44tracing6\0" + bytes(99)
PACK = {
    "plain": bytes,
    "xz": lzma.compress,
    "gzip": gzip.compress,
    "zstd": zstandard.ZstdCompressor().compress,
}


@pytest.mark.parametrize("packing", PACK)
@pytest.mark.parametrize(
    ("data", "kind"),
    [(TEXT.encode(), "text"), (QUEUE, "event queue"), (TRACE_DAT, "trace.dat")],
)
def test_content_decides_packed_or_not(
    tmp_path: Path, data: bytes, kind: str, packing: str
) -> None:
    path = tmp_path / "whatever.parquet"
    path.write_bytes(PACK[packing](data))
    source = open_source(path)
    assert (source.name, source.kind) == (str(path), kind)
    if kind == "text":
        assert (source.text, source.data) == (TEXT, TEXT.encode())
    else:
        assert (source.text, source.data) == ("", data)


def test_a_recording_is_read_by_its_path(tmp_path: Path) -> None:
    path = tmp_path / "run.txt"
    path.write_bytes(b"PAR1" + bytes(9))
    source = open_source(path)
    assert (source.kind, source.data) == ("recording", b"")


def test_a_byte_order_mark_is_no_text(tmp_path: Path) -> None:
    path = tmp_path / "trace.txt"
    path.write_bytes(b"\xef\xbb\xbftext")
    assert open_source(path).text == "text"


def test_a_file_that_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot read: No such file") as error:
        open_source(tmp_path / "none")
    assert error.value.where == str(tmp_path / "none")


def test_a_folder_stands_for_its_files(tmp_path: Path) -> None:
    inside = tmp_path / "run"
    (inside / "deeper").mkdir(parents=True)
    for name in ("b.log", "a.txt", ".hidden", "deeper/c"):
        (inside / name).write_text("x")
    other = tmp_path / "other"
    a, b = inside / "a.txt", inside / "b.log"
    assert files_of([other, inside, b]) == [other, a, b]
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(InputError, match="is a folder without files"):
        files_of([inside, empty])


def test_a_large_trace_dat_is_read_where_it_stands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "t"
    path.write_bytes(b"\x17\x08\x44tracing" + bytes(100))
    monkeypatch.setattr(source, "LARGE", 100)
    opened = open_source(path)
    assert opened.kind == "trace.dat"
    assert isinstance(opened.data, StoredBytes)
    assert len(opened.data) == 110
