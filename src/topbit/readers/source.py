"""What kind of file is this, and what stands in it once it is unpacked?

The content decides, never the name: text (logs and traces), a trace.dat of trace-cmd, an SMMU
event queue (binary), or a recording (Parquet). All but a recording may be compressed with xz, gzip
or Zstandard.
"""

from __future__ import annotations

import gzip
import lzma
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from topbit.errors import InputError
from topbit.readers.trace_dat.file import MAGIC as TRACE_DAT_MAGIC
from topbit.readers.unpack import unzstd

BINARY_SHARE = 0.02
"""A larger share of NUL bytes than a serial console can put into a log means binary data."""


@dataclass(frozen=True, slots=True)
class Source:
    """What stands in one file?

    Attributes:
        name: the file, as the user wrote it.
        kind: what it is.
        data: its bytes, unpacked (empty for a recording, which is read by its path).
        text: its text (empty unless kind is "text").
    """

    name: str
    kind: Literal["text", "trace.dat", "event queue", "recording"]
    data: bytes = b""
    text: str = ""


def files_of(paths: list[Path]) -> list[Path]:
    """Which files are meant? A folder stands for the files in it.

    Raises:
        InputError: a path does not exist, or a folder holds no file.
    """
    files: list[Path] = []
    for path in paths:
        if path.is_dir():
            inside = sorted(p for p in path.iterdir() if p.is_file() and p.name[0] != ".")
            if not inside:
                raise InputError("is a folder without files", where=str(path))
            files += inside
        else:
            files.append(path)
    return list(dict.fromkeys(files))


def open_source(path: Path) -> Source:
    """What kind of file is it, and what stands in it?

    Raises:
        InputError: missing, unreadable, damaged, empty, or text that is not UTF-8.
    """
    name = str(path)
    try:
        data = path.read_bytes()
    except OSError as error:
        raise InputError(f"cannot read: {error.strerror}", where=name) from error
    if data.startswith(b"PAR1"):
        return Source(name, "recording")
    data = _unpack(name, data)
    if not data:
        raise InputError("is empty", where=name)
    if data.startswith(TRACE_DAT_MAGIC):
        return Source(name, "trace.dat", data)
    if data.count(0) > len(data) * BINARY_SHARE:
        return Source(name, "event queue", data)
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise InputError(
            f"is not UTF-8 text: byte 0x{data[error.start]:02x} in line {line}, "
            f"at byte offset {error.start}",
            where=name,
            mend="repair the line, or convert the file with iconv",
        ) from error
    return Source(name, "text", text=text)


def _unpack(name: str, data: bytes) -> bytes:
    try:
        if data.startswith(b"\xfd7zXZ\0"):
            return lzma.decompress(data)
        if data.startswith(b"\x1f\x8b"):
            return gzip.decompress(data)
        if data.startswith(b"\x28\xb5\x2f\xfd"):
            return _unzstd(name, data)
    except (lzma.LZMAError, EOFError, OSError, zlib.error) as error:
        raise InputError(f"is damaged or truncated: {error}", where=name) from error
    return data


def _unzstd(name: str, data: bytes) -> bytes:
    try:
        return unzstd(data)
    except ValueError as error:
        raise InputError(f"is damaged or truncated: {error}", where=name) from error
    except InputError as error:
        mend = f"unpack it with `zstd -d`, or `{error.mend}`"
        raise InputError(error.what, where=name, mend=mend) from error
