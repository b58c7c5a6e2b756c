"""Which text do these bytes hold, or what else are they?

Logs come from serial lines that lose bytes, from systems with other character sets, and through
shells that write UTF-16. A few bytes that are no text do not hide the rest.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

MAGIC: dict[bytes, tuple[str, str]] = {
    b"PERFILE2": ("a perf.data of perf", "give the text that `perf script` prints"),
    b"\x7fELF": ("an ELF file", "give its text, or dmesg of a core with crash or drgn"),
    b"LPKSHHRH": ("a systemd journal", "give the text of `journalctl -k --file=FILE`"),
    b"KDUMP   ": ("a kdump", "give the text of `vmcore-dmesg FILE`"),
    b"\x89PNG": ("a PNG picture", "give the log as text"),
    b"\xff\xd8\xff": ("a JPEG picture", "give the log as text"),
    b"GIF8": ("a GIF picture", "give the log as text"),
    b"%PDF": ("a PDF document", "give the log as text"),
    b"PK\x03\x04": ("a zip archive", "unpack it and give the files in it"),
    b"Rar!": ("a RAR archive", "unpack it and give the files in it"),
    b"7z\xbc\xaf\x27\x1c": ("a 7z archive", "unpack it and give the files in it"),
    b"\xd4\xc3\xb2\xa1": ("a pcap of a network", "give a kernel log or a DMA trace"),
    b"\xa1\xb2\xc3\xd4": ("a pcap of a network", "give a kernel log or a DMA trace"),
    b"\x0a\x0d\x0d\x0a": ("a pcapng of a network", "give a kernel log or a DMA trace"),
    b"SQLite format 3\0": ("an SQLite database", "give the log as text"),
    b"\xc1\x1f\xfc\xc1": ("a CTF trace", "give the text that `babeltrace2` prints"),
    b"ElfFile\0": ("a Windows event log", "give the log as text"),
    b"\x04\x22\x4d\x18": ("compressed with lz4", "unpack it with `lz4 -d`"),
    b"MZ": ("a kernel or a Windows program", "give its log as text"),
    b"QFI\xfb": ("a qcow2 disk", "give the log as text"),
}
"""How files begin that are no text: what each is, and what to give instead."""
TAR = (257, b"ustar")
BOMS = {
    b"\xff\xfe\0\0": "utf-32",
    b"\0\0\xfe\xff": "utf-32",
    b"\xff\xfe": "utf-16",
    b"\xfe\xff": "utf-16",
}
UTF8_MARK = b"\xef\xbb\xbf"
BAD_BYTE = re.compile("[\udc80-\udcff]")
LOOK = 1 << 16
"""Bytes at the beginning that tell whether data is text."""
TEXT_SHARE = 0.7
"""The least share of text's characters among what is no NUL."""
NUL_SHARE = 0.02
"""A larger share of NULs than a serial console can put into a long log."""
FEW_ENDS = 2
"""Line ends that a text may have which is one line for all that."""
ONE_LINE = 64 << 20
"""Bytes of a text of one line."""
ESCAPES = {b"\\r\\n": b"\n", b"\\n": b"\n", b"\\t": b"\t", b"\\u001b": b"\x1b", b'\\"': b'"'}
"""What stands for a character in a string of JSON."""
_ODD = bytes([*range(9), 11, 12, *range(14, 27), *range(28, 32), 127, *range(128, 256)])


@dataclass(frozen=True, slots=True)
class Text:
    """What text is it?

    Attributes:
        text: the characters; U+FFFD for what is none.
        encoding: how they were written.
        replaced: bytes that were no characters.
    """

    text: str
    encoding: str
    replaced: int


def other_kind(data: bytes) -> tuple[str, str] | None:
    """Which other kind of file is it, and what should be given instead? None for an unknown one."""
    if data[TAR[0] : TAR[0] + len(TAR[1])] == TAR[1]:
        return "a tar archive", "unpack it and give the files in it"
    return next((kind for magic, kind in MAGIC.items() if data.startswith(magic)), None)


def is_text(data: bytes) -> bool:
    """Are these bytes text, NULs and bytes of a noisy line between them left aside?"""
    if wide_encoding(data):
        return True
    look = data[:LOOK]
    rest = look.replace(b"\0", b"")
    nuls = len(look) - len(rest)
    if not rest:
        return False
    readable = len(rest.translate(None, _ODD)) / len(rest)
    if nuls <= len(look) * NUL_SHARE:
        return readable >= TEXT_SHARE or _is_utf8(look)
    return readable >= 0.95


def wide_encoding(data: bytes) -> str:
    """Is it UTF-16 or UTF-32, with a mark at its beginning or without?"""
    for bom, name in BOMS.items():
        # Noise of a serial line can look like a mark: letters have NULs beside them.
        if data.startswith(bom) and data[:512].count(0) * 3 > len(data[:512]):
            return name
    look = data[:512]
    if len(look) >= 16:
        for name, zeros, letters in (("utf-16-le", 1, 0), ("utf-16-be", 0, 1)):
            if not any(look[zeros::2]) and not look[letters::2].translate(None, _printable()):
                return name
    return ""


def decoded(data: bytes) -> Text:
    """Which text is it? Nothing is refused: what is no character is replaced and counted."""
    wide = wide_encoding(data)
    if wide:
        try:
            return Text(data.decode(wide), wide, 0)
        except UnicodeDecodeError:
            text = data.decode(wide, "replace")
            return Text(text, wide, text.count("\ufffd"))
    return characters(data.removeprefix(UTF8_MARK))


def characters(data: bytes) -> Text:
    """Which characters are these bytes of UTF-8? Any of its lines can be asked alone."""
    try:
        return Text(data.decode(), "utf-8", 0)
    except UnicodeDecodeError:
        text = data.decode("utf-8", "surrogateescape")
        text, replaced = BAD_BYTE.subn("\ufffd", text)
        return Text(text, "utf-8", replaced)


def with_line_ends(data: bytes) -> bytes:
    r"""The text with line ends where it has none: only CR ends its lines, or \n as two characters.

    Terminals and old tools leave CR alone; a cloud's console is often one JSON string.
    """
    if len(data) > ONE_LINE or data.count(b"\n") > FEW_ENDS:
        return data
    if data.count(b"\r") > FEW_ENDS:
        return data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    if data.count(b"\\n") > FEW_ENDS:
        for written, meant in ESCAPES.items():
            data = data.replace(written, meant)
    return data


def _printable() -> bytes:
    return bytes([9, 10, 13, 27, *range(32, 127)])


def _is_utf8(look: bytes) -> bool:
    try:
        look[: len(look) - 4].decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True
