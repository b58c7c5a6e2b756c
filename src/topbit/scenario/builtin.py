"""Which scenarios does topbit bring along?

`seed` is the system of the series with everything right; each of the others breaks one thing. The
matrix crosses the guest before and after the series with what VMMs do.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

from topbit.addressing.kernel_policy import EDK2
from topbit.errors import ScenarioError, nearest
from topbit.scenario.scenario import Scenario
from topbit.scenario.tables import DeviceSpec, GuestSpec, HostSpec, RealmSpec
from topbit.vmm.conventions import policy_of
from topbit.vmm.policy import Backing, MapFault, Masking, SmmuMap, VmmPolicy

NVME = DeviceSpec("nvme0")
TRUSTED = DeviceSpec("accel0", trusted=True, model="virtio-blk")
EMULATED = DeviceSpec("virtio0", kind="emulated")
WIRE = DeviceSpec("net0", model="virtio-net")
THREE = (NVME, TRUSTED, EMULATED)

BEFORE_THE_SERIES = "6.14.0"
AFTER_THE_SERIES = "6.15"


def _make(name: str, summary: str, **parts: Any) -> Scenario:
    return Scenario(name=name, summary=summary, **{"device": (NVME, EMULATED), **parts})


BUILTIN: dict[str, Callable[[], Scenario]] = {}


def _builtin(name: str, summary: str, **parts: Any) -> None:
    BUILTIN[name] = lambda: _make(name, summary, **parts)


_builtin(
    "seed",
    "everything right: Linux 6.15, alias mapped, shared bit masked",
    device=(*THREE, WIRE),
)
_builtin(
    "guest-before-fix",
    "Linux 6.14.0 gives devices the plain address; the VMM maps the alias",
    guest=GuestSpec(kernel=BEFORE_THE_SERIES),
)
_builtin(
    "vmm-maps-protected",
    "the VMM maps shared pages at the protected half, as before the convention",
    vmm=VmmPolicy(smmu_map=SmmuMap.PROTECTED),
)
_builtin(
    "vmm-maps-both",
    "the VMM maps shared pages at both halves",
    vmm=VmmPolicy(smmu_map=SmmuMap.BOTH),
)
_builtin("vmm-maps-nothing", "the VMM maps nothing for VFIO", vmm=VmmPolicy(smmu_map=SmmuMap.NONE))
_builtin(
    "vmm-does-not-mask",
    "an emulated device looks addresses up without masking the shared bit",
    vmm=VmmPolicy(masking=Masking.KEEP),
)
_builtin(
    "firmware-plain",
    "EDK2, before Linux, gives devices plain addresses; the VMM is kvmtool, which maps the alias",
    guest=GuestSpec(kernel=EDK2),
    vmm=policy_of("kvmtool"),
)
_builtin(
    "firmware-plain-mapped",
    "EDK2, before Linux, gives devices plain addresses; the VMM is NVIDIA's QEMU, which maps both",
    guest=GuestSpec(kernel=EDK2),
    vmm=policy_of("qemu-nvidia"),
)
_builtin(
    "trusted-aliased",
    "a trusted device uses shared memory at its alias, as the convention wants",
    device=(TRUSTED,),
)
_builtin(
    "trusted-masked",
    "a trusted device is given the address of a shared buffer without the shared bit",
    device=(TRUSTED,),
    guest=GuestSpec(kernel=BEFORE_THE_SERIES),
)
_builtin(
    "trusted-private",
    "a trusted device uses private memory (a convention that no kernel has yet)",
    device=(TRUSTED,),
    guest=GuestSpec(private_dma_for_trusted=True),
)
_builtin(
    "trusted-without-dma",
    "the guest accepts a trusted device without enabling its DMA",
    device=(TRUSTED,),
    guest=GuestSpec(accept="no-dma"),
)
_builtin(
    "trusted-too-early",
    "a trusted device is used before the guest has accepted it",
    device=(TRUSTED,),
    guest=GuestSpec(accept="late"),
)
_builtin(
    "trusted-unlocked-mapped",
    "the host takes a trusted device back while its registers are mapped: the RMM refuses",
    device=(TRUSTED,),
    host=HostSpec(disable_stream="accel0", unlocks_mapped=True),
)
_builtin(
    "trusted-changed",
    "a device that asks to be trusted measures other firmware than the guest knows",
    device=(dataclasses.replace(TRUSTED, behaviour="changes-measurement"),),
)
_builtin(
    "trusted-page-destroyed",
    "the host withdraws a private page that an accepted device uses",
    device=(TRUSTED,),
    guest=GuestSpec(private_dma_for_trusted=True),
    host=HostSpec(destroy_page="private"),
)
_builtin(
    "stale-mapping",
    "a page turns private although the VMM's unmap failed; the device still writes to it",
    device=(dataclasses.replace(NVME, behaviour="stale"),),
    vmm=VmmPolicy(map_fault=MapFault.UNMAP, fail_closed=False, backing=Backing.IN_PLACE),
)
_builtin(
    "map-failure-ignored",
    "VFIO maps fail and the VMM converts the pages all the same",
    vmm=VmmPolicy(map_fault=MapFault.MAP, fail_closed=False),
)
_builtin(
    "map-failure",
    "VFIO maps fail and the VMM refuses the conversion: Linux asks for ever",
    vmm=VmmPolicy(map_fault=MapFault.MAP),
)
_builtin(
    "missing-invalidate",
    "the VMM unmaps without invalidating the SMMU's TLB; the device still writes",
    device=(dataclasses.replace(NVME, behaviour="stale"),),
    vmm=VmmPolicy(invalidate=False, backing=Backing.IN_PLACE),
)
_builtin(
    "stale-translation",
    "as missing-invalidate, with private and shared pages in different memory",
    device=(NVME, DeviceSpec("edu0", model="edu", behaviour="stale")),
    vmm=VmmPolicy(invalidate=False),
)
_builtin(
    "doorbell-unmapped",
    "the VMM does not map the MSI doorbell: the device's interrupts are lost",
    device=(DeviceSpec("rng0", model="virtio-rng"),),
    vmm=VmmPolicy(msi_doorbell=False),
)
_builtin(
    "lying-rmm",
    "the RMM tells the Realm a wrong IPA width, and the Realm uses a wrong shared bit",
    device=(NVME,),
    realm=RealmSpec(told_ipa_bits=40),
)
_builtin(
    "private-page-destroyed",
    "the host takes a private page away in the middle of the work",
    device=(NVME,),
    host=HostSpec(destroy_page="private"),
)
_builtin(
    "shared-page-destroyed",
    "the host unmaps a shared page in the middle of the work",
    device=(NVME,),
    host=HostSpec(destroy_page="shared"),
)
_builtin(
    "stream-disabled",
    "the host makes a device's stream invalid in the middle of the work",
    device=(NVME,),
    host=HostSpec(disable_stream="nvme0"),
)
_builtin(
    "events-lost",
    "nothing is mapped for devices, and the host leaves the SMMU's small event queue full",
    device=(NVME,),
    vmm=VmmPolicy(smmu_map=SmmuMap.NONE),
    host=HostSpec(event_queue=4, reads_events=False),
)
_builtin(
    "use-after-unmap",
    "a device writes to a buffer after the driver unmapped it",
    device=(dataclasses.replace(NVME, behaviour="stale"),),
)
_builtin(
    "wild-address",
    "a device sets address bits above the IPA space: it must fault, never wrap",
    device=(dataclasses.replace(NVME, behaviour="wild"),),
)
_builtin(
    "narrow-mask",
    "a device with a 32-bit DMA mask cannot drive the shared bit",
    device=(dataclasses.replace(NVME, dma_mask_bits=32, address_bits=32),),
)
_builtin(
    "narrow-lines",
    "a device loses the shared bit: 32 address lines, but its driver claims 64",
    device=(dataclasses.replace(NVME, address_bits=32),),
)
_builtin(
    "dma-ranges",
    "a bus with dma-ranges; the bit is cleared before the range lookup",
    device=(dataclasses.replace(NVME, dma_offset=0x4000_0000),),
)
_builtin(
    "dma-ranges-old-order",
    "a bus with dma-ranges; dma_to_phys() clears the bit after the range lookup",
    device=(dataclasses.replace(NVME, dma_offset=0x4000_0000),),
    guest=GuestSpec(canonical_before_lookup=False),
)
_builtin(
    "wide-ipa",
    "52 IPA bits on a kernel that ORs the page-table form of the shared bit into addresses",
    device=(EMULATED,),
    realm=RealmSpec(ipa_bits=52),
    guest=GuestSpec(kernel="7.3"),
)


def builtin_names() -> list[str]:
    """Which built-in scenarios are there, in the order of their story?"""
    return list(BUILTIN)


def builtin(name: str) -> Scenario:
    """Which scenario has this name?

    Raises:
        ScenarioError: none has.
    """
    if name not in BUILTIN:
        raise ScenarioError(f"no built-in scenario {name!r}", hint=nearest(name, BUILTIN))
    return BUILTIN[name]()


def matrix(conventions: Sequence[str] = ()) -> list[Scenario]:
    """Which scenarios cross the guest before and after the series with what VMMs do?

    Each has the three kinds of devices: assigned and untrusted, assigned and trusted, emulated.

    Args:
        conventions: names of VMMs' conventions (`topbit.vmm.conventions`) to cross instead; then
            EDK2, which comes before Linux, is a guest as well.

    Raises:
        UsageError: no convention has such a name.
    """
    policies = [
        *(VmmPolicy(smmu_map=where) for where in SmmuMap),
        VmmPolicy(masking=Masking.KEEP),
    ]
    kernels = [BEFORE_THE_SERIES, AFTER_THE_SERIES]
    if conventions:
        policies = [policy_of(name) for name in conventions]
        kernels.append(EDK2)
    return [
        Scenario(
            name=f"matrix {kernel} {vmm.convention or f'{vmm.smmu_map} {vmm.masking}'}",
            guest=GuestSpec(kernel=kernel),
            vmm=vmm,
            device=THREE,
        )
        for kernel in kernels
        for vmm in policies
    ]
