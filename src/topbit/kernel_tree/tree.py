"""Where in a kernel source tree are the address helpers of the DMA layer?

Whole headers are taken as they are. Of files that only compile as a part of a kernel the few lines
that count are taken, with their place, so that a compiler's message and a finding name the tree's
own lines.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from topbit.errors import InputError

DMA_DIRECT = "include/linux/dma-direct.h"
MEM_ENCRYPT = "include/linux/mem_encrypt.h"
ARM64_MEM_ENCRYPT = "arch/arm64/include/asm/mem_encrypt.h"
ARM64_DMA_DIRECT = "arch/arm64/include/asm/dma-direct.h"  # ARCH_HAS_PHYS_TO_DMA; v1 of the series
HWDEF = "arch/arm64/include/asm/pgtable-hwdef.h"
PGTABLE = "arch/arm64/include/asm/pgtable.h"
PGTABLE_PROT = "arch/arm64/include/asm/pgtable-prot.h"
RSI = ("arch/arm64/kernel/rsi.c", "drivers/firmware/arm_rmm/rsi.c")  # the second since 7.4
NEEDED = (DMA_DIRECT, MEM_ENCRYPT, HWDEF, PGTABLE, PGTABLE_PROT)
FILES = ("Makefile", *NEEDED, ARM64_MEM_ENCRYPT, ARM64_DMA_DIRECT, *RSI)
"""All that is read of a tree."""


@dataclass(frozen=True, slots=True)
class Excerpt:
    """Lines of a file of the tree.

    Attributes:
        file: its path in the tree.
        line: number of the first line.
        text: the lines.
    """

    file: str
    line: int
    text: str

    @property
    def place(self) -> str:
        """Where is it? file:line"""
        return f"{self.file}:{self.line}"


class SourceTree:
    """A kernel source tree, of which only `FILES` need to be there.

    Args:
        root: its folder.

    Raises:
        InputError: it is no kernel source tree, or lacks a file that is needed; says which.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        if not root.is_dir():
            raise InputError("is no folder", where=str(root), hint="give a kernel source tree")
        missing = [name for name in ("Makefile", *NEEDED) if not (root / name).is_file()]
        if missing:
            raise InputError(
                f"is no kernel source tree: it has no {missing[0]}",
                where=str(root),
                hint="looked for " + ", ".join(("Makefile", *NEEDED)),
            )

    def has(self, name: str) -> bool:
        """Has the tree this file?"""
        return (self.root / name).is_file()

    def read(self, name: str) -> str:
        """What stands in a file?

        Raises:
            InputError: it cannot be read.
        """
        try:
            return (self.root / name).read_text(encoding="utf-8", errors="replace")
        except OSError as error:
            raise InputError(
                f"cannot be read: {error.strerror}", where=str(self.root / name)
            ) from error

    @property
    def release(self) -> str:
        """Which release does its Makefile name? "7.3.4"; "unknown" if it names none."""
        pattern = r"^(VERSION|PATCHLEVEL|SUBLEVEL) *= *(\d+)"
        found = dict(re.findall(pattern, self.read("Makefile"), re.M))
        parts = [found.get(name) for name in ("VERSION", "PATCHLEVEL", "SUBLEVEL")]
        return ".".join(part for part in parts if part is not None) or "unknown"

    @property
    def rsi(self) -> str | None:
        """In which file does the guest learn its IPA width? None: it cannot be a Realm."""
        return next((name for name in RSI if self.has(name)), None)

    def shared_bit(self) -> Excerpt | None:
        """Which statement sets prot_ns_shared? None: the tree has no code for Realms.

        Raises:
            InputError: the code for Realms has no such statement.
        """
        if self.rsi is None:
            return None
        pattern = r"^\s*prot_ns_shared\s*=[^;]*;"
        found = self._search(self.rsi, pattern, "an assignment of prot_ns_shared")
        if "config.ipa_bits" not in found.text:
            raise InputError(
                "sets prot_ns_shared from something else than config.ipa_bits",
                where=str(self.root / found.file),
            )
        return found

    def shared_macro(self) -> Excerpt | None:
        """Which lines define PROT_NS_SHARED? None: the tree has no code for Realms."""
        if self.rsi is None:
            return None
        pattern = r"^#define[ \t]+PROT_NS_SHARED\b(?:[^\n]*\\\n)*[^\n]*"
        return self._search(PGTABLE_PROT, pattern, "the definition of PROT_NS_SHARED")

    def phys_to_pte(self) -> Excerpt:
        """Which lines put a physical address into a page-table entry, for 48 and for 52 bits?"""
        inside = r"(?:(?!#endif)[^\n]*\n)"
        pattern = (
            rf"^#ifdef CONFIG_ARM64_PA_BITS_52\n{inside}*?[^\n]*__phys_to_pte_val{inside}*#endif"
        )
        return self._search(PGTABLE, pattern, "__phys_to_pte_val()")

    def line_of(self, name: str, word: str) -> str:
        """Where does a file define `word`? file:line; the file alone if it does not."""
        text = self.read(name)
        match = re.search(rf"^[^\n]*\b{re.escape(word)}\(", text, re.M)
        return f"{name}:{text.count(chr(10), 0, match.start()) + 1}" if match else name

    def _search(self, name: str, pattern: str, what: str) -> Excerpt:
        text = self.read(name)
        match = re.search(pattern, text, re.M)
        if match is None:
            raise InputError(f"has not {what}", where=str(self.root / name))
        start = match.start() + len(match[0]) - len(match[0].lstrip())
        return Excerpt(name, text.count("\n", 0, start) + 1, match[0].lstrip())
