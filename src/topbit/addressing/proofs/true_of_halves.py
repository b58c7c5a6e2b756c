"""What is true of the two halves of a Realm's address space, for every width and address?

The functions of `arch/ipa.py` and the scheme's of `addressing/scheme.py`.
"""

from __future__ import annotations

from topbit.addressing.proofs.lemma import lemma
from topbit.addressing.proofs.symbolic import Path
from topbit.addressing.proofs.unknowns import ipa_space, realm
from topbit.addressing.scheme import (
    dma_addr_canonical,
    dma_addr_encrypted,
    dma_addr_unencrypted,
    prot_ns_shared_pte,
)

RSI_INIT = "arch/arm64/kernel/rsi.c:arm64_rsi_init (prot_ns_shared)"
ARM64 = "arch/arm64/include/asm/mem_encrypt.h"
PTE = "arch/arm64/include/asm/pgtable.h:__phys_to_pte_val"


@lemma(kernel=RSI_INIT)
def halves_disjoint(path: Path) -> bool:
    """No range lies in both halves."""
    space = ipa_space(path)
    start, size = path.unknown("start"), path.unknown("size")
    path.assume(size >= 1)
    return not (space.in_par(start, size) and space.in_unprotected(start, size))


@lemma(kernel=RSI_INIT)
def halves_cover(path: Path) -> bool:
    """Each address of the space lies in one half, and the bit says which."""
    space = ipa_space(path)
    ipa = path.unknown("ipa")
    half = space.half(ipa)
    if not space.contains(ipa):
        return half == "outside"
    return half == ("unprotected" if space.has_shared_bit(ipa) else "protected")


@lemma(kernel=RSI_INIT)
def alias_round_trip(path: Path) -> bool:
    """The alias lies in the other half, and its alias is the address."""
    space = ipa_space(path)
    ipa = path.unknown("ipa")
    path.assume(ipa < space.size)
    alias = space.alias(ipa)
    if space.in_par(ipa) == space.in_par(alias):
        return False
    return space.contains(alias) and space.alias(alias) == ipa


@lemma(kernel=f"{ARM64}:PROT_NS_SHARED")
def alias_single_bit(path: Path) -> bool:
    """Aliases differ in one bit, the top one of the space."""
    space = ipa_space(path)
    ipa = path.unknown("ipa")
    protected, unprotected = space.protected(ipa), space.unprotected(ipa)
    if space.has_shared_bit(protected) or not space.has_shared_bit(unprotected):
        return False
    return unprotected - protected == space.shared_bit == 1 << space.bits - 1


@lemma(kernel=f"{ARM64}:dma_addr_unencrypted, dma_addr_encrypted")
def scheme_is_the_space(path: Path) -> bool:
    """The scheme's shared address is the alias, its private one the address."""
    space, scheme = realm(path)
    ipa = path.unknown("ipa")
    if dma_addr_encrypted(scheme, ipa) != ipa:
        return False
    if dma_addr_unencrypted(scheme, ipa) != space.unprotected(ipa):
        return False
    return dma_addr_canonical(scheme, ipa) == space.protected(ipa)


@lemma(kernel=f"{ARM64}:dma_addr_canonical")
def no_wrap_from_above(path: Path) -> bool:
    """An address above the space stays above it."""
    space, scheme = realm(path)
    address = path.unknown("dma_addr")
    path.assume(address >= space.size)
    canonical = dma_addr_canonical(scheme, address)
    return canonical >= space.size and canonical <= address


@lemma(kernel=f"{ARM64}:dma_addr_unencrypted")
def shared_monotone(path: Path) -> bool:
    """Shared addresses are in the order of their pages."""
    space, scheme = realm(path)
    low, high = path.unknown("low"), path.unknown("high")
    path.assume(low < high, high < space.shared_bit)
    return dma_addr_unencrypted(scheme, low) < dma_addr_unencrypted(scheme, high)


@lemma(kernel=PTE)
def page_table_form_4k(path: Path) -> bool:
    """Page-table form of the bit is the bit: 4K pages, up to 50 bits."""
    space = ipa_space(path)
    path.assume(space.bits <= 50)
    return prot_ns_shared_pte(space.bits, 12) == space.shared_bit


@lemma(kernel=PTE)
def page_table_form_64k(path: Path) -> bool:
    """Page-table form of the bit is the bit: 64K pages, up to 48 bits."""
    space = ipa_space(path)
    path.assume(space.bits <= 48)
    return prot_ns_shared_pte(space.bits, 16) == space.shared_bit


LEMMAS = (
    halves_disjoint,
    halves_cover,
    alias_round_trip,
    alias_single_bit,
    scheme_is_the_space,
    no_wrap_from_above,
    shared_monotone,
    page_table_form_4k,
    page_table_form_64k,
)
