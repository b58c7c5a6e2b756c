"""What would make a bounce pool large enough, on this scheme and this release?"""

from __future__ import annotations

from topbit.addressing.kernel_policy import parse_release
from topbit.errors import UsageError
from topbit.recording import Recording
from topbit.rules.pool_messages import SLOT

USUAL_SLOTS = 32768
"""Slots of the pool of 64 MiB that a machine gets without swiotlb= (Linux include/linux/swiotlb.h:
IO_TLB_DEFAULT_SIZE)."""
X86 = ("amd-sev", "amd-sev-es", "amd-sev-snp", "snp-vtom", "intel-tdx", "hyperv")
CLAMP = 1 << 30
"""Bytes that x86's six per cent of RAM end at (Linux 7.2 arch/x86/mm/mem_encrypt.c:
mem_encrypt_setup_arch)."""
DYNAMIC = (6, 6, 0)
"""First release with CONFIG_SWIOTLB_DYNAMIC."""
DYNAMIC_SAFE = (7, 3, 0)
"""First release whose dynamic pools are freed where it may sleep: before, in a confidential guest,
"scheduling while atomic" (Linux 7.3 kernel/dma/swiotlb.c, rcu_work)."""
SHRINKS = (7, 3, 0)
"""First release that shrinks the pool to RAM/1024 where all RAM lies below the DMA limit, and then
ignores swiotlb= of just the default size (arch/arm64/mm/init.c:arch_mm_preinit;
swiotlb_adjust_size; 7.4 mends the latter: af3857eac74e)."""
MENDED = (7, 4, 0)


def amount(size: int) -> str:
    """How is an amount of memory written?"""
    if size >= 1 << 30 and size % (1 << 30) == 0:
        return f"{size >> 30} GiB"
    return f"{size >> 20} MiB" if size >= 1 << 20 else f"{size >> 10} KiB"


def slots_that_hold(asked: int | None, used: int | None, total: int | None) -> int | None:
    """How many slots would have held what was mapped and asked for, as a power of two?

    Twice as much as was used at the worst: what a larger pool lets begin needs room as well, and
    one bounce needs its slots in a row.
    """
    if used is None or total is None:
        return None
    wanted = 2 * (max(used, total) + -(-(asked or 0) // SLOT))
    return 1 << (wanted - 1).bit_length()


def advice(recording: Recording, asked: int | None, used: int | None, total: int | None) -> str:
    """What mends a pool that was full?

    Args:
        recording: whose scheme, release and RAM count.
        asked: bytes of the largest request.
        used, total: slots at the worst; None where the kernel tells neither.
    """
    platform = recording.platform
    try:
        release = parse_release(platform.kernel) if platform.kernel else None
    except UsageError:
        release = None
    arm = platform.scheme in ("arm-cca", "none") and bool(platform.realm)
    picky = arm and release is not None and SHRINKS <= release < MENDED
    slots = slots_that_hold(asked, used, total)
    if slots == USUAL_SLOTS and picky:
        slots *= 2  # just this number is ignored
    size = "" if slots is None else f" (swiotlb={slots}, {amount(slots * SLOT)}, would have held)"
    parts = [f"raise the pool with swiotlb=SLOTS of 2 KiB on the kernel's command line{size}"]
    ram = sum(length for _, length in platform.ram)
    if picky and ram and total is not None and total * SLOT == ram >> 10:
        parts.append(
            f"Linux {platform.kernel} shrank it to RAM/1024 because all RAM lies below the DMA "
            f"limit; any swiotlb= but {USUAL_SLOTS}, the default itself, raises it (7.4 takes that "
            "too)"
        )
    if platform.scheme in X86:
        parts.append(
            f"the size that x86 chooses ends at {amount(CLAMP)}, and a larger one must fit into "
            "low memory in one piece"
        )
    if platform.scheme == "s390-pv":
        parts.append("s390 does not scale it with RAM (swiotlb=262144 gives 512 MiB)")
    if platform.scheme in (*X86, "arm-cca"):
        since = "" if release is not None and release >= DYNAMIC else " (Linux 6.6 and later)"
        safe = release is not None and release >= DYNAMIC_SAFE
        parts.append(
            f"CONFIG_SWIOTLB_DYNAMIC{since} lets it grow"
            + ("" if safe else ", in a confidential guest without a panic from Linux 7.3 on")
        )
    parts.append("smaller or fewer requests at one time need less")
    return "; ".join(parts)
