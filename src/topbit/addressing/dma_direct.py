"""Which dma_addr_t stands for a physical address on a device's bus, and back?

The kernel's dma-direct helpers, by their kernel names. A device sees memory through its
`dma-ranges` (struct bus_dma_region) and through the scheme's attribute bit; the bit is applied to
the *bus* address, after the range lookup, so going back it must be cleared before the lookup.

Sources: Linux 7.2 include/linux/dma-direct.h, kernel/dma/direct.c; the order of dma_to_phys:
c380931712d1 "dma: Fix encryption bit clearing for dma_to_phys" (patch 1/3 of the series).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from topbit.addressing.scheme import (
    NONE,
    U64,
    Address,
    Scheme,
    dma_addr_canonical,
    dma_addr_encrypted,
    dma_addr_unencrypted,
)
from topbit.arch.ipa import DmaAddr, Ipa

DMA_MAPPING_ERROR = DmaAddr(U64)
PHYS_ADDR_INVALID = Ipa(U64)  # (phys_addr_t)-1
PIECE = 1 << 14
"""Addresses that are worked on at once: 128 KiB, so that what comes between stays in the cache."""


Addresses: TypeAlias = NDArray[np.uint64]
Lookup: TypeAlias = Callable[["Sequence[BusDmaRegion]", Address], Address]


def DMA_BIT_MASK(n: int) -> int:
    """Which mask has its lowest `n` bits set? (include/linux/dma-mapping.h)"""
    return (1 << n) - 1


@dataclass(frozen=True, slots=True)
class BusDmaRegion:
    """Which CPU addresses appear where on a device's bus? (struct bus_dma_region)

    Attributes:
        cpu_start: first CPU physical address of the region.
        dma_start: bus address that it appears at.
        size: length in bytes; a region of size 0 ends the list.
    """

    cpu_start: Ipa
    dma_start: DmaAddr
    size: int


@dataclass(frozen=True, slots=True)
class DmaDevice:
    """What of a struct device decides its DMA addresses?

    Attributes:
        scheme: how the guest marks shared memory in addresses.
        dma_range_map: `dma-ranges` of its bus, in order; empty means bus address = CPU address.
        dma_mask: highest address the device can drive (dev->dma_mask).
        bus_dma_limit: highest address that its bus carries; 0 means no limit.
        alias_for_shared: phys_to_dma_unencrypted() sets the scheme's shared bit (patch 3/3).
        canonical_before_lookup: dma_to_phys() clears the attribute before the range lookup
            (patch 1/3); False is the order of Linux up to 6.14.
    """

    scheme: Scheme = NONE
    dma_range_map: Sequence[BusDmaRegion] = field(default=())
    dma_mask: int = U64
    bus_dma_limit: int = 0
    alias_for_shared: bool = True
    canonical_before_lookup: bool = True


def translate_phys_to_dma(regions: Sequence[BusDmaRegion], paddr: Address) -> Address:
    """At which bus address does the CPU address `paddr` appear?

    Returns:
        the address through the first region that holds it; DMA_MAPPING_ERROR if none does;
        `paddr` itself where the bus has no dma-ranges.
    """
    return _lookup([(r.cpu_start, r.dma_start, r.size) for r in regions], paddr)


def translate_dma_to_phys(regions: Sequence[BusDmaRegion], dma_addr: Address) -> Address:
    """Which CPU address appears at the bus address `dma_addr`?

    Returns:
        the address through the first region that holds it; (phys_addr_t)-1 if none does.
    """
    return _lookup([(r.dma_start, r.cpu_start, r.size) for r in regions], dma_addr)


def _lookup(moves: list[tuple[int, int, int]], x: Address) -> Address:
    if not moves:
        return x
    if isinstance(x, int):
        for start, target, size in moves:
            if size == 0:
                break
            if start <= x < start + size:
                return target + (x - start)
        return U64
    sizes = [size for _, _, size in moves]
    regions = moves[: sizes.index(0)] if 0 in sizes else moves
    return _by_pieces(x, lambda piece: _looked_up(regions, piece))


def _is_long(dev: DmaDevice, x: Addresses) -> bool:
    """Does more than one pass go over it, so that it would not stay in the cache?"""
    return bool(dev.dma_range_map) and x.size > PIECE


def _by_pieces(x: Addresses, work: Callable[[Addresses], Addresses]) -> Addresses:
    """What comes of an array, worked on in pieces?"""
    flat = x.reshape(-1)
    if len(flat) <= PIECE:
        return work(flat).reshape(x.shape)
    out = np.empty_like(flat)
    for at in range(0, len(flat), PIECE):
        out[at : at + PIECE] = work(flat[at : at + PIECE])
    return out.reshape(x.shape)


def _looked_up(regions: Sequence[tuple[int, int, int]], x: Addresses) -> Addresses:
    if len(regions) == 1:
        start, target, size = regions[0]
        found = x - np.uint64(start)  # what lies below it wraps, and is far above its size
        if found.max(initial=0) < size:
            found += np.uint64(target)
            return found
    found = np.full_like(x, U64)
    for start, target, size in reversed(regions):  # the first that holds it is written last
        inside = x - np.uint64(start)
        np.copyto(found, inside + np.uint64(target), where=inside < np.uint64(size))
    return found


def phys_to_dma(dev: DmaDevice, paddr: Address) -> Address:
    """Which dma_addr_t has the *private* (encrypted) page at `paddr`?

    Returns:
        the address; DMA_MAPPING_ERROR outside the device's dma-ranges (setting a bit keeps it).
    """
    if not isinstance(paddr, int) and _is_long(dev, paddr):
        return _by_pieces(paddr, lambda piece: phys_to_dma(dev, piece))
    return dma_addr_encrypted(dev.scheme, translate_phys_to_dma(dev.dma_range_map, paddr))


def phys_to_dma_unencrypted(dev: DmaDevice, paddr: Address) -> Address:
    """Which dma_addr_t has the *shared* (unencrypted) page at `paddr`?

    The one place where the guest sets the shared bit. Kernels before the series returned the plain
    bus address here (`alias_for_shared` False).
    """
    if not isinstance(paddr, int) and _is_long(dev, paddr):
        return _by_pieces(paddr, lambda piece: phys_to_dma_unencrypted(dev, piece))
    bus = translate_phys_to_dma(dev.dma_range_map, paddr)
    return dma_addr_unencrypted(dev.scheme, bus) if dev.alias_for_shared else bus


def dma_to_phys(
    dev: DmaDevice, dma_addr: Address, lookup: Lookup[Address] = translate_dma_to_phys
) -> Address:
    """Which CPU physical address is meant by `dma_addr`?

    Args:
        lookup: does the lookup in the dma-ranges, for a caller that wants to see it.

    Returns:
        the address; (phys_addr_t)-1 when no dma-range holds it. With the old order the bit is still
        set during the lookup: behind dma-ranges every such address misses, and what comes back is
        (phys_addr_t)-1 with the attribute bit cleared.
    """
    if not isinstance(dma_addr, int) and _is_long(dev, dma_addr):
        return _by_pieces(dma_addr, lambda piece: dma_to_phys(dev, piece, lookup))
    if dev.canonical_before_lookup:
        return lookup(dev.dma_range_map, dma_addr_canonical(dev.scheme, dma_addr))
    return dma_addr_canonical(dev.scheme, lookup(dev.dma_range_map, dma_addr))


def dma_capable(dev: DmaDevice, addr: DmaAddr, size: int) -> bool:
    """Can the device drive every address of [addr, addr + size)?

    False for DMA_MAPPING_ERROR, else addr + size - 1 <= min_not_zero(dma_mask, bus_dma_limit).
    """
    if addr == DMA_MAPPING_ERROR:
        return False
    return addr + size - 1 <= dma_limit(dev)


def dma_limit(dev: DmaDevice) -> int:
    """Which is the highest address the device can drive on its bus? (min_not_zero)"""
    limits = [limit for limit in (dev.dma_mask, dev.bus_dma_limit) if limit]
    return min(limits, default=U64)
