"""Which events of a recording does a family of rules look at, and in which form?"""

from __future__ import annotations

from itertools import chain
from weakref import WeakKeyDictionary

import numpy as np
import polars as pl

from topbit.recording import Platform, Recording
from topbit.recording.schema import DMA_MAPPING_ERROR, ERROR, KINDS

MAPS = ("dma_map", "dma_alloc")
ADDRESSES = ("dma_map", "dma_alloc", "dma_unmap", "dma_free", "dma_sync")

PAGE_SHIFT = 12
"""Bits of an address within a page of 4 KiB, the smallest that any table translates."""
PAGE = 1 << PAGE_SHIFT

OWN_DEVICES = tuple(kind for kind in KINDS if kind.startswith(("dma_", "swiotlb_")))
"""What a kernel does for devices of its own; if it is the host's, they are not the guest's."""
IOMMU = ("iommu_map", "iommu_unmap")
OTHERS = ("host", "guest")
"""Whose IOMMU mappings are none of the VMM's for the guest's devices."""

NEEDED: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(("iommu_unmap", "access", "vmm_dma"), ("address",)),
    "iommu_map": ("address", "pa"),
    **dict.fromkeys(("convert", "set_memory"), ("phys",)),
    "helper": ("address", "phys"),
}
"""Columns without which an event of a kind says nothing that a rule could use."""


def usable(recording: Recording) -> Recording:
    """Which events can rules look at? Others are left out.

    Those that lack a column that their kind needs, and what concerns a host's own devices, or a
    guest's own IOMMU.
    """
    left_out = np.zeros(len(recording.frame), dtype=bool)
    for kinds, agents in ((OWN_DEVICES, ("host",)), (IOMMU, OTHERS)):
        if recording.has(*kinds) and (theirs := recording.says("agent", *agents)).any():
            left_out |= theirs & (recording.places_among(*kinds).of() < len(kinds))
    missing = {
        name: recording.frame[name].is_null()
        for name in sorted(set(chain(*NEEDED.values())))
        if recording.frame[name].null_count()
    }
    for kind, columns in NEEDED.items():
        for name in missing.keys() & columns if recording.has(kind) else ():
            left_out[(recording.is_of(kind) & missing[name]).arg_true().to_numpy()] = True
    if not left_out.any():
        return recording
    used = recording.without(left_out)
    _as_read[used] = recording
    return used


_as_read: WeakKeyDictionary[Recording, Recording] = WeakKeyDictionary()


def as_read(recording: Recording) -> Recording:
    """Which recording has all events, those with it that `usable` left out?"""
    return _as_read.get(recording, recording)


has_attr = pl.col("attrs").fill_null("").str.split("|").list.contains
"""Expression: do the DMA attributes hold this one?"""

succeeded = (pl.col("address") != DMA_MAPPING_ERROR) & (
    pl.col("status").is_null() | (pl.col("status") != ERROR)
)
"""Expression: did the mapping or allocation give an address?"""

given = pl.col("address").is_not_null() & succeeded
"""Expression: was this address given to a device?"""


def devices_where(platform: Platform, **facts: object) -> list[str]:
    """Which devices have all these facts?"""
    return [
        name
        for name, device in platform.devices.items()
        if all(getattr(device, key) == value for key, value in facts.items())
    ]


def shared_mappings(
    recording: Recording, *kinds: str, where: pl.Expr | None = None
) -> pl.DataFrame:
    """Which addresses did the guest give to devices that reach shared memory only?

    Left out: failed mappings, what is no memory (`is_of_a_device`), trusted devices (their private
    addresses carry no shared bit) and devices behind a guest IOMMU (their addresses are IOVAs).
    `where`: only those for which this is true.
    """
    wanted = given
    if other := exempt_devices(recording.platform):
        wanted = wanted & ~pl.col("device").fill_null("").is_in(other)
    rows = recording.of_kind(*(kinds or MAPS), where=wanted if where is None else wanted & where)
    # Asked last: it is true of few.
    return rows if rows.is_empty() else rows.filter(~is_of_a_device(recording))


def is_of_a_device(recording: Recording) -> pl.Expr:
    """Expression: was a device's own memory mapped (MMIO, peer to peer), and no RAM?

    Linux 6.18 and later say so (DMA_ATTR_MMIO). Before, dma_map_resource() and the bus addresses
    of peer-to-peer entries look like any other: they are outside of RAM. Where that is not known,
    what was not bounced and lies beyond all buffers that were is left out.
    """
    platform = recording.platform
    says = has_attr("MMIO")
    itself = pl.col("phys").is_not_null() & (canonical(platform) == pl.col("phys"))
    if platform.ram:
        outside = ~in_ranges(canonical(platform), platform.ram) & ~in_ranges(
            pl.col("phys"), platform.ram
        )
        return says | (outside & itself).fill_null(False)
    bounced = recording.scan("swiotlb_bounced").select(low=pl.min("phys"), high=pl.max("phys"))
    low, high = bounced.collect().row(0)
    if low is None:
        return says
    return says | (itself & ~pl.col("phys").is_between(low, high)).fill_null(False)


def exempt_devices(platform: Platform) -> list[str]:
    """Which devices' addresses do not follow the convention: trusted, or behind a guest IOMMU?"""
    return devices_where(platform, trusted=True) + devices_where(platform, behind_iommu=True)


def beyond_ipa_space(platform: Platform, column: str = "address") -> pl.Expr:
    """Expression: has an address a bit above the IPA space? Never while its width is not known."""
    highest = (1 << (platform.ipa_bits or 64)) - 1
    return pl.col(column) > pl.lit(highest, dtype=pl.UInt64)


def is_beyond_ipa_space(platform: Platform, address: int) -> bool:
    """Has one address a bit above the IPA space? As `beyond_ipa_space`."""
    return bool(address >> (platform.ipa_bits or 64))


def other_bits(platform: Platform) -> pl.Expr:
    """Expression: the mask of all bits but the shared bit; of all bits while that is unknown."""
    return pl.lit(platform.protected(DMA_MAPPING_ERROR), dtype=pl.UInt64)


def with_shared_bit(platform: Platform, column: str = "address") -> pl.Expr:
    """Expression: does an address carry the shared bit?"""
    return (pl.col(column) & other_bits(platform)) != pl.col(column)


def with_c_bit(platform: Platform, column: str = "address") -> pl.Expr:
    """Expression: does an address carry the C bit (AMD)?"""
    return (pl.col(column) & pl.lit(platform.c_bit_mask, dtype=pl.UInt64)) != 0


def canonical(platform: Platform, column: str = "address") -> pl.Expr:
    """Expression: which guest address (IPA) does a DMA address mean?

    The shared bit is cleared first and `dma_ranges` are undone then, as
    Linux include/linux/dma-direct.h:dma_to_phys does since c380931712d1. An address that no
    region holds stays as it is.
    """
    bus = pl.col(column) & other_bits(platform)
    phys = bus
    for cpu, dma, size in platform.dma_ranges:
        inside = (bus >= dma) & (bus < dma + size)
        phys = pl.when(inside).then(bus - dma + cpu).otherwise(phys)
    return phys


def canonical_of(platform: Platform, address: int) -> int:
    """Which guest address (IPA) does one DMA address mean? As `canonical`."""
    bus = platform.protected(address)
    for cpu, dma, size in platform.dma_ranges:
        if dma <= bus < dma + size:
            return bus - dma + cpu
    return bus


def input_address(platform: Platform, address: int) -> int:
    """At which address does a DMA address arrive at the SMMU, once the bus undid `dma-ranges`?"""
    cpu = canonical_of(platform, address)
    return platform.unprotected(cpu) if platform.has_shared_bit(address) else cpu


def at_doorbell(platform: Platform, address: int | None) -> bool:
    """Does an address lie in the page of an interrupt's doorbell?"""
    if address is None:
        return False
    return any(address & -PAGE == doorbell & -PAGE for doorbell in platform.msi_doorbells)


def in_ranges(column: pl.Expr, ranges: list[tuple[int, int]]) -> pl.Expr:
    """Expression: does an address lie in one of the (base, size) ranges?"""
    inside = pl.lit(False)
    for base, size in ranges:
        inside = inside | ((column >= base) & (column < base + size))
    return inside


def lies_in(address: int, ranges: list[tuple[int, int]]) -> bool:
    """Does one address lie in one of the (base, size) ranges?"""
    return any(base <= address < base + size for base, size in ranges)
