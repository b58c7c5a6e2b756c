"""How does the modelled kernel boot as a Realm, and what does it offer to drivers?

Boot, in the kernel's order: RSI version and Realm configuration, all RAM protected, the swiotlb
pool allocated and shared as a whole. Facts: Linux 7.2 arch/arm64/kernel/rsi.c:arm64_rsi_init,
arch/arm64/mm/init.c:arch_mm_preinit, kernel/dma/swiotlb.c:swiotlb_update_mem_attributes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from topbit.addressing.cc_platform import cc_platform
from topbit.addressing.dma_direct import BusDmaRegion, DmaDevice
from topbit.addressing.kernel_policy import KernelPolicy
from topbit.addressing.scheme import NONE
from topbit.arch.ipa import DmaAddr, Ipa, IpaSpace, Pa
from topbit.events import Emit, Event
from topbit.linux.coherent import CoherentMemory
from topbit.linux.cpu import RealmCpu
from topbit.linux.device import Device
from topbit.linux.direct import DmaDirect
from topbit.linux.mapping import DmaApi
from topbit.linux.pageattr import PAGE_SHIFT, PAGE_SIZE, LinearMap
from topbit.linux.rsi import arm64_rsi_setup_memory, rsi_get_realm_config, rsi_version_matches
from topbit.linux.rsi_da import EACCES, cca_device_accept
from topbit.linux.swiotlb import IoTlbMem
from topbit.linux.swiotlb_size import allocated_size, swiotlb_size


@dataclass(frozen=True, slots=True)
class GuestConfig:
    """Which kernel is it, and what memory does it have?

    Attributes:
        policy: the release's conventions.
        ram_base, ram_size: its RAM (IPA), bytes.
        swiotlb_size: size of the swiotlb pool, bytes; 0: as the release makes it.
        pa_bits_52: built with CONFIG_ARM64_PA_BITS_52.
        private_dma_for_trusted: give accepted devices private memory instead of bouncing (no
            released kernel does; proposed by the Realm device assignment series).
        enable_dma: the user who accepts a device lets it make DMA as well.
    """

    policy: KernelPolicy
    ram_base: Ipa
    ram_size: int
    swiotlb_size: int
    pa_bits_52: bool = False
    private_dma_for_trusted: bool = False
    enable_dma: bool = True


class Kernel:
    """A Linux guest: its memory, its pool, its DMA API.

    - `boot()` finds out that it is a Realm and shares the pool;
    - `device()` makes a struct device with this kernel's conventions;
    - `dma` is the DMA API, `memory` its RAM, `alloc_pages` its page allocator.
    """

    def __init__(self, cpu: RealmCpu, config: GuestConfig, emit: Emit) -> None:
        self.cpu = cpu
        self.config = config
        self.emit = emit
        self.policy = config.policy
        if config.private_dma_for_trusted:
            self.policy = replace(config.policy, private_for_trusted=True)
        self.platform = cc_platform("none", self.policy)
        self.memory: LinearMap
        self.pool: IoTlbMem
        self.dma: DmaApi
        self._next_page = config.ram_base + PAGE_SIZE
        self._free: dict[int, list[Ipa]] = {}

    def warn(self, trouble: str, device: str | None, line: str) -> None:
        """Print a line that tells of trouble (`recording.trouble`) to the kernel log."""
        detail = f"{device}: {line}" if device else line
        self.emit(Event("guest", "trouble", device=device, status=trouble, detail=detail))

    def trace(self, helper: str, dev: Device, phys: Ipa, dma_addr: DmaAddr) -> None:
        """Record one use of an address helper."""
        self.emit(
            Event("guest", "helper", device=dev.name, attrs=helper, phys=phys, address=dma_addr)
        )

    def boot(self) -> None:
        """Start as a Realm.

        Raises:
            RsiError: the kernel would panic.
            SynchronousExternalAbort: an access hit nothing; the kernel would oops.
        """
        config = self.config
        version = rsi_version_matches(self.cpu)
        space: IpaSpace | None = None
        if version and config.policy.realm_guest:
            arm64_rsi_setup_memory(self.cpu, config.ram_base, config.ram_size)
            ipa_bits = rsi_get_realm_config(self.cpu, config.ram_base)
            self.platform = cc_platform(
                "arm-cca", self.policy, ipa_bits=ipa_bits, pa_bits_52=config.pa_bits_52
            )
            # Stage 1 always marks the right half: a page table holds page-table encoding.
            space = IpaSpace(ipa_bits)
        self.memory = LinearMap(self.cpu, config.ram_base, config.ram_size, space, self.emit)
        pool_size = config.swiotlb_size or allocated_size(
            swiotlb_size(self.policy, self.platform, config.ram_size), config.ram_size // 2
        )
        pool_base = config.ram_base + (config.ram_size - pool_size)
        forced = self.platform.forces(self.policy) and not self.policy.capable_by_attrs
        self.pool = IoTlbMem(self.memory, pool_base, pool_size, self.emit, force_bounce=forced)
        disables = self.policy.pool_failure_disables
        if self.pool.update_mem_attributes(disables=disables):
            pages = pool_size >> PAGE_SHIFT
            leaked = f"Failed to decrypt memory, {pages} pages will be leaked"
            self.warn("share_failed", None, leaked)
            if disables:
                disabled = "Failed to decrypt default memory pool, disabling it"
                self.warn("pool_disabled", None, f"software IO TLB: {disabled}")
        direct = DmaDirect(
            self.policy, self.platform, self.memory, self.pool, self.emit, self.trace
        )
        coherent = CoherentMemory(direct, self.alloc_pages, self.free_pages)
        self.dma = DmaApi(direct, coherent, self.emit)

    def device(
        self,
        name: str,
        *,
        dma_mask: int,
        trusted: bool = False,
        dma_ranges: Sequence[BusDmaRegion] = (),
        bus_dma_limit: int = 0,
        min_align_mask: int = 0,
    ) -> Device:
        """Which struct device does this kernel make for a device with these properties?"""
        policy = self.policy
        return Device(
            name,
            DmaDevice(
                scheme=self.platform.device_scheme(policy, trusted=trusted),
                dma_range_map=tuple(dma_ranges),
                dma_mask=dma_mask,
                bus_dma_limit=bus_dma_limit,
                alias_for_shared=policy.alias_for_shared,
                canonical_before_lookup=policy.canonical_before_lookup,
            ),
            coherent_dma_mask=dma_mask,
            min_align_mask=min_align_mask,
            force_unencrypted=self.platform.force_dma_unencrypted(policy, trusted=trusted),
        )

    def accept(
        self,
        dev: Device,
        vdev_id: int,
        registers: Sequence[tuple[Ipa, Pa, int]] = (),
        expected: bytes | None = None,
    ) -> bool:
        """Does the user accept an assigned device? In a kernel that is no Realm nobody is asked.

        Args:
            registers: where its registers are: (IPA, PA, bytes).
            expected: the digest of the measurements that the user knows of it.
        """
        if self.platform.scheme is NONE:
            return True
        page = self.alloc_pages(1)
        if page is None:
            self.warn("device_given_up", dev.name, "failed to accept the device")
            return False
        result = cca_device_accept(
            self.cpu,
            vdev_id,
            page,
            registers=registers,
            expected=expected,
            enable_dma=self.config.enable_dma,
        )
        self.free_pages(page, 1)
        if result == -EACCES:
            self.warn("device_untrusted", dev.name, "its measurements are not the known ones")
        elif result:
            self.warn("device_given_up", dev.name, "failed to accept the device")
        return not result

    def alloc_pages(self, count: int) -> Ipa | None:
        """Which phys_addr_t have `count` fresh contiguous pages? None when out of memory."""
        recycled = self._free.get(count)
        if recycled:
            return recycled.pop()
        phys = self._next_page
        if phys + (count << PAGE_SHIFT) > self.pool.start:
            return None
        self._next_page += count << PAGE_SHIFT
        return phys

    def free_pages(self, phys: Ipa, count: int) -> None:
        """Take pages back."""
        self._free.setdefault(count, []).append(phys)
