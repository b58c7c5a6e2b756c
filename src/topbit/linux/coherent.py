"""Which memory do CPU and device share for long? (kernel/dma/direct.c:dma_direct_alloc)

A device that may only see shared memory gets pages that are shared when it gets them, and made
private again when it gives them back. Pages whose state could not be changed are leaked: nobody
knows what they are. Facts: Linux 7.2 and 7.3 dma_direct_alloc, dma_direct_free, dma_coherent_ok.
"""

from __future__ import annotations

from collections.abc import Callable

from topbit.addressing.dma_direct import (
    DMA_MAPPING_ERROR,
    phys_to_dma,
    phys_to_dma_unencrypted,
)
from topbit.addressing.scheme import U64
from topbit.arch.ipa import DmaAddr, Ipa
from topbit.events import Event
from topbit.linux.atomic_pool import AtomicPool, leaked
from topbit.linux.device import Device
from topbit.linux.direct import DmaDirect
from topbit.linux.pageattr import PAGE_SHIFT, PAGE_SIZE


class CoherentMemory:
    """Coherent memory of all devices.

    Args:
        direct: which address a page has.
        alloc_pages: gives the phys_addr_t of N fresh contiguous pages, or None.
        free_pages: takes them back.
    """

    def __init__(
        self,
        direct: DmaDirect,
        alloc_pages: Callable[[int], Ipa | None],
        free_pages: Callable[[Ipa, int], None],
    ) -> None:
        self.direct = direct
        self.memory = direct.memory
        self.alloc_pages = alloc_pages
        self.free_pages = free_pages
        self._atomic: AtomicPool | None = None

    def alloc(self, dev: Device, size: int, *, atomic: bool = False) -> tuple[Ipa, DmaAddr] | None:
        """Which memory gets the device: (phys, dma_addr)? None if it cannot drive any.

        Args:
            dev: for whom.
            size: bytes; whole pages are given.
            atomic: the caller may not sleep.

        Raises:
            SynchronousExternalAbort: up to 7.2, where a Realm's memory is remapped as shared and is
                not, the kernel oopses as it zeroes it.
        """
        count = -(-size // PAGE_SIZE)
        if atomic and dev.force_unencrypted:
            return self._at_once(dev, count * PAGE_SIZE)
        if self._atomic is not None:
            self._atomic.resize()  # this caller may sleep
        pool = self.direct.pool
        if pool is not None and pool.for_alloc:
            if self.direct.policy.capable_by_attrs and pool.cc_shared != dev.force_unencrypted:
                return None
            return self._of_pool(dev, size, pool.alloc(dev, size, self.direct.tbl_dma_addr(dev)))
        phys = self.alloc_pages(count)
        if phys is None:
            return None
        if not self.coherent_ok(dev, phys, size):
            self.free_pages(phys, count)
            return None
        if self._converts(dev) and self.memory.set_memory_decrypted(phys, count):
            self._warn("share_failed", f"Failed to decrypt memory, {count} pages will be leaked")
            return None
        if not dev.coherent:
            forced = dev.force_unencrypted
            self.memory.zero_remapped(phys, count, decrypted=forced)
            return phys, self.direct.phys_to_dma_direct(dev, phys, shared=forced)
        return self._handed_over(dev, size, phys)

    def _at_once(self, dev: Device, size: int) -> tuple[Ipa, DmaAddr] | None:
        """Hand over memory of the atomic pool (dma_direct_alloc_from_pool)."""
        phys = self._atomic_pool().alloc(size, lambda phys: self.coherent_ok(dev, phys, size))
        if phys is None:
            told = self.direct.policy.pool_exhausted_said
            said = "DMA pool exhausted" if told else "Failed to get suitable pool"
            self._warn("atomic_pool", f"{said} for {dev.name}", dev.name)
            return None
        return phys, self.direct.phys_to_dma_direct(dev, phys, shared=True)

    def _converts(self, dev: Device) -> bool:
        """Is the memory shared for the device? Up to 7.2 not if it is remapped (non-coherent)."""
        return dev.force_unencrypted and (dev.coherent or self.direct.policy.remap_shares)

    def _handed_over(self, dev: Device, size: int, phys: Ipa) -> tuple[Ipa, DmaAddr]:
        self.memory.write(phys, bytes(-(-size // PAGE_SIZE) << PAGE_SHIFT))
        return phys, self.direct.phys_to_dma_direct(dev, phys, shared=dev.force_unencrypted)

    def _of_pool(self, dev: Device, size: int, phys: Ipa | None) -> tuple[Ipa, DmaAddr] | None:
        """Hand over pages of a pool; they go back if the device cannot drive them."""
        if phys is None:
            return None
        if not self.coherent_ok(dev, phys, size):
            self._give_back(dev, phys, size)
            return None
        return self._handed_over(dev, size, phys)

    def coherent_ok(self, dev: Device, phys: Ipa, size: int) -> bool:
        """Can the device drive [phys, +size) as coherent memory? (dma_coherent_ok)"""
        helper = phys_to_dma_unencrypted if dev.force_unencrypted else phys_to_dma
        dma_addr = helper(dev.dma, phys)
        limits = [limit for limit in (dev.coherent_dma_mask, dev.dma.bus_dma_limit) if limit]
        return dma_addr != DMA_MAPPING_ERROR and dma_addr + size - 1 <= min(limits, default=U64)

    def _give_back(self, dev: Device, phys: Ipa, size: int) -> bool:
        """Return pages to the pool that they came from, if they came from one."""
        if self._atomic is not None and self._atomic.release(phys, size):
            return True
        pool = self.direct.pool
        if pool is not None and pool.for_alloc and pool.find_pool(phys) is not None:
            pool.free(dev, phys)
            return True
        return False

    def free(self, dev: Device, phys: Ipa, size: int) -> None:
        """Give coherent memory back; makes it private again first."""
        if self._give_back(dev, phys, size):
            return
        count = -(-size // PAGE_SIZE)
        if self._converts(dev) and self.memory.set_memory_encrypted(phys, count):
            self._warn("leaked", "leaking DMA memory that can't be re-encrypted")
            return
        self.free_pages(phys, count)

    def _atomic_pool(self) -> AtomicPool:
        """The pool, made when it is first used: a modelled guest is small."""
        if self._atomic is None:
            shared = self.direct.platform.mem_encrypt
            gives = not self.direct.policy.pool_leaks_unshared
            self._atomic = AtomicPool(
                self.memory,
                self.alloc_pages,
                self.direct.emit,
                shared=shared,
                free_pages=self.free_pages if gives else leaked,
            )
        return self._atomic

    def _warn(self, trouble: str, line: str, device: str | None = None) -> None:
        self.direct.emit(Event("guest", "trouble", device=device, status=trouble, detail=line))
