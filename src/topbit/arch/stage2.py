"""What does a VMSAv8-64 stage-2 descriptor say, and how does a table divide the address space?

Source: Arm DDI0487, "The AArch64 Virtual Memory System Architecture", stage 2 translation table
formats (D8.3), concatenated tables (D8.2), and 52-bit output addresses (FEAT_LPA, FEAT_LPA2).
The RMM's RTTs, the host's SMMU stage-2 tables and the walkers that read them share this file.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from topbit.arch.bitfield import Layout, aligned, bit, bits

VALID = 1 << 0
TABLE_OR_PAGE = 1 << 1  # [1:0] = 0b11: table at levels -1 to 2, page at level 3
AF = 1 << 10
NS = 1 << 55  # Realm translation regime: the output address is in the Non-secure PAS
S2AP_READ = 1 << 6
S2AP_WRITE = 1 << 7
SH_INNER = 3 << 8
OA_MASK_48 = 0x0000_FFFF_FFFF_F000
LAST_LEVEL = 3

ENTRY_BYTES = 8


class Leaf(Layout):
    """What does a stage-2 block or page descriptor say? (48-bit output address, DS = 0)

    With FEAT_LPA2 (DS = 1) bits [9:8] hold OA[51:50] and OA runs to bit 49; `output_address`
    knows the three forms.
    """

    Valid = bit(0)
    Type = bit(1)
    MemAttr = bits(5, 2)
    S2AP = bits(7, 6)
    SH = bits(9, 8)
    AF = bit(10)
    OA = aligned(47, 12)
    DBM = bit(51)
    Contiguous = bit(52)
    XN = bits(54, 53)
    NS = bit(55)


@dataclass(frozen=True, slots=True)
class Granule:
    """How does one translation granule divide the address space?

    Attributes:
        shift: log2 of the page size: 12, 14 or 16.
        ds: FEAT_LPA2 descriptors (52-bit output addresses with 4K and 16K pages).
    """

    shift: int
    ds: bool = False

    @property
    def bytes(self) -> int:
        """How long is a page?"""
        return 1 << self.shift

    @property
    def stride(self) -> int:
        """How many address bits does one level resolve? (9, 11 or 13)"""
        return self.shift - 3

    @property
    def entries(self) -> int:
        """How many descriptors does a (single) table hold?"""
        return 1 << self.stride

    def level_shift(self, level: int) -> int:
        """Which is the lowest address bit that `level` (-1..3) resolves?"""
        return self.shift + (LAST_LEVEL - level) * self.stride

    def level_size(self, level: int) -> int:
        """How many bytes does one entry of `level` map?"""
        return 1 << self.level_shift(level)

    def block_levels(self) -> tuple[int, ...]:
        """At which levels may a leaf stand? (DDI0487, D8.3: level 0 only with DS, 4K)"""
        if self.shift == 12:
            return (0, 1, 2, 3) if self.ds else (1, 2, 3)
        if self.shift == 14:
            return (1, 2, 3) if self.ds else (2, 3)
        return (1, 2, 3) if self.ds else (2, 3)

    def root_tables(self, input_bits: int, start_level: int) -> int:
        """How many concatenated tables does the root of an `input_bits` wide space take?

        The start-level index is the address bits [input_bits-1 : level_shift(start_level)], over
        tables that are contiguous and aligned to their total size; at most 16 are allowed, which
        the caller checks.
        """
        index_bits = input_bits - self.level_shift(start_level)
        return 1 << max(index_bits - self.stride, 0)


G4K = Granule(12)
G16K = Granule(14)
G64K = Granule(16)


def output_address(
    descriptor: int, granule: Granule = G4K, level: int = LAST_LEVEL, *, wide: bool = False
) -> int:
    """Which output (or next-level table) address does a valid descriptor hold?

    Args:
        descriptor: the 64-bit descriptor.
        granule: translation granule; `granule.ds` selects the FEAT_LPA2 form.
        level: level of a leaf: address bits below its size are ignored; 3 for table descriptors.
        wide: 64K granule with 52-bit addresses (FEAT_LPA): bits [15:12] hold OA[51:48].
    """
    if granule.ds and granule.shift != 16:
        oa = (descriptor & 0x0003_FFFF_FFFF_F000) | ((descriptor >> 8) & 3) << 50
    elif granule.shift == 16 and (wide or granule.ds):
        oa = (descriptor & 0x0000_FFFF_FFFF_0000) | ((descriptor >> 12) & 0xF) << 48
    else:
        oa = descriptor & OA_MASK_48
    return oa & ~(granule.level_size(level) - 1)


def address_bits(oa: int, granule: Granule = G4K, *, wide: bool = False) -> int:
    """Which descriptor bits hold the address `oa`? The inverse of `output_address`."""
    if granule.ds and granule.shift != 16:
        return (oa & 0x0003_FFFF_FFFF_F000) | ((oa >> 50) & 3) << 8
    if granule.shift == 16 and (wide or granule.ds):
        return (oa & 0x0000_FFFF_FFFF_0000) | ((oa >> 48) & 0xF) << 12
    return oa & OA_MASK_48


def is_table(descriptor: int, level: int) -> bool:
    """Is a descriptor of `level` a table descriptor?"""
    return level < LAST_LEVEL and descriptor & 3 == 3


def is_leaf(descriptor: int, level: int) -> bool:
    """Is a descriptor of `level` a valid block or page (at a level where one may stand)?"""
    return descriptor & 3 == (3 if level == LAST_LEVEL else 1)


def pages(oa: int, count: int, attributes: int) -> NDArray[np.uint64]:
    """Which `count` 4K page descriptors map contiguous output addresses from `oa`?"""
    run = np.arange(count, dtype=np.uint64) << np.uint64(12)
    return run + np.uint64(oa | attributes | VALID | TABLE_OR_PAGE)
