"""What does a kernel know of the confidential platform that it runs on?

The kernel asks cc_platform_has() and force_dma_unencrypted(dev); what they answer depends on the
platform, the release and the device. Eleven platforms differ in what says that a page is shared,
in whether that stands in device addresses, and in who is forced to shared memory.

Sources: Linux 7.2 and 7.3 arch/arm64/include/asm/mem_encrypt.h, arch/x86/coco/core.c:cc_mkenc,
arch/x86/coco/tdx/tdx.c:tdx_setup, arch/x86/hyperv/ivm.c:hv_vtom_init, arch/x86/mm/mem_encrypt.c,
arch/s390/mm/init.c, arch/powerpc/platforms/pseries/svm.c,
drivers/virt/coco/pkvm-guest/arm-pkvm-guest.c.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Literal

from topbit.addressing.kernel_policy import KernelPolicy
from topbit.addressing.scheme import NONE, SCHEMES, Scheme, amd_sev, amd_sme, sev_tio
from topbit.arch.ipa import IpaSpace
from topbit.errors import UsageError, nearest

SetMeans = Literal["shared", "private", ""]


@dataclass(frozen=True, slots=True)
class CcPlatform:
    """Which platform is it?

    Attributes:
        name: one of `SCHEMES`.
        scheme: what of it stands in device addresses.
        bit: number of the bit (or of the boundary) in guest physical addresses and page tables;
            None where pages are shared by call.
        set_means: what that bit says when it is set.
        guest: it is a guest (CC_ATTR_GUEST_MEM_ENCRYPT); an SME host is none.
        needs_access_platform: virtio devices without VIRTIO_F_ACCESS_PLATFORM are refused
            (virtio_check_mem_acc_cb); elsewhere they get raw private addresses, and hang.
    """

    name: str
    scheme: Scheme = NONE
    bit: int | None = None
    set_means: SetMeans = ""
    guest: bool = True
    needs_access_platform: bool = False

    @property
    def mem_encrypt(self) -> bool:
        """cc_platform_has(CC_ATTR_MEM_ENCRYPT): is a guest's or the host's memory encrypted?"""
        return self.name != "none"

    @property
    def host_mem_encrypt(self) -> bool:
        """cc_platform_has(CC_ATTR_HOST_MEM_ENCRYPT)?"""
        return self.mem_encrypt and not self.guest

    def guest_mem_encrypt(self, policy: KernelPolicy) -> bool:
        """cc_platform_has(CC_ATTR_GUEST_MEM_ENCRYPT)? x86 reported it all along."""
        x86 = self.name.startswith(("amd-", "snp-", "intel-", "hyperv", "sev-"))
        return self.guest and self.mem_encrypt and (x86 or policy.guest_mem_encrypt)

    def forces(self, policy: KernelPolicy) -> bool:
        """Does the architecture force each device of a guest to shared memory?

        Up to 7.2 by SWIOTLB_FORCE, from 7.3 on by force_dma_unencrypted() alone. A protected guest
        of pKVM relied on restricted DMA pools until 7.3.
        """
        if self.name == "arm-pkvm":
            return policy.pkvm_force_unencrypted
        if self.name == "arm-cca":
            return policy.realm_guest
        return self.guest and self.mem_encrypt

    def force_dma_unencrypted(
        self,
        policy: KernelPolicy,
        *,
        trusted: bool = False,
        coherent_dma_mask: int = (1 << 64) - 1,
        bus_dma_limit: int = 0,
        behind_iommu: bool = False,
    ) -> bool:
        """May a device with these properties only see shared memory?

        Args:
            policy: the kernel.
            trusted: it was accepted into the guest (T=1). No released kernel asks.
            coherent_dma_mask, bus_dma_limit: as in struct device.
            behind_iommu: use_dma_iommu(dev).
        """
        if self.host_mem_encrypt:
            # Only a device that cannot carry the C bit must do without it.
            limits = [limit for limit in (coherent_dma_mask, bus_dma_limit) if limit]
            narrow = min(limits) < self.scheme.encrypted_mask
            return narrow and not (behind_iommu and policy.sme_iommu_exempt)
        accepted = trusted and (policy.private_for_trusted or self.name == "sev-tio")
        return self.forces(policy) and not accepted

    def device_scheme(self, policy: KernelPolicy, *, trusted: bool = False) -> Scheme:
        """What does the kernel put into the addresses of one device?"""
        if self.name == "sev-tio" and not trusted:
            return NONE
        if self.name != "arm-cca":
            return self.scheme
        if policy.zero_based_iova and not trusted:
            return dataclasses.replace(self.scheme, unencrypted_mask=0)
        if policy.device_offsets:
            mask = self.scheme.unencrypted_mask
            return dataclasses.replace(self.scheme, unencrypted_mask=0, shared_offset=mask)
        return self.scheme


def cc_platform(
    name: str,
    policy: KernelPolicy,
    *,
    ipa_bits: int = 41,
    pa_bits_52: bool = False,
    bit: int | None = None,
) -> CcPlatform:
    """Which platform has this name, as the kernel `policy` sees it?

    Args:
        name: one of `SCHEMES`.
        policy: the kernel.
        ipa_bits, pa_bits_52: of a Realm, see `KernelPolicy.realm_scheme`.
        bit: the C bit, the shared bit or the boundary of the others; None: the usual one.

    Raises:
        UsageError: no such platform.
    """
    match name:
        case "arm-cca":
            scheme = policy.realm_scheme(ipa_bits, pa_bits_52=pa_bits_52)
            return CcPlatform(name, scheme, IpaSpace(ipa_bits).bit_number, "shared")
        case "arm-pkvm" | "power-svm":
            return CcPlatform(name)
        case "s390-pv":
            return CcPlatform(name, needs_access_platform=True)
        case "amd-sme":
            bit = 47 if bit is None else bit
            return CcPlatform(name, amd_sme(bit), bit, "private", guest=False)
        case "amd-sev" | "amd-sev-es" | "amd-sev-snp":
            bit = 51 if bit is None else bit
            scheme = dataclasses.replace(amd_sev(bit), name=name)
            return CcPlatform(name, scheme, bit, "private", needs_access_platform=True)
        case "snp-vtom" | "hyperv":
            bit = 46 if bit is None else bit
            return CcPlatform(name, Scheme(name), bit, "shared", needs_access_platform=True)
        case "intel-tdx":
            bit = 51 if bit is None else bit
            return CcPlatform(name, Scheme(name), bit, "shared", needs_access_platform=True)
        case "sev-tio":
            bit = 46 if bit is None else bit
            return CcPlatform(name, sev_tio(1 << bit), bit, "shared", needs_access_platform=True)
        case "none":
            return CcPlatform(name, guest=False)
    raise UsageError(f"no scheme is called {name!r}", hint=nearest(name, SCHEMES))
