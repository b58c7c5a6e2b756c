"""Which DMA address does a buffer get without a guest IOMMU? (kernel/dma/direct.c, direct.h)

Up to 7.2 a confidential guest bounces because its pool says so (SWIOTLB_FORCE). From 7.3 on it
bounces because dma_capable() refuses private memory to a device that must not see it, and each
mapping, allocation and pool carries whether it is shared (DMA_ATTR_CC_SHARED).
Facts: Linux 6.12 to 7.3 dma_direct_map_phys, dma_direct_map_sg, dma_direct_get_required_mask,
dma_direct_supported, dma_direct_max_mapping_size; swiotlb.c:swiotlb_map. Coherent memory is in
`coherent.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from topbit.addressing.cc_platform import CcPlatform
from topbit.addressing.dma_direct import (
    DMA_BIT_MASK,
    DMA_MAPPING_ERROR,
    BusDmaRegion,
    dma_capable,
    dma_limit,
    dma_to_phys,
    phys_to_dma,
    phys_to_dma_unencrypted,
    translate_dma_to_phys,
    translate_phys_to_dma,
)
from topbit.addressing.kernel_policy import KernelPolicy
from topbit.addressing.scheme import U64
from topbit.arch.ipa import DmaAddr, Ipa
from topbit.events import Emit, Event
from topbit.linux.device import Device
from topbit.linux.dma_attrs import NO_ATTRS, DmaAttr
from topbit.linux.pageattr import LinearMap
from topbit.linux.swiotlb import IoTlbMem

HelperTrace = Callable[[str, Device, Ipa, DmaAddr], None]
EIO = 5
MASK_OF_32_BITS = DMA_BIT_MASK(32)
BOUNCES_NEVER = DmaAttr.MMIO | DmaAttr.REQUIRE_COHERENT


@dataclass(frozen=True, slots=True)
class Mapping:
    """One entry of a scatterlist that is mapped."""

    dma_addr: DmaAddr
    size: int


class DmaDirect:
    """How does the kernel map memory for a device, and what does it print when it cannot?

    Args:
        policy: which release it is.
        platform: what it runs on.
        memory: the kernel's RAM.
        pool: the default swiotlb; None: there is none.
        emit: takes what it prints when it cannot, as events, and traces.
        trace: takes every use of an address helper: (name, device, phys, dma_addr).
    """

    def __init__(
        self,
        policy: KernelPolicy,
        platform: CcPlatform,
        memory: LinearMap,
        pool: IoTlbMem | None,
        emit: Emit,
        trace: HelperTrace,
    ) -> None:
        self.policy = policy
        self.platform = platform
        self.memory = memory
        self.pool = pool
        self.emit = emit
        self.trace = trace

    def phys_to_dma_direct(self, dev: Device, phys: Ipa, *, shared: bool) -> DmaAddr:
        """Which address does the device get for a page that it uses where it stands?"""
        if not shared:
            return DmaAddr(phys_to_dma(dev.dma, phys))
        dma_addr = DmaAddr(phys_to_dma_unencrypted(dev.dma, phys))
        self.trace("phys_to_dma_unencrypted", dev, phys, dma_addr)
        return dma_addr

    def force_bounce(self, dev: Device) -> bool:
        """Do all maps of the device bounce? (is_swiotlb_force_bounce)

        A proposed kernel that exempts accepted devices exempts them from SWIOTLB_FORCE, too.
        """
        if self.pool is None or not self.pool.force_bounce:
            return False
        return dev.force_unencrypted or not self.platform.forces(self.policy)

    def map_phys(
        self,
        dev: Device,
        phys: Ipa,
        size: int,
        direction: str,
        attrs: DmaAttr = NO_ATTRS,
    ) -> DmaAddr:
        """Which dma_addr_t stands for [phys, +size)? DMA_MAPPING_ERROR if none can."""
        if self.policy.capable_by_attrs:
            return self._map_by_attrs(dev, phys, size, direction, attrs)
        return self._map_by_force(dev, phys, size, direction, attrs)

    def _map_by_force(
        self, dev: Device, phys: Ipa, size: int, direction: str, attrs: DmaAttr
    ) -> DmaAddr:
        """The order of tests up to 7.2."""
        shared = DmaAttr.CC_SHARED in attrs
        mmio = DmaAttr.MMIO in attrs
        if not mmio or self.policy.dma_map_phys:
            if not self.force_bounce(dev):
                if shared:
                    return DMA_MAPPING_ERROR
            elif not shared:
                if attrs & BOUNCES_NEVER and self.policy.cc_shared_attr:
                    return DMA_MAPPING_ERROR
                if attrs & BOUNCES_NEVER:  # the printed address was never set (observed: 0)
                    return self._overflow("dma_overflow", "DMA addr", dev, DmaAddr(0), size)
                return self._swiotlb_map(dev, phys, size, direction, attrs)
        # MMIO gets neither dma-ranges nor the shared bit.
        raw = DmaAddr(phys)
        dma_addr = raw if mmio else self.phys_to_dma_direct(dev, phys, shared=shared)
        if dma_capable(dev.dma, dma_addr, size):
            return dma_addr
        if self.pool is not None and not shared and not attrs & BOUNCES_NEVER:
            return self._swiotlb_map(dev, phys, size, direction, attrs)
        return self._overflow("dma_overflow", "DMA addr", dev, dma_addr, size)

    def _map_by_attrs(
        self, dev: Device, phys: Ipa, size: int, direction: str, attrs: DmaAttr
    ) -> DmaAddr:
        """The order of tests from 7.3 on."""
        if DmaAttr.MMIO in attrs and self.platform.host_mem_encrypt:
            attrs |= DmaAttr.CC_SHARED
        if self.force_bounce(dev):
            if attrs & BOUNCES_NEVER:
                return DMA_MAPPING_ERROR
            return self._swiotlb_map(dev, phys, size, direction, attrs)
        dma_addr = self.phys_to_dma_direct(dev, phys, shared=DmaAttr.CC_SHARED in attrs)
        if self._capable(dev, dma_addr, size, attrs):
            return dma_addr
        if self.pool is not None and not attrs & BOUNCES_NEVER:
            return self._swiotlb_map(dev, phys, size, direction, attrs)
        return self._overflow("dma_overflow", "DMA addr", dev, dma_addr, size)

    def _capable(self, dev: Device, dma_addr: DmaAddr, size: int, attrs: DmaAttr) -> bool:
        """dma_capable(), which from 7.3 on also asks whether the device may see such memory."""
        refuses = self.policy.capable_by_attrs and dev.force_unencrypted
        if refuses and DmaAttr.CC_SHARED not in attrs:
            return False
        return dma_capable(dev.dma, dma_addr, size)

    def _overflow(
        self, trouble: str, what: str, dev: Device, dma_addr: DmaAddr, size: int
    ) -> DmaAddr:
        """Print that an address does not fit the device's mask or bus; DMA_MAPPING_ERROR.

        From 7.3 on the line also comes where dma_capable() refused private memory: then address
        and mask fit.
        """
        mask, limit = dev.dma.dma_mask, dev.dma.bus_dma_limit
        self.emit(
            Event(
                "guest",
                "trouble",
                device=dev.name,
                address=dma_addr,
                size=size,
                mask=mask,
                status=trouble,
                attrs=f"bus_limit=0x{limit:x}",
                detail=f"{dev.name}: {what} 0x{dma_addr:016x}+{size} overflow "
                f"(mask {mask:x}, bus limit {limit:x}).",
            )
        )
        return DMA_MAPPING_ERROR

    def _swiotlb_map(
        self, dev: Device, phys: Ipa, size: int, direction: str, attrs: DmaAttr
    ) -> DmaAddr:
        pool = self.pool
        if pool is None:
            line = "Can not allocate SWIOTLB buffer earlier and can't now provide you with the DMA "
            detail = f"{dev.name}: {line}bounce buffer"
            self.emit(
                Event("guest", "trouble", device=dev.name, status="pool_missing", detail=detail)
            )
            return DMA_MAPPING_ERROR
        self.emit(
            Event(
                "guest",
                "swiotlb_bounced",
                device=dev.name,
                phys=phys_to_dma(dev.dma, phys),
                size=size,
                mask=dev.dma.dma_mask,
                status="FORCE" if self.force_bounce(dev) else "NORMAL",
            )
        )
        if not self._pool_serves(dev, pool):
            return DMA_MAPPING_ERROR
        shared = pool.cc_shared or not self.policy.capable_by_attrs
        tlb_addr = pool.tbl_map_single(
            dev, phys, size, self.tbl_dma_addr(dev), warn=DmaAttr.NO_WARN not in attrs
        )
        if tlb_addr is None:
            return DMA_MAPPING_ERROR
        dma_addr = self.phys_to_dma_direct(dev, tlb_addr, shared=shared)
        attrs = attrs | DmaAttr.CC_SHARED if shared else attrs & ~DmaAttr.CC_SHARED
        if self._capable(dev, dma_addr, size, attrs):
            return dma_addr
        pool.tbl_unmap_single(dev, tlb_addr, size, direction, sync=False)
        return self._overflow("bounce_overflow", "swiotlb addr", dev, dma_addr, size)

    def _pool_serves(self, dev: Device, pool: IoTlbMem) -> bool:
        """Is it a pool of the right kind for this device? A wrong one fails without a word."""
        if not self.policy.capable_by_attrs:
            return True
        if self.platform.guest_mem_encrypt(self.policy):
            return pool.cc_shared == dev.force_unencrypted
        return pool.cc_shared or not self.platform.host_mem_encrypt

    def tbl_dma_addr(self, dev: Device) -> Callable[[Ipa], DmaAddr]:
        """Which device address has the pool, by which its slots are aligned?"""
        shared = not self.policy.capable_by_attrs or (self.pool is not None and self.pool.cc_shared)
        helper = phys_to_dma_unencrypted if shared else phys_to_dma
        return lambda start: DmaAddr(helper(dev.dma, start))

    def map_sg(
        self,
        dev: Device,
        entries: Iterable[tuple[Ipa, int]],
        direction: str,
        attrs: DmaAttr = NO_ATTRS,
    ) -> list[Mapping] | int:
        """Which addresses has a scatterlist of (phys, bytes)? -EIO: none; nothing stays mapped."""
        done: list[Mapping] = []
        for phys, size in entries:
            dma_addr = self.map_phys(dev, phys, size, direction, attrs)
            if dma_addr == DMA_MAPPING_ERROR:
                self.unmap_sg(dev, done, direction, attrs | DmaAttr.SKIP_CPU_SYNC)
                return -EIO
            done.append(Mapping(dma_addr, size))
        return done

    def unmap_sg(
        self, dev: Device, entries: Iterable[Mapping], direction: str, attrs: DmaAttr = NO_ATTRS
    ) -> None:
        """End the mappings of a scatterlist."""
        for entry in entries:
            self.unmap_phys(dev, entry.dma_addr, entry.size, direction, attrs)

    def unmap_phys(
        self,
        dev: Device,
        dma_addr: DmaAddr,
        size: int,
        direction: str,
        attrs: DmaAttr = NO_ATTRS,
    ) -> Ipa | None:
        """End a mapping. Returns the phys_addr_t that dma_to_phys() found for it.

        Where that address is no pool slot nothing is copied back: this is how a wrong
        dma_to_phys() loses a device's data without a word. What never bounces is not looked up.
        """
        if attrs & BOUNCES_NEVER:
            return None
        phys = self.dma_to_phys(dev, dma_addr)
        if self.pool is not None:
            sync = DmaAttr.SKIP_CPU_SYNC not in attrs
            self.pool.tbl_unmap_single(dev, phys, size, direction, sync=sync)
        return phys

    def sync_single_for_cpu(
        self, dev: Device, dma_addr: DmaAddr, size: int, direction: str
    ) -> None:
        """Let the CPU see what the device wrote to a part of a live mapping."""
        phys = self.dma_to_phys(dev, dma_addr)
        if self.pool is not None:
            self.pool.sync_single_for_cpu(dev, phys, size, direction)

    def sync_single_for_device(
        self, dev: Device, dma_addr: DmaAddr, size: int, direction: str
    ) -> None:
        """Let the device see what the CPU wrote to a part of a live mapping."""
        phys = self.dma_to_phys(dev, dma_addr)
        if self.pool is not None:
            self.pool.sync_single_for_device(dev, phys, size, direction)

    def dma_to_phys(self, dev: Device, dma_addr: DmaAddr) -> Ipa:
        """dma_to_phys() and, where the bus has dma-ranges, the lookup in it, both traced."""

        def lookup(regions: Sequence[BusDmaRegion], bus: int) -> int:
            found = translate_dma_to_phys(regions, bus)
            if regions:
                self.trace("translate_dma_to_phys", dev, Ipa(found), DmaAddr(bus))
            return found

        phys = Ipa(dma_to_phys(dev.dma, dma_addr, lookup))
        self.trace("dma_to_phys", dev, phys, dma_addr)
        return phys

    @property
    def last_phys(self) -> Ipa:
        """Which is the last byte of RAM? (max_pfn)"""
        return Ipa(self.memory.base + self.memory.size - 1)

    def required_mask(self, dev: Device) -> int:
        """Which mask reaches all of memory? In a Realm the shared bit is part of it."""
        helper = phys_to_dma_unencrypted if dev.force_unencrypted else phys_to_dma
        return DMA_BIT_MASK(helper(dev.dma, self.last_phys).bit_length())

    def addressing_limited(self, dev: Device) -> bool:
        """Does the device reach less than that? (dma_addressing_limited)"""
        return dma_limit(dev.dma) < self.required_mask(dev)

    def supported(self, dev: Device, mask: int, zone_dma_limit: int = MASK_OF_32_BITS) -> bool:
        """May a driver set this mask? (dma_direct_supported; dma_set_mask() returns -EIO if not)

        Any mask of 32 bits and more may be set, also one that cannot carry a Realm's shared bit:
        then each mapping fails.

        Args:
            zone_dma_limit: last address of ZONE_DMA; arm64's is that of all RAM below 4 GiB.
        """
        lowest = min(self.last_phys, zone_dma_limit)
        if self.policy.canonical_mask_check:
            return mask >= translate_phys_to_dma(dev.dma.dma_range_map, lowest)
        if mask >= MASK_OF_32_BITS:
            return True
        return mask >= phys_to_dma_unencrypted(dev.dma, lowest)

    def max_mapping_size(self, dev: Device) -> int:
        """How long may one mapping be? Bytes; without a limit 2^64-1."""
        if self.pool is None:
            return U64
        forced = self.policy.capable_by_attrs and dev.force_unencrypted
        if forced or self.force_bounce(dev) or self.addressing_limited(dev):
            return self.pool.max_mapping_size(dev)
        return U64
