"""Which kernel module asks the DMA API one question in the guest?

Its code is ``dma_ask.S``, the same for every kernel. What a kernel's loader wants besides it (the
version text, `struct module` with its own layout) is taken from one of that kernel's own modules:
no headers and no compiler are needed.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path

from topbit.addressing.dma_direct import DMA_BIT_MASK
from topbit.arch import elf
from topbit.errors import InputError
from topbit.linux.dma_attrs import NO_ATTRS, DmaAttr
from topbit.store.modules import Module, modinfo

CODE = Path(__file__).with_name("dma_ask.bin")
NAME, SAYS = "topbit_ask", "topbit-ask:"
THIS = ".gnu.linkonce.this_module"
SYMBOLS = (
    "pci_bus_type",
    "platform_bus_type",
    "device_match_name",
    "bus_find_device",
    "put_device",
    "_printk",
    "memstart_addr",
    "dma_set_mask",
    "dma_set_coherent_mask",
    "vzalloc_noprof",  # from 6.10 on, and what follows it before
    "vzalloc",
    "vfree",
    "vmalloc_to_page",
    "vmalloc_to_pfn",
    "dma_map_page_attrs",
    "dma_unmap_page_attrs",
    "dma_map_sg_attrs",
    "dma_unmap_sg_attrs",
    "dma_alloc_attrs",
    "dma_free_attrs",
    "dma_map_phys",  # from 6.18 on
    "dma_unmap_phys",
    "dma_map_resource",
    "dma_unmap_resource",
)
"""Of the kernel, in the order of the code's slots behind the one for the question."""
SLOT = 8
GFP_KERNEL, GFP_ATOMIC = 0xCC0, 0x820
"""include/linux/gfp_types.h"""
COPY = 64
"""At this offset of its memory a device writes again what stands at the beginning: 16 bytes."""
_NAME_AT, _NAME_SIZE = 24, 56  # of struct module: state, list, name (include/linux/module.h)
_TEXTS = {
    256: f"\x016{SAYS} %llu asks\n",
    320: f"\x016{SAYS} %llu mask %d linear %d phys %llx addr %llx\n",
    384: f"\x016{SAYS} %llu back %d\n",
}


class Op(IntEnum):
    """Which function of the DMA API is called, of which memory? In the order of the code's."""

    MAP_PAGE = 0
    MAP_SG = 1
    ALLOC = 2
    MAP_REGISTERS = 3
    MAP_SHARED = 4


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked?

    Attributes:
        number: tells it from the others; its text in the kernel's log has it.
        op: the function.
        device: the kernel's name of the device that asks.
        mask_bits: width of the device's masks.
        size: bytes; with a table, of each of its two entries.
        attrs: of the mapping.
        atomic: asked for where nobody may sleep.
        phys: of the device registers.
    """

    number: int
    op: Op
    device: str
    mask_bits: int
    size: int
    attrs: DmaAttr = NO_ATTRS
    atomic: bool = False
    phys: int = 0


@dataclass(frozen=True, slots=True)
class Layout:
    """Where are pages in this kernel's address space? (CONFIG_ARM64_VA_BITS, CONFIG_PAGE_SHIFT)"""

    va_bits: int
    page_shift: int

    @property
    def va_bits_min(self) -> int:
        """What is left of it on a CPU without wide addresses? (asm/memory.h: VA_BITS_MIN)"""
        return min(self.va_bits, 47 if self.page_shift == 14 else 48)


def module(question: Question, template: Module, layout: Layout) -> bytes:
    """Which file does ``insmod`` take?

    Args:
        question: what it asks.
        template: any module of the kernel, with an init and an exit function.
        layout: the kernel's.

    Raises:
        InputError: `template` is no such module.
    """
    code = CODE.read_bytes()
    start = SLOT * (1 + len(SYMBOLS))
    found, this, places = _this_module(template)
    magic = modinfo(template.data, template.name).get("vermagic", "")
    about = {"license": "GPL", "name": NAME, "vermagic": magic, "depends": ""}
    strings, at = elf.strings(["question", "init_module", "cleanup_module", *SYMBOLS])
    symbols = [
        elf.symbol(0, 0, 0, 0),
        elf.symbol(at["question"], 0, 2, 0),
        elf.symbol(at["init_module"], elf.GLOBAL | elf.FUNCTION, 1, start),
        elf.symbol(at["cleanup_module"], elf.GLOBAL | elf.FUNCTION, 1, start + 4),
        *(elf.symbol(at[name], elf.WEAK, 0, 0) for name in SYMBOLS),
    ]
    slots = [(0, 1), *((SLOT * i, 3 + i) for i in range(1, 1 + len(SYMBOLS)))]
    called = [(places["init_module"], 2), (places["cleanup_module"], 3)]
    code_flags, data_flags = elf.ALLOC | elf.EXEC, elf.ALLOC | elf.WRITE
    return elf.relocatable(
        [
            elf.Section(".text", elf.PROGBITS, code_flags, code),
            elf.Section(".data", elf.PROGBITS, data_flags, _data(question, layout)),
            elf.Section(".modinfo", elf.PROGBITS, elf.ALLOC, _modinfo(about)),
            elf.Section(THIS, elf.PROGBITS, data_flags, this),
            *(  # which the loader fills
                elf.Section(name, elf.PROGBITS, code_flags, b"\0")
                for name in found
                if name.endswith((".plt", ".ftrace_trampoline"))
            ),
            elf.Section(".rela.text", elf.RELA, 0, elf.addresses(slots), ".symtab", ".text", 24),
            elf.Section(f".rela{THIS}", elf.RELA, 0, elf.addresses(called), ".symtab", THIS, 24),
            elf.Section(".symtab", elf.SYMTAB, 0, b"".join(symbols), ".strtab", 2, 24),
            elf.Section(".strtab", elf.STRTAB, 0, strings),
        ]
    )


def _data(question: Question, layout: Layout) -> bytes:
    data = bytearray(448)
    struct.pack_into(
        "<11Q",
        data,
        0,
        question.number,
        question.op,
        DMA_BIT_MASK(question.mask_bits),
        question.size,
        question.attrs,
        GFP_ATOMIC if question.atomic else GFP_KERNEL,
        question.phys,
        -(1 << layout.va_bits) & (1 << 64) - 1,
        (-(1 << layout.va_bits_min) >> 1) & (1 << 64) - 1,  # PAGE_END
        not question.device.startswith("0000:"),
        layout.page_shift,
    )
    for offset, text in {192: question.device, **_TEXTS}.items():
        encoded = text.encode()
        data[offset : offset + len(encoded)] = encoded
    return bytes(data)


def _this_module(template: Module) -> tuple[dict[str, bytes], bytes, dict[str, int]]:
    """Which sections has it, which bytes are its struct module, called `NAME`, and where in it are
    the addresses of its functions?
    """
    try:
        found = elf.sections(template.data)
        places = elf.relocated(found, THIS)
    except struct.error:
        found, places = {}, {}
    this = bytearray(found.get(THIS, b""))
    named = template.name.encode() + b"\0"
    right = this[_NAME_AT : _NAME_AT + len(named)] == named
    if not right or not {"init_module", "cleanup_module"} <= places.keys():
        raise InputError(
            "is no kernel module, or one of another layout", where=f"module {template.name}"
        )
    this[_NAME_AT : _NAME_AT + _NAME_SIZE] = NAME.encode().ljust(_NAME_SIZE, b"\0")
    return found, bytes(this), places


def _modinfo(about: dict[str, str]) -> bytes:
    return b"".join(f"{key}={value}\0".encode() for key, value in about.items())
