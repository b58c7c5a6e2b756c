"""The module that asks: its code is what its source gives, and a kernel's loader takes it."""

from __future__ import annotations

import hashlib
import re
import struct

import pytest

from topbit.arch import elf
from topbit.errors import InputError
from topbit.linux.dma_attrs import DmaAttr
from topbit.machine.qemu.guest.ask_module import (
    CODE,
    SYMBOLS,
    THIS,
    Layout,
    Op,
    Question,
    module,
)
from topbit.store.modules import Module, modinfo

SOURCE = CODE.with_suffix(".S").read_text()
LAYOUT = Layout(52, 12)
ASKED = Question(7, Op.MAP_PAGE, "0000:00:01.0", 40, 624, DmaAttr.MMIO, atomic=True, phys=0x1000)


def template(name: str = "uio", called: str = "uio", *functions: str) -> Module:
    """A module of a kernel, with the sections that matter here."""
    functions = functions or ("cleanup_module", "init_module")
    strings, at = elf.strings(functions)
    symbols = b"".join(elf.symbol(at[one], elf.GLOBAL, 1, 0) for one in ("", *functions))
    places = elf.addresses([(0x180 - 8 * n, n) for n in range(1, 1 + len(functions))])
    this = bytes(24) + called.encode().ljust(0x200 - 24, b"\0")
    sections = [
        elf.Section(".plt", elf.PROGBITS, 0, b"\1"),
        elf.Section(".init.plt", elf.PROGBITS, 0, b"\1"),
        elf.Section(".text.ftrace_trampoline", elf.PROGBITS, 0, b"\1"),
        elf.Section(".modinfo", elf.PROGBITS, 0, b"license=MIT\0vermagic=7.3 SMP\0name=uio\0"),
        elf.Section(THIS, elf.PROGBITS, 0, this),
        elf.Section(f".rela{THIS}", elf.RELA, 0, places, ".symtab", THIS, 24),
        elf.Section(".symtab", elf.SYMTAB, 0, symbols, ".strtab", 1, 24),
        elf.Section(".strtab", elf.STRTAB, 0, strings),
    ]
    return Module(name, elf.relocatable(sections))


def numbers(question: Question, layout: Layout = LAYOUT) -> tuple[int, ...]:
    data = elf.sections(module(question, template(), layout))[".data"]
    return struct.unpack_from("<11Q", data)


def test_the_hash_is_of_the_shipped_code() -> None:
    digest, name = CODE.with_suffix(".sha256").read_text().split()
    assert (name, digest) == ("dma_ask.bin", hashlib.sha256(CODE.read_bytes()).hexdigest())


def test_the_slots_are_in_the_order_of_the_source() -> None:
    assert re.findall(r"^\tslot\t(\w+)$", SOURCE, re.M) == ["question", *SYMBOLS]


def test_the_operations_are_in_the_order_of_the_source() -> None:
    told = re.search(r"^ops:\t\.word\t(.*)$", SOURCE, re.M)
    assert told is not None
    assert [word.split()[0] for word in told[1].split(", ")] == [
        "page", "table", "alloc", "registers", "shared",
    ]  # fmt: skip
    assert [op.name for op in Op] == ["MAP_PAGE", "MAP_SG", "ALLOC", "MAP_REGISTERS", "MAP_SHARED"]


def test_the_question_stands_where_the_source_looks_for_it() -> None:
    found = dict(re.findall(r"^\t\.equ\t(\w+), (\d+)", SOURCE, re.M))
    first = [name for name in found if int(found[name]) < 88][:11]
    assert first == [
        "ID", "OP", "MASK", "SIZE", "ATTRS", "GFP", "PHYS", "PAGE_OFFSET", "PAGE_END", "PLATFORM",
        "PAGE_SHIFT",
    ]  # fmt: skip
    assert [int(found[name]) for name in first] == list(range(0, 88, 8))
    data = elf.sections(module(ASKED, template(), LAYOUT))[".data"]
    for name, text in {
        "NAME": b"0000:00:01.0\0",
        "ASKS": b"\x016topbit-ask: %llu asks\n\0",
        "ANSWER": b"\x016topbit-ask: %llu mask %d linear %d phys %llx addr %llx\n\0",
        "BACK": b"\x016topbit-ask: %llu back %d\n\0",
    }.items():
        assert data[int(found[name]) :].startswith(text)


def test_what_is_asked() -> None:
    assert numbers(ASKED) == (
        7, 0, (1 << 40) - 1, 624, 1 << 10, 0x820, 0x1000,
        0xFFF0_0000_0000_0000, 0xFFFF_8000_0000_0000, 0, 12,
    )  # fmt: skip
    other = numbers(Question(8, Op.ALLOC, "serial8250", 64, 640), Layout(39, 14))
    assert other == (
        8, 2, (1 << 64) - 1, 640, 0, 0xCC0, 0,
        0xFFFF_FF80_0000_0000, 0xFFFF_FFC0_0000_0000, 1, 14,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("va_bits", "page_shift", "least"), [(52, 12, 48), (52, 14, 47), (52, 16, 48), (39, 14, 39)]
)
def test_addresses_are_narrower_on_some_cpus(va_bits: int, page_shift: int, least: int) -> None:
    assert Layout(va_bits, page_shift).va_bits_min == least


def test_the_loader_finds_what_it_wants() -> None:
    data = module(ASKED, template(), LAYOUT)
    found = elf.sections(data)
    assert found[".text"] == CODE.read_bytes()
    assert modinfo(data, "here") == {
        "license": "GPL", "name": "topbit_ask", "vermagic": "7.3 SMP", "depends": "",
    }  # fmt: skip
    assert [name for name in found if "plt" in name or "ftrace" in name] == [
        ".plt", ".init.plt", ".text.ftrace_trampoline",
    ]  # fmt: skip
    assert found[THIS][24:80] == b"topbit_ask".ljust(56, b"\0")
    assert len(found[THIS]) == 0x200
    slots = {name: 8 * (1 + n) for n, name in enumerate(SYMBOLS)}
    assert elf.relocated(found, ".text") == {"question": 0, **slots}
    assert elf.relocated(found, THIS) == {"cleanup_module": 0x178, "init_module": 0x170}


def test_its_functions_are_behind_the_slots() -> None:
    found = elf.sections(module(ASKED, template(), LAYOUT))
    symbols = list(struct.iter_unpack("<IBBHQQ", found[".symtab"]))
    start = 8 * (1 + len(SYMBOLS))
    assert [entry[3:5] for entry in symbols[1:4]] == [(2, 0), (1, start), (1, start + 4)]
    # `b init` and `b cleanup`
    assert all(word >> 26 == 5 for word in struct.unpack_from("<2I", found[".text"], start))
    assert {entry[1] >> 4 for entry in symbols[4:]} == {2}  # a kernel need not have them all


@pytest.mark.parametrize(
    "wrong",
    [
        Module("uio", b""),
        Module("uio", template().data[:100]),
        template("uio_pci_generic"),
        template("uio", "uio", "init_module"),
    ],
)
def test_no_module_or_one_of_another_layout(wrong: Module) -> None:
    with pytest.raises(InputError, match=f"module {wrong.name}: is no kernel module, or one of"):
        module(ASKED, wrong, LAYOUT)
