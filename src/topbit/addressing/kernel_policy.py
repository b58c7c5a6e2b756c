"""What does a given kernel release do with DMA addresses of confidential guests?

A policy is a small data object: a release, and for each of the named `DIFFERENCES` whether the
release has it. A difference has its dates and its source; the few functions of the modelled kernel
in which releases differ ask for it by name. Proposals that no release has are differences too:
`proposed:NAME` is the newest kernel with that one change.

Sources: Linux 6.1, 6.12, 7.2 and 7.3 (linux-source packages), the stable trees, and what is merged
for 7.4; at each difference.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Any

from topbit.addressing.scheme import Scheme, arm_cca, prot_ns_shared_pte
from topbit.errors import UsageError, nearest

Version = tuple[int, int, int]

ALIAS_RELEASES = "6.15, 6.14.2 or 6.13.11"  # 7d953a062416 and its stable backports
NEWEST: Version = (7, 4, 0)
PROPOSED = "proposed:"
EDK2 = "edk2"
"""The firmware before Linux, as a guest of its own: ArmCcaIoMmuDxe gives devices the plain address
of shared memory (edk2 pull requests 12224 and 12895)."""


@dataclass(frozen=True, slots=True)
class Difference:
    """In what does a kernel differ from those before it?

    Attributes:
        name: the field of `KernelPolicy`.
        since: first releases that have it: mainline first, then stable ones, each of which counts
            for its own series only. Empty: proposed, in no release.
        what: what the kernel does since, one sentence without a full stop.
        source: commit, file and function, or thread.
    """

    name: str
    since: tuple[Version, ...]
    what: str
    source: str

    def is_in(self, release: Version) -> bool:
        """Has `release` the difference?"""
        mainline, *stable = self.since or (None,)
        if mainline is None:
            return False
        return release >= mainline or any(
            first <= release and first[:2] == release[:2] for first in stable if first
        )

    @property
    def dated(self) -> str:
        """Since which releases, for people?"""
        return " = ".join(map(written, self.since)) or "in no release"


SERIES: tuple[Version, ...] = ((6, 15, 0), (6, 14, 2), (6, 13, 11))

DIFFERENCES = {
    difference.name: difference
    for difference in (
        Difference(
            "realm_guest",
            ((6, 13, 0),),
            "arm64 can run as a Realm: RSI, and set_memory_decrypted() by RIPAS",
            "5e9fa3a5e9e6's series; arch/arm64/kernel/rsi.c",
        ),
        Difference(
            "alias_for_shared",
            SERIES,
            "a Realm's device address of shared memory carries the shared bit",
            '7d953a062416 "arm64: realm: Use aliased addresses for device DMA to shared buffers"',
        ),
        Difference(
            "canonical_before_lookup",
            SERIES,
            "dma_to_phys() clears the attribute bit before the lookup in dma-ranges",
            'c380931712d1 "dma: Fix encryption bit clearing for dma_to_phys"',
        ),
        Difference(
            "dma_map_phys",
            ((6, 18, 0),),
            "MMIO is mapped by dma_map_phys() with DMA_ATTR_MMIO, and refused where all bounces",
            "kernel/dma/direct.h:dma_direct_map_phys; before: dma_direct_map_resource",
        ),
        Difference(
            "pool_exhausted_said",
            ((6, 19, 0), (6, 18, 15), (6, 12, 117)),
            'the line about an atomic pool that has nothing that fits is "DMA pool exhausted for"; '
            'before it was "Failed to get suitable pool for" as well',
            "kernel/dma/pool.c:dma_alloc_from_pool; in 6.18.15 and 6.12.117, not in 6.16.12",
        ),
        Difference(
            "pte_encoded_shared_bit",
            ((7, 0, 0), (6, 19, 10)),
            "PROT_NS_SHARED is a page-table value, which the DMA helpers OR into addresses",
            '8c6e9b60f5c7 "arm64: realm: Fix PTE_NS_SHARED for 52bit PA support"',
        ),
        Difference(
            "cc_shared_attr",
            ((7, 2, 0),),
            "DMA_ATTR_CC_SHARED maps memory that is shared already where it stands",
            "include/linux/dma-mapping.h; kernel/dma/direct.h:dma_direct_map_phys (7.2)",
        ),
        Difference(
            "capable_by_attrs",
            ((7, 3, 0),),
            "dma_capable() refuses private memory to a device that must not see it; the swiotlb "
            "pool knows whether it is shared, and SWIOTLB_FORCE is gone",
            '"dma-mapping: Use DMA_ATTR_CC_SHARED through direct, pool and swiotlb paths", v7; '
            "include/linux/dma-direct.h:dma_capable",
        ),
        Difference(
            "guest_mem_encrypt",
            ((7, 3, 0),),
            "arm64, s390 and POWER report CC_ATTR_GUEST_MEM_ENCRYPT",
            "the same series; arch/arm64/include/asm/rsi.h, arch/s390/mm/init.c",
        ),
        Difference(
            "pkvm_force_unencrypted",
            ((7, 3, 0),),
            "a protected guest of pKVM forces all devices to shared memory",
            "arch/arm64/include/asm/mem_encrypt.h:force_dma_unencrypted",
        ),
        Difference(
            "viommu_refuses_coherent",
            ((7, 3, 0),),
            "behind a vIOMMU a confidential guest gets no coherent memory",
            "drivers/iommu/dma-iommu.c:iommu_dma_alloc, __DMA_ATTR_ALLOC_CC_SHARED",
        ),
        Difference(
            "sme_iommu_exempt",
            ((7, 3, 0),),
            "an SME host forces no device to unencrypted memory that is behind an IOMMU",
            "arch/x86/mm/mem_encrypt.c:force_dma_unencrypted, use_dma_iommu()",
        ),
        Difference(
            "remap_shares",
            ((7, 3, 0),),
            "coherent memory that is remapped (a non-coherent device) is shared as well",
            "f253a83ff94c; kernel/dma/direct.c:dma_direct_alloc",
        ),
        Difference(
            "pool_leaks_unshared",
            ((7, 3, 0),),
            "pages for an atomic pool that could not be shared are leaked, and not freed",
            "kernel/dma/pool.c:atomic_pool_expand",
        ),
        Difference(
            "pool_failure_disables",
            ((7, 3, 0),),
            "a swiotlb pool that cannot be shared is not used",
            "kernel/dma/swiotlb.c:swiotlb_update_mem_attributes",
        ),
        Difference(
            "realm_pool_scaled",
            ((7, 3, 0),),
            "the pool of a Realm with all RAM below the DMA limit is RAM/1024, 64 MiB at most",
            "arch/arm64/mm/init.c:arch_mm_preinit",
        ),
        Difference(
            "pool_size_tracked",
            ((7, 4, 0),),
            "swiotlb= is kept also where it names the default size",
            'af3857eac74e "Track whether the pool size was explicitly set"',
        ),
        Difference(
            "restricted_pool_kib",
            ((7, 4, 0),),
            "restricted DMA pools are printed in KiB",
            "0875ed8eea3b; kernel/dma/swiotlb.c:rmem_swiotlb_setup",
        ),
        Difference(
            "zero_based_iova",
            (),
            "where the host says so by a discovery bit, a device with T=0 gets addresses without "
            "the shared bit",
            'thread "dma-direct: Validate DMA mask against canonical DMA addresses", Jan 2026',
        ),
        Difference(
            "device_offsets",
            (),
            "each device has an offset of its own for shared and for private memory, which is "
            "added",
            "archdata.cc_shared_dma_offset, cc_private_dma_offset (SEV-TIO, 2026), not merged",
        ),
        Difference(
            "private_for_trusted",
            (),
            "a device that was accepted (T=1) is not forced to shared memory",
            "RME device assignment, RFC v1 04/38, Jul 2025: force_dma_unencrypted()",
        ),
        Difference(
            "canonical_mask_check",
            (),
            "dma_direct_supported() compares the mask with addresses without the shared bit",
            '"dma-direct: Validate DMA mask against canonical DMA addresses", Jan 2026, rejected',
        ),
    )
}

PROPOSALS = {
    PROPOSED + name.replace("_", "-"): name for name, d in DIFFERENCES.items() if not d.since
}
"""The kernels that nobody has released, and what each of them has besides `NEWEST`."""


@dataclass(frozen=True, slots=True)
class KernelPolicy:
    """Which conventions does one kernel release keep?

    Attributes:
        release: the release asked for, as (major, minor, patch); the one that a proposal changes.
        proposal: name of the one change that no release has, or of what is no Linux; empty for a
            release.

    All others are named differences, see `DIFFERENCES`.
    """

    release: Version
    proposal: str = ""
    realm_guest: bool = False
    alias_for_shared: bool = False
    canonical_before_lookup: bool = False
    dma_map_phys: bool = False
    pool_exhausted_said: bool = False
    pte_encoded_shared_bit: bool = False
    cc_shared_attr: bool = False
    capable_by_attrs: bool = False
    guest_mem_encrypt: bool = False
    pkvm_force_unencrypted: bool = False
    viommu_refuses_coherent: bool = False
    sme_iommu_exempt: bool = False
    remap_shares: bool = False
    pool_leaks_unshared: bool = False
    pool_failure_disables: bool = False
    realm_pool_scaled: bool = False
    pool_size_tracked: bool = False
    restricted_pool_kib: bool = False
    zero_based_iova: bool = False
    device_offsets: bool = False
    private_for_trusted: bool = False
    canonical_mask_check: bool = False

    def realm_scheme(self, ipa_bits: int, *, pa_bits_52: bool = False) -> Scheme:
        """Which bit does this kernel set for shared memory in a Realm of `ipa_bits`?

        Args:
            ipa_bits: width the RMM told it.
            pa_bits_52: built with CONFIG_ARM64_PA_BITS_52 and 4K pages (Debian: from 6.18 on).
        """
        wrong = self.pte_encoded_shared_bit and pa_bits_52
        return arm_cca(ipa_bits, prot_ns_shared=prot_ns_shared_pte(ipa_bits) if wrong else None)

    def has(self, name: str) -> bool:
        """Has it the difference of this name?"""
        return bool(getattr(self, name))

    def __str__(self) -> str:
        return self.proposal or written(self.release)


def written(release: Version) -> str:
    """How is a release written? "6.15", "6.14.2"; "6.14.0", where stable releases differ."""
    major, minor, patch = release
    return f"{major}.{minor}.{patch}" if patch or minor in (13, 14) else f"{major}.{minor}"


def parse_release(text: str, where: str = "kernel release") -> Version:
    """Which version does a release string ("6.18.15+deb13-cloud-arm64", "v6.15-rc3") name?

    Raises:
        UsageError: it does not begin with a version.
    """
    match = re.match(r"v?(\d+)\.(\d+)(?:\.(\d+))?", text.strip())
    if not match:
        raise UsageError(
            f"{text!r} is no kernel release", where=where, hint='write it as "6.15" or "6.14.2"'
        )
    major, minor, patch = match.groups()
    return int(major), int(minor), int(patch or 0)


def policy_for(release: str | Version) -> KernelPolicy:
    """Which conventions does this release keep?

    Args:
        release: "6.15", "6.18.15+deb13-cloud-arm64", (6, 15, 0), one of `PROPOSALS`, or `EDK2`.

    Raises:
        UsageError: `release` is no kernel release and no proposal.
    """
    if release == EDK2:
        return KernelPolicy(NEWEST, EDK2, realm_guest=True, canonical_before_lookup=True)
    if isinstance(release, str) and release.startswith(PROPOSED):
        if release not in PROPOSALS:
            raise UsageError(
                f"nobody proposed {release!r}", where="kernel", hint=nearest(release, PROPOSALS)
            )
        change: dict[str, Any] = {PROPOSALS[release]: True}
        return replace(policy_for(NEWEST), proposal=release, **change)
    version = parse_release(release) if isinstance(release, str) else release
    has: dict[str, Any] = {
        name: difference.is_in(version) for name, difference in DIFFERENCES.items()
    }
    return KernelPolicy(version, **has)


def differences(one: KernelPolicy, other: KernelPolicy) -> list[Difference]:
    """In what do the two kernels differ? In the order of their dates."""
    return [d for d in DIFFERENCES.values() if one.has(d.name) != other.has(d.name)]
