"""What does a VMSAv8-64 stage-2 descriptor say, and how does a table divide the address space?

Source: Arm DDI0487, "The AArch64 Virtual Memory System Architecture", stage 2 translation table
formats (D8.3), concatenated tables (D8.2), 52-bit output addresses (FEAT_LPA, FEAT_LPA2), and
VTCR_EL2 (D24). The RMM's RTTs, the host's SMMU stage-2 tables, the walkers that read them and the
registers that point at them share this file.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from topbit.arch.bitfield import Layout, bit, bits
from topbit.arch.ipa import Pa
from topbit.arch.smmuv3 import ADDRESS_BITS, S2TG_SHIFTS, STE, Config

VALID = 1 << 0
TABLE_OR_PAGE = 1 << 1  # [1:0] = 0b11: table at levels -1 to 2, page at level 3
TYPE = VALID | TABLE_OR_PAGE
TABLE = VALID | TABLE_OR_PAGE
LEAF_TYPES = (VALID, VALID, VALID, VALID | TABLE_OR_PAGE, VALID)  # by level; [-1] is level -1's
AF = 1 << 10
NS = 1 << 55  # Realm translation regime: the output address is in the Non-secure PAS
S2AP_READ = 1 << 6
S2AP_WRITE = 1 << 7
SH_INNER = 3 << 8
SH_OUTER = 2 << 8
OA_MASK_48 = Pa(0x0000_FFFF_FFFF_F000)
LAST_LEVEL = 3
MAX_ROOT_TABLES = 16  # concatenated at the start level


@dataclass(frozen=True, slots=True)
class Granule:
    """How does one translation granule divide the address space, and hold addresses?

    Attributes:
        shift: log2 of the page size: 12, 14 or 16.
        ds: 52-bit output addresses (FEAT_LPA2 with 4K and 16K pages, FEAT_LPA with 64K).
        in_place: the address bits that stand in a descriptor where they stand in the address.
        high: which of the others there are, shifted down; 0 without `ds`.
        high_at, high_from: lowest bit of the others in the descriptor, and in the address.
    """

    shift: int
    ds: bool = False
    in_place: Pa = field(init=False, repr=False, compare=False)
    high: int = field(init=False, repr=False, compare=False)
    high_at: int = field(init=False, repr=False, compare=False)
    high_from: int = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not self.ds:
            form = OA_MASK_48, 0, 0, 0
        elif self.shift == 16:
            form = Pa(0x0000_FFFF_FFFF_0000), 0xF, 12, 48
        else:
            form = Pa(0x0003_FFFF_FFFF_F000), 3, 8, 50
        for name, value in zip(("in_place", "high", "high_at", "high_from"), form, strict=True):
            object.__setattr__(self, name, value)

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
        tables that are contiguous and aligned to their total size; at most MAX_ROOT_TABLES are
        allowed, which the caller checks.
        """
        index_bits = input_bits - self.level_shift(start_level)
        return 1 << max(index_bits - self.stride, 0)


G4K = Granule(12)
G16K = Granule(14)
G64K = Granule(16)


def output_address(descriptor: int, granule: Granule = G4K, level: int = LAST_LEVEL) -> Pa:
    """Which output (or next-level table) address does a valid descriptor hold?

    Args:
        descriptor: the 64-bit descriptor.
        granule: its granule and form.
        level: level of a leaf: address bits below its size are ignored; 3 for table descriptors.
    """
    high = (descriptor >> granule.high_at & granule.high) << granule.high_from
    return (granule.in_place & descriptor) + high & -1 << granule.level_shift(level)


def output_array(
    descriptors: NDArray[np.uint64], granule: Granule, level: int = LAST_LEVEL
) -> NDArray[np.uint64]:
    """Which output addresses do descriptors hold? `output_address` for arrays."""
    u = np.uint64
    oa: NDArray[np.uint64] = descriptors & u(granule.in_place & -1 << granule.level_shift(level))
    if granule.high:
        oa |= (descriptors >> u(granule.high_at) & u(granule.high)) << u(granule.high_from)
    return oa


def address_bits(oa: Pa, granule: Granule = G4K) -> int:
    """Which descriptor bits hold the address `oa`? The inverse of `output_address`."""
    return oa & granule.in_place | (oa >> granule.high_from & granule.high) << granule.high_at


def address_array(oas: NDArray[np.uint64], granule: Granule) -> NDArray[np.uint64]:
    """Which descriptor bits hold the addresses `oas`? `address_bits` for arrays."""
    u = np.uint64
    found: NDArray[np.uint64] = oas & u(granule.in_place)
    if granule.high:
        found |= (oas >> u(granule.high_from) & u(granule.high)) << u(granule.high_at)
    return found


def is_table(descriptor: int, level: int) -> bool:
    """Is a descriptor of `level` a table descriptor?"""
    return level < LAST_LEVEL and descriptor & TYPE == TABLE


def is_leaf(descriptor: int, level: int) -> bool:
    """Is a descriptor of `level` a valid block or page (at a level where one may stand)?"""
    return descriptor & TYPE == LEAF_TYPES[level]


def signed_level(value: int, width: int = 64) -> int:
    """Which level does an unsigned field of `width` bits name? Level -1 stands as all ones."""
    return value - (1 << width) if value >> (width - 1) else value


class VTCR(Layout):
    """How does a CPU translate through stage 2? (VTCR_EL2, what a Realm's vCPU needs of it)"""

    T0SZ = bits(5, 0)
    SL0 = bits(7, 6)
    IRGN0 = bits(9, 8)
    ORGN0 = bits(11, 10)
    SH0 = bits(13, 12)
    TG0 = bits(15, 14)
    PS = bits(18, 16)
    RES1 = bit(31)
    DS = bit(32)
    SL2 = bit(33)


@dataclass(frozen=True, slots=True)
class Geometry:
    """Which shape has a stage-2 translation, for whoever must tell a CPU or an SMMU of it?

    Attributes:
        input_bits: width of the input addresses.
        start_level: level of the root, -1 to 3.
        granule: page size and descriptor form.
        output_bits: width of the output addresses, a value of `smmuv3.ADDRESS_BITS`.
    """

    input_bits: int
    start_level: int
    granule: Granule = G4K
    output_bits: int = 48

    @property
    def lpa2(self) -> bool:
        """Have its descriptors the form of FEAT_LPA2? (DS = 1)"""
        return self.granule.ds and self.granule.shift != 16

    @property
    def _sl0(self) -> int:
        """What do SL0 and S2SL0 hold? Level -1 is said elsewhere (SL2); level 3 of 4K is 3."""
        if self.start_level < 0:
            return 0
        last = 2 if self.granule.shift == 12 else 3
        return (last - self.start_level) & 3

    @property
    def _tg(self) -> int:
        return next(code for code, s in S2TG_SHIFTS.items() if s == self.granule.shift)

    @property
    def _ps(self) -> int:
        return next(code for code, b in ADDRESS_BITS.items() if b == self.output_bits)

    def vtcr(self) -> int:
        """Which VTCR_EL2 describes it? Walks are write-back cacheable, inner shareable."""
        return VTCR(
            T0SZ=64 - self.input_bits,
            SL0=self._sl0,
            IRGN0=1,
            ORGN0=1,
            SH0=3,
            TG0=self._tg,
            PS=self._ps,
            RES1=1,
            DS=int(self.lpa2),
            SL2=int(self.start_level < 0),
        ).words[0]

    def ste(self, root: Pa, vmid: int, *, record: bool = True) -> STE:
        """Which stream table entry makes a stream translate through it? (IHI0070 5.2)

        Args:
            root: physical address of the (first) root table.
            vmid: tag of the stream's TLB entries.
            record: stage-2 faults are recorded in the event queue (STE.S2R).
        """
        return STE(
            V=1,
            Config=Config.S2,
            SHCFG=1,
            S2VMID=vmid,
            S2T0SZ=64 - self.input_bits,
            S2SL0=self._sl0,
            S2SL0_2=int(self.start_level < 0),
            S2IR0=1,
            S2OR0=1,
            S2SH0=3,
            S2TG=self._tg,
            S2PS=self._ps,
            S2AA64=1,
            S2AFFD=1,
            S2PTW=1,
            S2R=int(record),
            S2DS=int(self.lpa2),
            S2TTB=root,
        )
