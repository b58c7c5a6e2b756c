"""Which bit of an address says shared or private, and which way round?

A scheme is masks. `dma_addr_encrypted()` ORs one, `dma_addr_unencrypted()` ORs another and
`dma_addr_canonical()` clears both; most schemes have none of them, because there the attribute
never reaches a device address.

Sources: Linux 7.2 include/linux/mem_encrypt.h, arch/arm64/include/asm/mem_encrypt.h,
arch/x86/include/asm/mem_encrypt.h, arch/x86/coco/core.c:cc_mkenc. Series "arm64: realm: Fix DMA
address for devices", patches 2/3 (b66e2ee7b6c8) and 3/3 (7d953a062416).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from topbit.arch.ipa import IpaSpace

if TYPE_CHECKING:
    import numpy
    from numpy.typing import NDArray

Address = TypeVar("Address", int, "NDArray[numpy.uint64]")

U64 = (1 << 64) - 1


@dataclass(frozen=True, slots=True)
class Scheme:
    """How does one kind of confidential VM mark shared and private memory in addresses?

    Attributes:
        name: one of `SCHEMES`.
        encrypted_mask: bits that a private (encrypted) page's device address carries.
        unencrypted_mask: bits that a shared (unencrypted, decrypted) page's carries.
        ipa_bits: width of the guest's address space (arm-cca), else None.
        shared_offset: what is added to a shared page's address, instead of a bit that is set: what
            lies from there on is shared (proposed, SEV-TIO; 0: nothing).
    """

    name: str
    encrypted_mask: int = 0
    unencrypted_mask: int = 0
    ipa_bits: int | None = None
    shared_offset: int = 0

    @property
    def attribute_mask(self) -> int:
        """Which bits are an attribute and no part of the address?"""
        return self.encrypted_mask | self.unencrypted_mask


NONE = Scheme("none")

SCHEMES = {
    "arm-cca": "An Arm CCA Realm: the top bit of an IPA set means shared, in DMA addresses too.",
    "arm-pkvm": "A guest of Android's pKVM: pages are shared by call, no bit says so.",
    "amd-sme": "An AMD host with SME: the C bit set means encrypted, in DMA addresses too.",
    "amd-sev": "An AMD SEV guest: all DMA is to shared memory, without the C bit.",
    "amd-sev-es": "As SEV, with encrypted registers.",
    "amd-sev-snp": "As SEV-ES, with the RMP, which says whose each page is.",
    "snp-vtom": "An SEV-SNP guest with a boundary: what lies above vTOM is shared; not in DMA.",
    "intel-tdx": "An Intel TDX guest: the shared bit of a GPA is not in its DMA addresses.",
    "hyperv": "An isolated guest of Hyper-V: a boundary, as vTOM; not in DMA addresses.",
    "s390-pv": "An s390 guest under Secure Execution: pages are shared by call, no bit says so.",
    "power-svm": "A POWER secure VM: pages are shared by call, no bit says so.",
    "sev-tio": "An SEV-SNP guest with an accepted TDISP device: vTOM of its own (proposed).",
    "none": "No confidential computing: bare metal, or a plain guest.",
}
"""Every scheme's name, and which bit means what (Linux 7.2, the files named above, and
arch/arm64/kernel/rsi.c, arch/x86/coco/, arch/x86/hyperv/ivm.c, arch/s390/mm/init.c,
arch/powerpc/platforms/pseries/svm.c)."""


def arm_cca(ipa_bits: int, *, prot_ns_shared: int | None = None) -> Scheme:
    """Which scheme has a Realm with `ipa_bits` wide IPA space? Top bit set = shared.

    Args:
        ipa_bits: RsiRealmConfig.ipa_width, 32 to 52.
        prot_ns_shared: what the kernel ORs into addresses instead of the true bit (see
            `prot_ns_shared_pte`); only for modelling kernels that get it wrong.

    Raises:
        UsageError: no such width.
    """
    space = IpaSpace(ipa_bits)
    mask = space.shared_bit if prot_ns_shared is None else prot_ns_shared
    return Scheme("arm-cca", unencrypted_mask=mask, ipa_bits=ipa_bits)


def amd_sme(c_bit: int = 47) -> Scheme:
    """Which scheme has an AMD SME host? Bit `c_bit` set = encrypted (CPUID 0x8000001F)."""
    return Scheme("amd-sme", encrypted_mask=1 << c_bit)


def amd_sev(c_bit: int = 51) -> Scheme:
    """Which scheme has an AMD SEV guest? As SME, but all DMA is unencrypted."""
    return Scheme("amd-sev", encrypted_mask=1 << c_bit)


def sev_tio(vtom: int = 1 << 46) -> Scheme:
    """Which scheme has an accepted TDISP device of an SEV-SNP guest? Above `vtom` is shared.

    The device table entry has its own vTOM, 31 bits from bit 21; the proposal adds it to a shared
    page's address and compares, it does not set a bit.
    Source: archdata.cc_shared_dma_offset (AMD, 2026), not merged.
    """
    return Scheme("sev-tio", shared_offset=vtom)


def prot_ns_shared_pte(ipa_bits: int, page_shift: int = 12) -> int:
    """What is the shared bit when it is written as page-table bits, with 52-bit PAs?

    With CONFIG_ARM64_PA_BITS_52 a PTE keeps the high address bits in low bits: [9:8] with 4K and
    16K pages (LPA2), [15:12] with 64K. A kernel that ORs this value into a dma_addr_t sets a wrong
    bit from 51 (64K: 49) IPA bits on.

    Source: Linux 7.2 arch/arm64/include/asm/pgtable.h:__phys_to_pte_val; commit 8c6e9b60f5c7
    "arm64: realm: Fix PTE_NS_SHARED for 52bit PA support"; observed on Linux 7.2.13 and 7.3.4 with
    51 and 52 IPA bits (0x100, 0x200).
    """
    phys = IpaSpace(ipa_bits).shared_bit
    shift, high = (36, 0xF000) if page_shift == 16 else (42, 0x300)
    low = ((1 << 50) - 1) & ~((1 << page_shift) - 1)
    return (phys & low) | ((phys >> shift) & high)


def without_top_bit(addresses: NDArray[numpy.uint64]) -> NDArray[numpy.uint64]:
    """What is left of each of these addresses, none of which is 0, without its highest bit?"""
    import numpy as np
    import polars as pl

    zeros = pl.Series(addresses).bitwise_leading_zeros().to_numpy().astype(np.uint64)
    return addresses ^ (np.uint64(1) << (np.uint64(63) - zeros))


def _or(x: Address, mask: int) -> Address:
    if isinstance(x, int):
        return x | mask
    import numpy as np

    return x | np.uint64(mask)


def _clear(x: Address, mask: int) -> Address:
    if isinstance(x, int):
        return x & ~mask
    import numpy as np

    return x & np.uint64(U64 ^ mask)


def _add(x: Address, offset: int) -> Address:
    if isinstance(x, int):
        return x if x == U64 else x + offset & U64
    import numpy as np

    return np.where(x == np.uint64(U64), x, x + np.uint64(offset))


def _subtract(x: Address, offset: int) -> Address:
    if isinstance(x, int):
        return x - offset if x >= offset else x
    import numpy as np

    return np.where(x >= np.uint64(offset), x - np.uint64(offset), x)


def dma_addr_encrypted(scheme: Scheme, x: Address) -> Address:
    """Which device address has the private (encrypted) page whose bus address is `x`?

    Source: Linux include/linux/mem_encrypt.h; identity for Arm CCA, `x | sme_me_mask` for AMD.
    """
    return _or(x, scheme.encrypted_mask)


def dma_addr_unencrypted(scheme: Scheme, x: Address) -> Address:
    """Which device address has the shared (unencrypted) page whose bus address is `x`?

    Source: Linux arch/arm64/include/asm/mem_encrypt.h: `x | PROT_NS_SHARED`; identity for AMD. An
    offset leaves DMA_MAPPING_ERROR what it is, as a bit does.
    """
    x = _or(x, scheme.unencrypted_mask)
    return _add(x, scheme.shared_offset) if scheme.shared_offset else x


def dma_addr_canonical(scheme: Scheme, x: Address) -> Address:
    """Which bus address is meant by the device address `x`, whatever its attribute?

    Clears exactly the attribute bit and no other: an address above the IPA space must fault, not
    wrap onto valid memory. DMA_MAPPING_ERROR is no address: test for it before asking.

    Source: Linux include/linux/mem_encrypt.h, arch/arm64/include/asm/mem_encrypt.h.
    """
    x = _clear(x, scheme.attribute_mask)
    return _subtract(x, scheme.shared_offset) if scheme.shared_offset else x
