"""What is true of device addresses, for every width, address and two dma-ranges?

The functions of `addressing/dma_direct.py`, and of `addressing/scheme.py` what is not Arm's.
"""

from __future__ import annotations

from topbit.addressing.dma_direct import (
    DMA_MAPPING_ERROR,
    PHYS_ADDR_INVALID,
    BusDmaRegion,
    DmaDevice,
    dma_capable,
    dma_to_phys,
    phys_to_dma,
    phys_to_dma_unencrypted,
    translate_dma_to_phys,
    translate_phys_to_dma,
)
from topbit.addressing.proofs.lemma import lemma
from topbit.addressing.proofs.symbolic import Path
from topbit.addressing.proofs.unknowns import device, realm, region
from topbit.addressing.scheme import U64, amd_sme, dma_addr_canonical, dma_addr_unencrypted, sev_tio
from topbit.arch.ipa import DmaAddr, Ipa

DMA_DIRECT = "include/linux/dma-direct.h"
MEM_ENCRYPT = "include/linux/mem_encrypt.h"


@lemma(kernel=f"{DMA_DIRECT}:dma_to_phys")
def shared_round_trip(path: Path) -> bool:
    """A shared page's address leads back to it."""
    _, dev = device(path)
    paddr = path.unknown("paddr")
    path.assume(translate_phys_to_dma(dev.dma_range_map, paddr) != DMA_MAPPING_ERROR)
    return dma_to_phys(dev, phys_to_dma_unencrypted(dev, paddr)) == paddr


@lemma(kernel=f"{DMA_DIRECT}:dma_to_phys")
def private_round_trip(path: Path) -> bool:
    """A private page's address leads back to it."""
    _, dev = device(path)
    paddr = path.unknown("paddr")
    path.assume(translate_phys_to_dma(dev.dma_range_map, paddr) != DMA_MAPPING_ERROR)
    return dma_to_phys(dev, phys_to_dma(dev, paddr)) == paddr


@lemma(kernel=f"{MEM_ENCRYPT}:dma_addr_encrypted")
def c_bit_round_trip(path: Path) -> bool:
    """A C bit, whichever of bits 31 to 51 it is, leads back too."""
    scheme = amd_sme(path.ipa_bits - 1)
    only = region(path, "region", scheme.encrypted_mask)
    dev = DmaDevice(scheme, (only,))
    paddr = path.unknown("paddr")
    path.assume(paddr >= only.cpu_start, paddr < only.cpu_start + only.size)
    if dma_to_phys(dev, phys_to_dma(dev, paddr)) != paddr:
        return False
    return dma_to_phys(dev, phys_to_dma_unencrypted(dev, paddr)) == paddr


@lemma(kernel="archdata.cc_shared_dma_offset")
def offset_round_trip(path: Path) -> bool:
    """An added offset is taken off again (proposed)."""
    scheme = sev_tio(path.unknown("vtom"))
    address = path.unknown("paddr")
    path.assume(address + scheme.shared_offset < U64)
    return dma_addr_canonical(scheme, dma_addr_unencrypted(scheme, address)) == address


@lemma(kernel=f"{DMA_DIRECT}:phys_to_dma_encrypted, phys_to_dma_unencrypted")
def dma_single_bit(path: Path) -> bool:
    """A page's two addresses differ in the shared bit."""
    space, dev = device(path)
    paddr = path.unknown("paddr")
    private = phys_to_dma(dev, paddr)
    path.assume(private != DMA_MAPPING_ERROR)
    return phys_to_dma_unencrypted(dev, paddr) == private ^ space.shared_bit


@lemma(kernel=f"{DMA_DIRECT}:phys_to_dma_encrypted, phys_to_dma_unencrypted")
def dma_disjoint(path: Path) -> bool:
    """Private addresses lie below, shared ones above."""
    space, dev = device(path)
    paddr = path.unknown("paddr")
    private = phys_to_dma(dev, paddr)
    path.assume(private != DMA_MAPPING_ERROR)
    return space.in_par(private) and space.in_unprotected(phys_to_dma_unencrypted(dev, paddr))


@lemma(kernel=f"{DMA_DIRECT}:translate_phys_to_dma")
def no_wrap_outside(path: Path) -> bool:
    """Outside every dma-range is an error, not an address."""
    _, dev = device(path)
    address = path.unknown("address")
    for found in dev.dma_range_map:
        path.assume(not found.cpu_start <= address < found.cpu_start + found.size)
    return phys_to_dma(dev, address) == phys_to_dma_unencrypted(dev, address) == DMA_MAPPING_ERROR


@lemma(kernel=f"{DMA_DIRECT}:dma_to_phys")
def no_wrap_above(path: Path) -> bool:
    """An address above the space is nobody's page."""
    space, dev = device(path)
    address = path.unknown("dma_addr")
    path.assume(address >= space.size)
    return dma_to_phys(dev, address) == PHYS_ADDR_INVALID


@lemma(kernel=f"{DMA_DIRECT}:translate_*")
def range_order(path: Path) -> bool:
    """The first dma-range that holds an address moves it."""
    first, second = region(path, "first", U64), region(path, "second", U64)
    paddr = path.unknown("paddr")
    bus = translate_phys_to_dma((first, second), paddr)
    if first.cpu_start <= paddr < first.cpu_start + first.size:
        return bus - first.dma_start == paddr - first.cpu_start
    if first.size == 0:  # ends the list
        return bus == DMA_MAPPING_ERROR
    return bus == translate_phys_to_dma((second,), paddr)


@lemma(kernel=f"{DMA_DIRECT}:translate_phys_to_dma, translate_dma_to_phys")
def range_sides(path: Path) -> bool:
    """The way back is the same with the two sides of a range exchanged."""
    first, second = region(path, "first", U64), region(path, "second", U64)
    address = path.unknown("dma_addr")
    turned = [BusDmaRegion(Ipa(r.dma_start), DmaAddr(r.cpu_start), r.size) for r in (first, second)]
    return translate_dma_to_phys((first, second), address) == translate_phys_to_dma(turned, address)


@lemma(kernel=f"{DMA_DIRECT}:dma_to_phys")
def bit_before_range(path: Path) -> bool:
    """Both aliases mean the same page: bit first, then range."""
    space, scheme = realm(path)
    dev = DmaDevice(scheme, (region(path, "region", space.shared_bit),))
    address = path.unknown("dma_addr")
    path.assume(address < space.size)
    return dma_to_phys(dev, address) == dma_to_phys(dev, space.alias(address))


@lemma(kernel=f"{DMA_DIRECT}:phys_to_dma_encrypted, phys_to_dma_unencrypted")
def dma_monotone(path: Path) -> bool:
    """Addresses keep their order and distance within a range."""
    space, scheme = realm(path)
    only = region(path, "region", space.shared_bit)
    dev = DmaDevice(scheme, (only,))
    low, high = path.unknown("low"), path.unknown("high")
    path.assume(only.cpu_start <= low, low <= high, high < only.cpu_start + only.size)
    distance = phys_to_dma_unencrypted(dev, high) - phys_to_dma_unencrypted(dev, low)
    return distance == phys_to_dma(dev, high) - phys_to_dma(dev, low) == high - low


@lemma(kernel=f"{DMA_DIRECT}:dma_to_phys")
def order_without_ranges(path: Path) -> bool:
    """Without dma-ranges the order of bit and range is all one."""
    _, scheme = realm(path)
    address = path.unknown("dma_addr")
    old = DmaDevice(scheme, canonical_before_lookup=False)
    return dma_to_phys(old, address) == dma_to_phys(DmaDevice(scheme), address)


@lemma(kernel=f"{DMA_DIRECT}:dma_capable")
def capable_bounds(path: Path) -> bool:
    """What a device can drive has no byte above mask or limit."""
    mask, limit = path.unknown("dma_mask"), path.unknown("bus_dma_limit")
    dev = DmaDevice(dma_mask=mask, bus_dma_limit=limit)
    address, size = DmaAddr(path.unknown("dma_addr")), path.unknown("size")
    last = address + size - 1
    fits = not (mask and last > mask) and not (limit and last > limit) and last <= U64
    return dma_capable(dev, address, size) == (address != DMA_MAPPING_ERROR and fits)


@lemma(kernel=f"{DMA_DIRECT}:dma_capable")
def capable_monotone(path: Path) -> bool:
    """What a device can drive it can drive in parts."""
    dev = DmaDevice(dma_mask=path.unknown("dma_mask"), bus_dma_limit=path.unknown("bus_dma_limit"))
    address, size = DmaAddr(path.unknown("dma_addr")), path.unknown("size")
    offset, part = path.unknown("offset"), path.unknown("part")
    path.assume(part >= 1, offset + part <= size, address + size <= U64)
    path.assume(dma_capable(dev, address, size))
    return dma_capable(dev, address + offset, part)


LEMMAS = (
    shared_round_trip,
    private_round_trip,
    c_bit_round_trip,
    offset_round_trip,
    dma_single_bit,
    dma_disjoint,
    no_wrap_outside,
    no_wrap_above,
    range_order,
    range_sides,
    bit_before_range,
    dma_monotone,
    order_without_ranges,
    capable_bounds,
    capable_monotone,
)
