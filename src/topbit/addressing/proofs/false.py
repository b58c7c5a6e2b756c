"""Which statements look true, were relied on or proposed, and have a counterexample?

Each asks topbit's own functions, set to what a kernel did or a proposal does.
"""

from __future__ import annotations

from topbit.addressing.dma_direct import DmaDevice, dma_to_phys, phys_to_dma_unencrypted
from topbit.addressing.proofs.lemma import lemma
from topbit.addressing.proofs.symbolic import Path
from topbit.addressing.proofs.unknowns import ipa_space, realm, region
from topbit.addressing.scheme import (
    U64,
    Scheme,
    arm_cca,
    dma_addr_canonical,
    dma_addr_unencrypted,
    prot_ns_shared_pte,
)

DMA_DIRECT = "include/linux/dma-direct.h"


@lemma(
    kernel=f"{DMA_DIRECT}:dma_to_phys (up to 6.14)",
    holds=False,
)
def old_order(path: Path) -> bool:
    """Old order: the range looked up, then the bit cleared, leads back."""
    space, scheme = realm(path)
    only = region(path, "region", space.shared_bit)
    dev = DmaDevice(scheme, (only,), canonical_before_lookup=False)
    paddr = path.unknown("paddr")
    path.assume(paddr >= only.cpu_start, paddr < only.cpu_start + only.size)
    return dma_to_phys(dev, phys_to_dma_unencrypted(dev, paddr)) == paddr


@lemma(
    kernel=f"{DMA_DIRECT}:phys_to_dma_unencrypted (up to 6.14)",
    holds=False,
)
def plain_address(path: Path) -> bool:
    """Plain addresses: a shared page's address lies in the shared half."""
    space, scheme = realm(path)
    paddr = path.unknown("paddr")
    path.assume(paddr < space.shared_bit)
    dev = DmaDevice(scheme, alias_for_shared=False)
    return space.in_unprotected(phys_to_dma_unencrypted(dev, paddr))


def _page_table_form(path: Path, page_shift: int) -> bool:
    space = ipa_space(path)
    paddr = path.unknown("paddr")
    path.assume(paddr < space.shared_bit)
    dev = DmaDevice(arm_cca(space.bits, prot_ns_shared=prot_ns_shared_pte(space.bits, page_shift)))
    return phys_to_dma_unencrypted(dev, paddr) == paddr ^ space.shared_bit


@lemma(
    kernel="arch/arm64/include/asm/mem_encrypt.h:dma_addr_unencrypted (7.2, 7.3)",
    holds=False,
)
def page_table_encoding_4k(path: Path) -> bool:
    """Page-table form ORed into an address sets the shared bit: 4K pages."""
    return _page_table_form(path, 12)


@lemma(
    kernel="arch/arm64/include/asm/mem_encrypt.h:dma_addr_unencrypted (7.2, 7.3)",
    holds=False,
)
def page_table_encoding_64k(path: Path) -> bool:
    """Page-table form ORed into an address sets the shared bit: 64K pages."""
    return _page_table_form(path, 16)


@lemma(
    kernel=f"{DMA_DIRECT}:dma_capable (looks at addr + size - 1)",
    holds=False,
)
def no_size_bound(path: Path) -> bool:
    """No size bound: a range that starts in a half ends in it."""
    space = ipa_space(path)
    start, size = path.unknown("start"), path.unknown("size")
    path.assume(size >= 1, size <= space.shared_bit)
    return space.in_par(start) == space.in_par(start, size)


@lemma(
    kernel=f"{DMA_DIRECT}:dma_to_phys",
    holds=False,
)
def no_bus_bound(path: Path) -> bool:
    """No bound of the bus: a dma-range may reach above the shared bit."""
    _, scheme = realm(path)
    only = region(path, "region", U64)
    dev = DmaDevice(scheme, (only,))
    paddr = path.unknown("paddr")
    path.assume(paddr >= only.cpu_start, paddr < only.cpu_start + only.size)
    return dma_to_phys(dev, phys_to_dma_unencrypted(dev, paddr)) == paddr


@lemma(
    kernel="archdata.cc_shared_dma_offset (proposed)",
    holds=False,
)
def or_instead_of_addition(path: Path) -> bool:
    """OR instead of addition: an offset that is ORed in leads back."""
    vtom, paddr = ipa_space(path).shared_bit, path.unknown("paddr")
    path.assume(paddr + vtom < U64)
    ored = Scheme("sev-tio", unencrypted_mask=vtom)
    return dma_addr_canonical(ored, dma_addr_unencrypted(ored, paddr)) == paddr


LEMMAS = (
    old_order,
    plain_address,
    page_table_encoding_4k,
    page_table_encoding_64k,
    no_size_bound,
    no_bus_bound,
    or_instead_of_addition,
)
