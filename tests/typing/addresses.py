"""Kinds of addresses: what may be done with them, and where a type checker must object."""

from typing import assert_type

from topbit.arch.ipa import DmaAddr, Iova, Ipa, IpaSpace, Pa
from topbit.memory import PhysicalMemory
from topbit.rmm.granules import DELEGATED, Granules

space = IpaSpace(41)
ipa, pa, dma_addr = Ipa(0x4000_0000), Pa(0x8000_0000), DmaAddr(0x100_4000_0000)
memory = PhysicalMemory(pa, 4096)
granules = Granules(memory)

# An address and an offset make an address, two addresses a distance.
assert_type(pa + 8, Pa)
assert_type(pa - 8, Pa)
assert_type(pa & -4096, Pa)
assert_type(pa - pa, int)
assert_type(pa | 3, int)
assert_type(pa >> 12, int)
memory.read_u64(pa + 8)
memory.read_u64(0x8000_0000)  # wrong
memory.read_u64(ipa)  # wrong
memory.read_u64(pa - pa)  # wrong
other: Ipa = pa  # wrong
iova: Iova = dma_addr  # wrong
number: int = ipa

# Which half, which alias: of any kind of address, and the answer is an IPA.
assert_type(space.unprotected(ipa), Ipa)
assert_type(space.protected(dma_addr), Ipa)


def of_a_word(word: int) -> Ipa | None:
    """A word of a hostile guest is an address once it was found to be one."""
    if not space.in_par(word) or word & 0xFFF:
        return word  # wrong
    return word


def granule_of_a_word(word: int) -> Pa:
    if granules.has(word, DELEGATED):
        return word
    return word  # wrong
