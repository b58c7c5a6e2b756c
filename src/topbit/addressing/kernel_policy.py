"""What does a given kernel release do with DMA addresses in a Realm?

One dated row per behaviour, so that a model guest can be any kernel and a report can say which
release mends a fault.

Sources: Linux sources of 6.1 to 7.3 and the stable trees; commit ids at each row.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from topbit.addressing.scheme import Scheme, arm_cca, prot_ns_shared_pte
from topbit.errors import UsageError

Version = tuple[int, int, int]

FIRST_REALM_GUEST: Version = (6, 13, 0)  # commit 5e9fa3a5e9e6's series, arch/arm64/kernel/rsi.c
ALIAS_RELEASES = "6.15, 6.14.2 or 6.13.11"  # 7d953a062416 and its stable backports


@dataclass(frozen=True, slots=True)
class KernelPolicy:
    """Which conventions does one kernel release keep?

    Attributes:
        release: the release asked for, as (major, minor, patch).
        realm_guest: it can run as a Realm at all (>= 6.13).
        alias_for_shared: DMA to shared memory carries the shared bit (patch 3/3:
            7d953a062416; 6.15, stable 6.14.2 and 6.13.11).
        canonical_before_lookup: dma_to_phys() clears the attribute bit before the dma-ranges
            lookup (patch 1/3: c380931712d1; the same releases).
        pte_encoded_shared_bit: PROT_NS_SHARED is a page-table value (8c6e9b60f5c7: 7.0, stable
            6.19.10), which the DMA helpers then OR into addresses.
        swiotlb_force: a Realm's swiotlb pool is created with SWIOTLB_FORCE (up to 7.2); later
            dma_capable() refuses private memory instead (7.3).
    """

    release: Version
    realm_guest: bool
    alias_for_shared: bool
    canonical_before_lookup: bool
    pte_encoded_shared_bit: bool
    swiotlb_force: bool

    def realm_scheme(self, ipa_bits: int, *, pa_bits_52: bool = False) -> Scheme:
        """Which bit does this kernel set for shared memory in a Realm of `ipa_bits`?

        Args:
            ipa_bits: width the RMM told it.
            pa_bits_52: built with CONFIG_ARM64_PA_BITS_52 and 4K pages (Debian: from 6.18 on).
        """
        wrong = self.pte_encoded_shared_bit and pa_bits_52
        return arm_cca(ipa_bits, prot_ns_shared=prot_ns_shared_pte(ipa_bits) if wrong else None)

    def __str__(self) -> str:
        major, minor, patch = self.release
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

    Raises:
        UsageError: `release` is no kernel release.
    """
    v = parse_release(release) if isinstance(release, str) else release
    fixed = v >= (6, 15, 0) or (6, 14, 2) <= v < (6, 15, 0) or (6, 13, 11) <= v < (6, 14, 0)
    return KernelPolicy(
        release=v,
        realm_guest=v >= FIRST_REALM_GUEST,
        alias_for_shared=fixed,
        canonical_before_lookup=fixed,
        pte_encoded_shared_bit=v >= (7, 0, 0) or (6, 19, 10) <= v < (6, 20, 0),
        swiotlb_force=v < (7, 3, 0),
    )
