"""How large does the kernel make its bounce pool at boot?

64 MiB, or what `swiotlb=` says, unless the architecture adjusts it: x86 makes a confidential
guest's pool 6 % of its RAM; arm64 makes it RAM/1024 where all RAM is in reach of every device, from
7.3 on in a Realm as well. A pool that does not fit is halved until it does.
Facts: Linux 7.2 and 7.3 swiotlb_adjust_size, round_up_default_nslabs, swiotlb_init_remap;
arch/arm64/mm/init.c:arch_mm_preinit; arch/x86/mm/mem_encrypt.c:mem_encrypt_setup_arch. Observed in
a Realm of 1 GiB on 7.3.4: 1 MiB; swiotlb=65536: 128 MiB; =32768, the default itself: 1 MiB.
"""

from __future__ import annotations

from topbit.addressing.cc_platform import CcPlatform
from topbit.addressing.kernel_policy import KernelPolicy
from topbit.linux.swiotlb import MIN_SLABS
from topbit.linux.swiotlb_pool import IO_TLB_SEGSIZE, IO_TLB_SHIFT, nr_slots

MIB = 1 << 20
DEFAULT_SLABS = 64 * MIB >> IO_TLB_SHIFT
COCO_LARGEST = 1 << 30


def swiotlb_size(
    policy: KernelPolicy,
    platform: CcPlatform,
    ram_size: int,
    *,
    reachable: bool = True,
    setting: int | None = None,
    cpus: int = 1,
) -> int:
    """How large does the kernel want its pool to be? Bytes.

    Args:
        policy: the kernel.
        platform: what it runs on.
        ram_size: bytes of RAM.
        reachable: all RAM lies below the limit of 32-bit devices (arm64_dma_phys_limit).
        setting: slots that `swiotlb=` names; None: it is not given.
        cpus: possible CPUs, of which each wants an area.
    """
    slabs = DEFAULT_SLABS if setting is None else _aligned(setting)
    explicit = setting is not None and policy.pool_size_tracked
    adjusted = _architecture(policy, platform, ram_size, slabs, reachable=reachable)
    if adjusted is not None and slabs == DEFAULT_SLABS and not explicit:
        slabs = _aligned(nr_slots(adjusted))
    areas = 1 << (cpus - 1).bit_length()
    least = IO_TLB_SEGSIZE * areas
    if slabs < least or slabs & (slabs - 1):
        slabs = 1 << (max(slabs, least) - 1).bit_length()
    return slabs << IO_TLB_SHIFT


def _architecture(
    policy: KernelPolicy, platform: CcPlatform, ram_size: int, slabs: int, *, reachable: bool
) -> int | None:
    """To which size does the architecture adjust it? None: it does not."""
    if platform.name.startswith("arm-"):
        forced = platform.name == "arm-cca" and not policy.realm_pool_scaled
        if not reachable or forced:
            return None
        return min(slabs << IO_TLB_SHIFT, -(-ram_size // 1024))
    if platform.guest_mem_encrypt(policy) and platform.needs_access_platform:
        if platform.name == "s390-pv":
            return None
        return min(max(ram_size * 6 // 100, 64 * MIB), COCO_LARGEST)
    return None


def allocated_size(wanted: int, room: int) -> int:
    """How large is the pool, where only `room` bytes are free for it? 0: there is none."""
    slabs = wanted >> IO_TLB_SHIFT
    while slabs << IO_TLB_SHIFT > room:
        if slabs <= MIN_SLABS:
            return 0
        slabs = _aligned(slabs >> 1)
    return slabs << IO_TLB_SHIFT


def _aligned(slabs: int) -> int:
    return -(-slabs // IO_TLB_SEGSIZE) * IO_TLB_SEGSIZE
