"""ELF files are read and made as the format says."""

from __future__ import annotations

import struct

import pytest

from topbit.arch import elf

CODE, STRINGS = b"\x1f\x20\x03\xd5" * 3, elf.strings(["here", "there"])[0]
SYMBOLS = (
    elf.symbol(0, 0, 0, 0)
    + elf.symbol(1, elf.GLOBAL | elf.FUNCTION, 1, 8)
    + elf.symbol(6, elf.WEAK, 0, 0)
)
FILE = elf.relocatable(
    [
        elf.Section(".text", elf.PROGBITS, elf.ALLOC | elf.EXEC, CODE),
        elf.Section(
            ".rela.text", elf.RELA, 0, elf.addresses([(0, 2), (8, 1)]), ".symtab", ".text", 24
        ),
        elf.Section(".symtab", elf.SYMTAB, 0, SYMBOLS, ".strtab", 1, 24),
        elf.Section(".strtab", elf.STRTAB, 0, STRINGS),
    ]
)


def header(number: int) -> tuple[int, ...]:
    (table,) = struct.unpack_from("<Q", FILE, 0x28)
    return struct.unpack_from("<IIQQQQIIQQ", FILE, table + 64 * number)


def test_what_was_put_in_is_read_out() -> None:
    found = elf.sections(FILE)
    assert list(found) == ["", ".text", ".rela.text", ".symtab", ".strtab", ".shstrtab"]
    assert (found[".text"], found[".symtab"], found[".strtab"]) == (CODE, SYMBOLS, STRINGS)
    assert elf.relocated(found, ".text") == {"there": 0, "here": 8}
    assert elf.relocated(found, ".data") == {}


def test_it_is_a_relocatable_file_for_aarch64() -> None:
    assert FILE[:16] == b"\x7fELF\x02\x01\x01" + bytes(9)
    kind, machine, version = struct.unpack_from("<HHI", FILE, 16)
    assert (kind, machine, version) == (1, 183, 1)
    size, entry, count, names = struct.unpack_from("<HxxxxHHH", FILE, 0x34)
    assert (size, entry, count, names) == (64, 64, 6, 5)


def test_tables_say_what_they_belong_to() -> None:
    assert header(0) == (0,) * 10
    assert header(1)[1:3] == (elf.PROGBITS, elf.ALLOC | elf.EXEC)
    assert header(2)[1] == elf.RELA
    assert header(2)[6:8] == (3, 1)  # symbols; what is relocated
    assert header(3)[6:8] == (4, 1)  # strings; the first symbol that others see
    assert (header(2)[9], header(3)[9]) == (24, 24)
    assert header(1)[4] % 64 == 0
    assert header(1)[8] == 8


def test_an_address_is_written_where_it_is_wanted() -> None:
    relocations = elf.sections(FILE)[".rela.text"]
    assert list(struct.iter_unpack("<QQq", relocations)) == [
        (0, 2 << 32 | 257, 0),
        (8, 1 << 32 | 257, 0),
    ]


def test_names_stand_once() -> None:
    table, at = elf.strings(["a", "bc", "a"])
    assert (table, at) == (b"\0a\0bc\0", {"": 0, "a": 1, "bc": 3})


@pytest.mark.parametrize("data", [b"", b"\x7fELF\x01\x01", b"MZ" + bytes(100)])
def test_another_file_has_no_sections(data: bytes) -> None:
    assert elf.sections(data) == {}


def test_a_file_without_names_has_no_sections() -> None:
    wrong = bytearray(FILE)
    struct.pack_into("<H", wrong, 0x3E, 6)
    assert elf.sections(bytes(wrong)) == {}


@pytest.mark.parametrize("length", [6, 63, len(FILE) - 30])
def test_a_file_that_is_cut_off(length: int) -> None:
    with pytest.raises(struct.error):
        elf.sections(FILE[:length])
