"""What do the tree's own helpers answer? They are compiled, unchanged, for this machine and run.

Whole headers of the tree stand in a folder of their own; each header that they include and that is
not one of them leads to topbit's own. What is compiled and run here is code of the tree: give it
only trees that you would also build.
"""

from __future__ import annotations

import os
import re
import shutil
import struct
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from topbit.addressing.dma_direct import BusDmaRegion
from topbit.errors import InputError, MissingToolError
from topbit.kernel_tree.tree import (
    ARM64_DMA_DIRECT,
    ARM64_MEM_ENCRYPT,
    DMA_DIRECT,
    HWDEF,
    MEM_ENCRYPT,
    Excerpt,
    SourceTree,
)

OWN = Path(__file__).parent / "c"
TIMEOUT = 60  # seconds; a run takes a tenth of one
FLAGS = ("-std=gnu11", "-O1", "-w", "-fno-strict-aliasing", "-fwrapv")
STAGED = {
    "linux/dma-direct.h": DMA_DIRECT,
    "linux/mem_encrypt.h": MEM_ENCRYPT,
    "asm/mem_encrypt.h": ARM64_MEM_ENCRYPT,
    "asm/dma-direct.h": ARM64_DMA_DIRECT,
    "asm/pgtable-hwdef.h": HWDEF,
}


@dataclass(frozen=True, slots=True)
class Build:
    """For which kernel are the helpers compiled?

    Attributes:
        page_shift: 12, 14 or 16.
        pa_bits: 48 or 52.
        amd: for an AMD host with SME (C bit where the shared bit would be) instead of arm64: shows
            what the generic code does with a bit where arm64 has none.
    """

    page_shift: int = 12
    pa_bits: int = 48
    amd: bool = False

    def __str__(self) -> str:
        if self.amd:
            return "AMD, C bit"
        return f"{1 << self.page_shift >> 10}K pages, {self.pa_bits}-bit addresses"


BUILDS = tuple(Build(shift, bits) for bits in (48, 52) for shift in (12, 14, 16))


@dataclass(frozen=True, slots=True)
class Case:
    """What is asked: addresses, in a Realm of some width, on a bus with these dma-ranges."""

    ipa_bits: int
    ranges: tuple[BusDmaRegion, ...]
    addresses: NDArray[np.uint64]


@dataclass(frozen=True, slots=True)
class Answer:
    """What the helpers say to one case.

    Attributes:
        pte_form: how the tree writes the shared bit into page tables (__phys_to_pte_val).
        prot_ns_shared: what it ORs into page-table entries and addresses; 0 without Realm code.
        unencrypted: phys_to_dma_unencrypted() of each address.
        encrypted: phys_to_dma() of each.
        back: dma_to_phys() of the address with the bit: of `unencrypted` (AMD: `encrypted`).
        canonical: dma_to_phys() of each address itself, taken for a dma_addr_t.
    """

    pte_form: int
    prot_ns_shared: int
    unencrypted: NDArray[np.uint64]
    encrypted: NDArray[np.uint64]
    back: NDArray[np.uint64]
    canonical: NDArray[np.uint64]


class Helpers:
    """The compiled helpers of one tree and one build; see `compiled`."""

    def __init__(self, program: Path) -> None:
        self.program = program

    def ask(self, cases: Sequence[Case]) -> list[Answer]:
        """What do they answer to each case?

        Raises:
            InputError: the compiled code crashed or hung.
        """
        request = b"".join(map(_packed, cases)) + bytes(8)
        try:
            done = subprocess.run(
                [str(self.program)], input=request, capture_output=True, timeout=TIMEOUT
            )
        except subprocess.TimeoutExpired:
            raise InputError(f"the tree's helpers did not end in {TIMEOUT} s") from None
        words = np.frombuffer(done.stdout, np.uint64) if not done.returncode else None
        if words is None or len(words) != sum(2 + 4 * len(case.addresses) for case in cases):
            raise InputError(f"the tree's helpers crashed (exit status {done.returncode})")
        answers, at = [], 0
        for case in cases:
            count = len(case.addresses)
            results = words[at + 2 : at + 2 + 4 * count].reshape(count, 4)
            columns = (results[:, n].copy() for n in range(4))
            answers.append(Answer(int(words[at]), int(words[at + 1]), *columns))
            at += 2 + 4 * count
        return answers


def _packed(case: Case) -> bytes:
    words = [case.ipa_bits, len(case.ranges)]
    for region in case.ranges:
        words += [region.cpu_start, region.dma_start, region.size]
    words.append(len(case.addresses))
    return struct.pack(f"<{len(words)}Q", *words) + case.addresses.astype("<u8").tobytes()


@contextmanager
def compiled(tree: SourceTree, build: Build) -> Iterator[Helpers]:
    """Have the tree's helpers compiled, as long as the block lasts.

    Raises:
        MissingToolError: there is no C compiler.
        InputError: they do not compile; says at which line.
    """
    compiler = shutil.which("gcc") or shutil.which("cc")
    if compiler is None:
        raise MissingToolError("a C compiler is missing", hint="install gcc")
    with tempfile.TemporaryDirectory(prefix="topbit-tree-") as name:
        folder = Path(name)
        _stage(tree, build, folder)
        program = folder / "ask"
        options = [f"-D{option}" for option in _config(tree, build)]
        command = [compiler, *FLAGS, *options, f"-I{folder}", f"-I{OWN}"]
        done = subprocess.run(
            [*command, "-o", str(program), str(OWN / "ask.c")],
            capture_output=True,
            text=True,
            env={**os.environ, "LC_ALL": "C"},
            timeout=TIMEOUT,
        )
        if done.returncode:
            raise InputError(
                f"its helpers do not compile: {_first_error(done.stderr, folder)}",
                where=str(tree.root),
                hint=f"{DMA_DIRECT} and what it needs are compiled for the host, with headers of "
                "topbit's around them",
            )
        yield Helpers(program)


def _config(tree: SourceTree, build: Build) -> list[str]:
    """Which options is the kernel built with?"""
    options = [f"PAGE_SHIFT={build.page_shift}", f"CONFIG_PAGE_SHIFT={build.page_shift}"]
    if re.search(r"struct bus_dma_region \{[^}]*\boffset;", tree.read(DMA_DIRECT)):
        options.append("REGION_HAS_OFFSET=1")
    if build.amd:
        return [*options, "CONFIG_AMD_MEM_ENCRYPT=1"]
    options.append(f"CONFIG_ARM64_{1 << build.page_shift >> 10}K_PAGES=1")
    options += [f"CONFIG_ARM64_PA_BITS={build.pa_bits}", f"CONFIG_ARM64_PA_BITS_{build.pa_bits}=1"]
    if tree.has(ARM64_MEM_ENCRYPT):
        options.append("CONFIG_ARCH_HAS_MEM_ENCRYPT=1")
        if "force_dma_unencrypted" in tree.read(ARM64_MEM_ENCRYPT):
            options.append("CONFIG_ARCH_HAS_FORCE_DMA_UNENCRYPTED=1")
    if tree.has(ARM64_DMA_DIRECT):
        options.append("CONFIG_ARCH_HAS_PHYS_TO_DMA=1")
    return options


def _stage(tree: SourceTree, build: Build, folder: Path) -> None:
    """Put the tree's headers where the compiler finds them, and topbit's for all others."""
    staged = {name: tree.read(path) for name, path in STAGED.items() if tree.has(path)}
    for name, text in staged.items():
        place = folder / name
        place.parent.mkdir(exist_ok=True)
        place.write_text(text, encoding="utf-8")
    include = re.compile(r"#\s*include\s*<(.+?)>")
    wanted = {name for text in staged.values() for name in include.findall(text)}
    for name in sorted(wanted - staged.keys()):
        place = folder / name
        if not place.resolve().is_relative_to(folder.resolve()):
            continue
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text('#include "topbit_kernel.h"\n', encoding="utf-8")
    (folder / "excerpts.h").write_text(_excerpts(tree, build), encoding="utf-8")


def _excerpts(tree: SourceTree, build: Build) -> str:
    """Which lines of the tree's larger files are compiled?"""
    statement, macro = tree.shared_bit(), tree.shared_macro()
    lines = ["#include <asm/pgtable-hwdef.h>", *_placed(tree.phys_to_pte())]
    if macro is not None:
        lines += _placed(macro)
    lines += ["static inline void set_shared_bit(unsigned long ipa_bits)", "{"]
    if statement is not None and not build.amd:
        lines += ["struct { unsigned long ipa_bits; } config = { ipa_bits };", *_placed(statement)]
    lines += ["}"]
    made = "phys_to_dma" if build.amd else "phys_to_dma_unencrypted"
    return "\n".join([*lines, f"#define ASKED {made}", ""])


def _placed(excerpt: Excerpt) -> list[str]:
    return [f'#line {excerpt.line} "{excerpt.file}"', excerpt.text]


def _first_error(text: str, folder: Path) -> str:
    lines = [line for line in text.splitlines() if "error:" in line] or text.splitlines()[:1]
    return lines[0].replace(f"{folder}/", "") if lines else "the compiler gave no reason"
