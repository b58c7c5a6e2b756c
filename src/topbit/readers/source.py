"""What kind of file is this, and what stands in it once it is unpacked?

The content decides, never the name: text (logs and traces), a trace.dat of trace-cmd, an SMMU
event queue (binary), or a recording (Parquet). All but a recording may be compressed with gzip,
xz, Zstandard or bzip2.
"""

from __future__ import annotations

import stat
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from topbit.errors import InputError
from topbit.readers import encoding
from topbit.readers.stored_bytes import Bytes, StoredBytes
from topbit.readers.trace_dat.file import MAGIC as TRACE_DAT_MAGIC
from topbit.readers.unpack import BombError, is_packed, unpack

LARGEST = 8 << 30
"""Bytes of a file that is read."""
LARGE = 32 << 20
"""Bytes of a text or trace.dat from which on it is read piece by piece."""
MOST_FILES = 1000
"""Files of one folder that are taken for the files of one run."""
SPECIAL = {
    stat.S_IFIFO: "a pipe",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFSOCK: "a socket",
}


@dataclass(slots=True)
class Source:
    """What stands in one file?

    Attributes:
        name: the file, as the user wrote it.
        kind: what it is.
        data: its bytes, unpacked (empty for a recording, which is read by its path). Text is UTF-8,
            but for bytes that are none.
        encoding: of the text.
        replaced: bytes that were no text, as far as is known before it is read.
        damage: what is wrong with it, so that not all of it could be read.
    """

    name: str
    kind: Literal["text", "trace.dat", "event queue", "recording"]
    data: Bytes = b""
    encoding: str = ""
    replaced: int = 0
    damage: list[str] = field(default_factory=list)

    @property
    def text(self) -> str:
        """What is its text, if it is one?"""
        return encoding.characters(self.data[:]).text if self.kind == "text" else ""


class OtherKindError(InputError):
    """Which file is of a kind that is not read?"""


def files_of(paths: list[Path]) -> list[Path]:
    """Which files are meant? A folder stands for the files in it.

    Raises:
        InputError: a path does not exist, or a folder holds no file, or far too many.
    """
    files: list[Path] = []
    for path in paths:
        if path.is_dir():
            inside = sorted(p for p in path.iterdir() if p.is_file() and p.name[0] != ".")
            if not inside:
                raise InputError("is a folder without files", where=str(path))
            if len(inside) > MOST_FILES:
                raise InputError(
                    f"is a folder with {len(inside)} files",
                    where=str(path),
                    hint="give the files of one run",
                )
            files += inside
        else:
            files.append(path)
    return list(dict.fromkeys(files))


def open_source(path: Path) -> Source:
    """What kind of file is it, and what stands in it?

    Raises:
        InputError: missing, unreadable, no file, empty, damaged from its beginning on, or of a
            kind that is not read.
    """
    name = str(path)
    if (large := _large(path, name)) is not None:
        return large
    data = _bytes(path, name)
    if data.startswith(b"PAR1"):
        return Source(name, "recording")
    damage: list[str] = []
    if is_packed(data):
        try:
            unpacked = unpack(data)
        except BombError as error:
            raise InputError(
                f"is no honest log: it {error}, from {len(data)}",
                where=name,
                hint="unpack it first if you trust it",
            ) from error
        data = unpacked.data
        if unpacked.damage:
            damage.append(unpacked.damage)
            if not data:
                raise InputError(unpacked.damage, where=name)
        if unpacked.behind:
            damage.append(f"has {unpacked.behind} bytes behind its end that are not packed")
    if not data:
        raise InputError("is empty", where=name)
    if data.startswith(TRACE_DAT_MAGIC):
        return Source(name, "trace.dat", data, damage=damage)
    if (other := encoding.other_kind(data)) is not None:
        what, hint = other
        raise OtherKindError(f"is {what}, which is not read", where=name, hint=hint)
    if not encoding.is_text(data):
        return Source(name, "event queue", data, damage=damage)
    if not encoding.wide_encoding(data):
        lines = encoding.with_line_ends(data.removeprefix(encoding.UTF8_MARK))
        return Source(name, "text", lines, "utf-8", 0, damage)
    text = encoding.decoded(data)
    lines = encoding.with_line_ends(text.text.encode())
    return Source(name, "text", lines, text.encoding, text.replaced, damage)


def _large(path: Path, name: str) -> Source | None:
    """What stands in the file, if it is too large to hold, and can be read piece by piece?

    That is text of the usual encoding, or a trace.dat.
    """
    try:
        if not path.is_file() or not LARGE < path.stat().st_size <= LARGEST:
            return None
        stored = StoredBytes(path)
    except (OSError, ValueError):
        return None
    head = stored[: encoding.LOOK]
    if head.startswith(TRACE_DAT_MAGIC):
        return Source(name, "trace.dat", stored)
    known = head.startswith(b"PAR1") or is_packed(head)
    if known or encoding.other_kind(head) is not None or encoding.wide_encoding(head):
        return None
    return Source(name, "text", stored, "utf-8") if encoding.is_text(head) else None


def _bytes(path: Path, name: str) -> bytes:
    try:
        about = path.stat()
        what = SPECIAL.get(stat.S_IFMT(about.st_mode))
        if what is not None:
            raise InputError(
                f"is {what}, no file", where=name, hint="write what comes from it into a file"
            )
        if about.st_size > LARGEST:
            raise InputError(f"is larger than {LARGEST >> 30} GiB", where=name)
        return path.read_bytes()
    except MemoryError as error:
        raise InputError("does not fit into memory", where=name) from error
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else str(error)
        raise InputError(f"cannot read: {why}", where=name) from error
