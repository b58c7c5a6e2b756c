"""Which conventions do VMMs keep that people use? Each policy has a name and a source.

On KVM all of them also have what the host kernel does itself: it masks the shared bit off a
faulting address (kvm_gpa_from_fault), so that registers are found at either address.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from topbit.errors import UsageError, nearest
from topbit.vmm.policy import Masking, SmmuMap, VmmPolicy


@dataclass(frozen=True, slots=True)
class Convention:
    """What does one VMM do, and who says so?

    Attributes:
        name: how scenarios call it (`vmm.convention`).
        summary: one line for people.
        source: branch, thread or pull request.
        policy: what the VMM does.
    """

    name: str
    summary: str
    source: str
    policy: VmmPolicy


CONVENTIONS = {
    convention.name: convention
    for convention in (
        Convention(
            "kvmtool",
            "kvmtool with its two patches: VFIO at the alias, the shared bit masked",
            "kvmtool-cca, branch cca/guest-dma-alias/v1: ea37a6eb968a, 8afd0d5e6a7e",
            VmmPolicy(SmmuMap.ALIAS, Masking.MASK),
        ),
        Convention(
            "kvmtool-before",
            "kvmtool without them: RAM is registered once, at the protected address, for VFIO and "
            "vhost alike",
            "kvmtool vfio/core.c:vfio_map_mem_bank, kvm.c:guest_flat_to_host",
            VmmPolicy(SmmuMap.PROTECTED, Masking.KEEP),
        ),
        Convention(
            "qemu-rfc",
            "QEMU's realm-dma-region: VFIO at the alias, either address for emulated devices, also "
            "to private pages; a failed VFIO operation fails nothing",
            '"target/arm/kvm-rme: Add DMA remapping for the shared memory region" (RFC)',
            VmmPolicy(SmmuMap.ALIAS, Masking.MASK, fail_closed=False, only_shared=False),
        ),
        Convention(
            "qemu-nvidia",
            "NVIDIA's QEMU: both addresses, only while the page is shared; failures fail the "
            "conversion",
            "NVIDIA/QEMU pull request 40 (Sep 2026)",
            VmmPolicy(SmmuMap.BOTH, Masking.MASK),
        ),
        Convention(
            "plain",
            "plain addresses only: one with the shared bit resolves to nothing",
            "a fork of QEMU that emulates Realms, x-cca-dma=plain",
            VmmPolicy(SmmuMap.PROTECTED, Masking.KEEP),
        ),
    )
}
CONVENTIONS = {
    name: replace(found, policy=replace(found.policy, convention=name))
    for name, found in CONVENTIONS.items()
}


def policy_of(name: str) -> VmmPolicy:
    """Which policy has the convention of this name?

    Raises:
        UsageError: no convention has it.
    """
    if name not in CONVENTIONS:
        raise UsageError(f"no VMM's convention is called {name!r}", hint=nearest(name, CONVENTIONS))
    return CONVENTIONS[name].policy
