"""Which Realms, buses and devices does a lemma speak of? All of them: their numbers are unknown."""

from __future__ import annotations

from topbit.addressing.dma_direct import BusDmaRegion, DmaDevice
from topbit.addressing.proofs.symbolic import Path
from topbit.addressing.scheme import U64, Scheme, arm_cca
from topbit.arch.ipa import DmaAddr, Ipa, IpaSpace


def ipa_space(path: Path) -> IpaSpace:
    """Which IPA space is it? Any."""
    return IpaSpace(path.ipa_bits)


def realm(path: Path) -> tuple[IpaSpace, Scheme]:
    """Which Realm is it, and its scheme? Any."""
    space = ipa_space(path)
    return space, arm_cca(space.bits)


def region(path: Path, name: str, bus_end: int) -> BusDmaRegion:
    """Which dma-range is it? Any whose bus addresses end before `bus_end`, an empty one too."""
    cpu_start, dma_start = path.unknown(f"{name}.cpu_start"), path.unknown(f"{name}.dma_start")
    size = path.unknown(f"{name}.size")
    path.assume(cpu_start + size <= U64, dma_start + size <= bus_end)
    return BusDmaRegion(Ipa(cpu_start), DmaAddr(dma_start), size)


def two_regions(path: Path, bus_end: int) -> tuple[BusDmaRegion, BusDmaRegion]:
    """Which two dma-ranges has the bus? Any that do not overlap on the bus."""
    first, second = region(path, "first", bus_end), region(path, "second", bus_end)
    if first.dma_start < second.dma_start:
        path.assume(first.dma_start + first.size <= second.dma_start)
    else:
        path.assume(second.dma_start + second.size <= first.dma_start)
    return first, second


def device(path: Path) -> tuple[IpaSpace, DmaDevice]:
    """Which device of which Realm is it? Any, behind any two dma-ranges."""
    space, scheme = realm(path)
    return space, DmaDevice(scheme, two_regions(path, space.shared_bit))
