"""Which sections has an ELF file, and which relocatable file for AArch64 has these?

ELF-64 Object File Format; ELF for the Arm 64-bit Architecture (AArch64). Little-endian only.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

IDENT = b"\x7fELF\x02\x01"
PROGBITS, SYMTAB, STRTAB, RELA = 1, 2, 3, 4
"""Types of sections."""
WRITE, ALLOC, EXEC = 1, 2, 4
"""Flags of sections."""
GLOBAL, WEAK = 1 << 4, 2 << 4
"""Binding of a symbol, in its info."""
FUNCTION = 2
"""Type of a symbol, in its info."""
R_AARCH64_ABS64 = 257
_ET_REL, _EM_AARCH64 = 1, 183
_HEADER, _ENTRY, _SYMBOL, _ADDEND = "<HHIQQQIHHHHHH", "<IIQQQQIIQQ", "<IBBHQQ", "<QQq"
_ALIGNED = 64


@dataclass(frozen=True, slots=True)
class Section:
    """A section: its name, type, flags and content; of tables the `link`, `info` and `entry` size.

    `link` is another section's name: of symbols their strings, of relocations their symbols.
    `info` is a number, or the name of the section that relocations are about.
    """

    name: str
    kind: int
    flags: int
    data: bytes
    link: str = ""
    info: int | str = 0
    entry: int = 0


def sections(data: bytes) -> dict[str, bytes]:
    """What does each section of an ELF file hold, by name? Empty if it is no such file.

    Raises:
        struct.error: it is cut off.
    """
    if data[:6] != IDENT:
        return {}
    (table,) = struct.unpack_from("<Q", data, 0x28)
    size, count, names_index = struct.unpack_from("<HHH", data, 0x3A)
    headers = [struct.unpack_from("<IIQQQQ", data, table + index * size) for index in range(count)]
    if names_index >= count:
        return {}
    names = headers[names_index][4]
    return {
        _text(data, names + name): data[offset : offset + length]
        for name, _, _, _, offset, length in headers
    }


def relocated(found: dict[str, bytes], name: str) -> dict[str, int]:
    """At which offsets of section `name` is each symbol's address wanted?

    Raises:
        struct.error: the tables are cut off.
    """
    places = {}
    for offset, info, _ in struct.iter_unpack(_ADDEND, found.get(f".rela{name}", b"")):
        (at,) = struct.unpack_from("<I", found.get(".symtab", b""), (info >> 32) * 24)
        places[_text(found.get(".strtab", b""), at)] = offset
    return places


def strings(names: Iterable[str]) -> tuple[bytes, dict[str, int]]:
    """Which string table holds the names, and where is each?"""
    table, at = bytearray(b"\0"), {"": 0}
    for name in names:
        if name not in at:
            at[name] = len(table)
            table += name.encode() + b"\0"
    return bytes(table), at


def symbol(name: int, info: int, section: int, value: int) -> bytes:
    """Which entry of a symbol table says it? `section`: its number; 0: another file has it."""
    return struct.pack(_SYMBOL, name, info, 0, section, value, 0)


def addresses(places: Iterable[tuple[int, int]]) -> bytes:
    """Which relocations put the addresses of symbols, by number, at these offsets?"""
    return b"".join(
        struct.pack(_ADDEND, offset, number << 32 | R_AARCH64_ABS64, 0) for offset, number in places
    )


def relocatable(content: Sequence[Section]) -> bytes:
    """Which file has these sections, the first being number 1?"""
    content = [*content, Section(".shstrtab", STRTAB, 0, b"")]
    table, at = strings(one.name for one in content)
    numbers = {one.name: number for number, one in enumerate(content, 1)}
    body, headers = bytearray(_ALIGNED), [bytes(struct.calcsize(_ENTRY))]
    for one in content:
        data = one.data if one is not content[-1] else table
        body += bytes(-len(body) % _ALIGNED)
        info = numbers[one.info] if isinstance(one.info, str) else one.info
        place = (at[one.name], one.kind, one.flags, 0, len(body), len(data))
        headers.append(struct.pack(_ENTRY, *place, numbers.get(one.link, 0), info, 8, one.entry))
        body += data
    body += bytes(-len(body) % 8)
    sizes = (64, 0, 0, len(headers[0]), len(headers), len(headers) - 1)
    start = struct.pack(_HEADER, _ET_REL, _EM_AARCH64, 1, 0, 0, len(body), 0, *sizes)
    body[:_ALIGNED] = IDENT.ljust(7, b"\1").ljust(16, b"\0") + start
    return bytes(body) + b"".join(headers)


def _text(data: bytes, at: int) -> str:
    end = data.find(b"\0", at)
    return data[at : None if end < 0 else end].decode("utf-8", "replace")
