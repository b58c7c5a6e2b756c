"""Which kinds of DMA trouble do logs tell of, and whose matter is each usually?

A line that tells of trouble and has no kind of event of its own becomes an event of kind
`trouble`; its `status` is one of the names here. A kind is named after what happened, not after
one driver's wording: all spellings of a message have one name.

Sources: Linux 6.1, 6.12, 7.2 and 7.3, the files named at each reader in
`topbit.readers.kernel_log`; QEMU 10.0 hw/vfio, kvmtool, crosvm for the VMMs'.
"""

from __future__ import annotations

from dataclasses import dataclass

from topbit.events import Agent

TROUBLE_KINDS = ("trouble", "smmu_event", "smmu_lost", "swiotlb_full")
"""The kinds of events that tell of trouble."""


@dataclass(frozen=True, slots=True)
class Trouble:
    """What does one kind of trouble tell?

    Attributes:
        tells: one sentence.
        matter_of: which agent it usually concerns. It is no verdict: a rule gives those.
        refused: a device's access was refused; `address` is what it used, `device` who it was.
        follows: it is what came of other trouble of the same device, not what went wrong.
    """

    tells: str
    matter_of: Agent
    refused: bool = False
    follows: bool = False


TROUBLES: dict[str, Trouble] = {
    # The DMA API and its bounce buffers.
    "dma_overflow": Trouble("A buffer's DMA address does not fit the device's mask.", "guest"),
    "bounce_overflow": Trouble(
        "A bounce buffer's DMA address does not fit the device's mask or its bus.", "guest"
    ),
    "bounce_failed": Trouble("A buffer could not be bounced.", "guest"),
    "pool_missing": Trouble("There is no bounce pool, or not the wanted one.", "guest"),
    "pool_disabled": Trouble("The bounce pool could not be shared and is not used.", "guest"),
    "bounce_sync": Trouble("More was synchronised than a bounce buffer holds.", "guest"),
    "map_failed": Trouble("A driver's DMA mapping or allocation failed.", "guest", follows=True),
    "mask_refused": Trouble("A driver's DMA mask was refused.", "guest"),
    "atomic_pool": Trouble("The pool for atomic DMA allocations is missing or too small.", "guest"),
    "dma_debug": Trouble("A driver broke the rules of the DMA API (DMA_API_DEBUG).", "guest"),
    "virtio_refused": Trouble(
        "A virtio device was refused: it bypasses the DMA API (no VIRTIO_F_ACCESS_PLATFORM).",
        "vmm",
    ),
    "device_given_up": Trouble("A device was given up after failed DMA.", "guest", follows=True),
    "timeout": Trouble("A device did not answer in time.", "device", follows=True),
    "io_failed": Trouble("A transfer between a device and memory failed.", "device", follows=True),
    "hung": Trouble("A task waits for what does not come.", "guest", follows=True),
    "ring": Trouble("A virtio ring holds what its other side did not write there.", "vmm"),
    "device_untrusted": Trouble("A device is not the one that the guest would trust.", "device"),
    # Shared and private memory.
    "share_failed": Trouble("Memory could not be made shared or private.", "guest"),
    "leaked": Trouble("Memory is lost, since it could not be made private again.", "guest"),
    "rsi_version": Trouble("The RMM and the kernel speak no common version of RSI.", "firmware"),
    "rmi_version": Trouble("The RMM and the host speak no common version of RMI.", "firmware"),
    "ripas": Trouble("The state of the Realm's memory could not be set up.", "rmm"),
    "realm_create": Trouble("The confidential VM could not be created.", "host"),
    "private_access": Trouble("An agent of the host reached for private memory.", "vmm"),
    "granule_protection": Trouble("Granule protection refused an access.", "host", refused=True),
    "rmp_update": Trouble("The host could not change the owner of a page (RMPUPDATE).", "host"),
    "rmp_fault": Trouble("The RMP refused an access of the host or a device.", "host"),
    "conversion_stopped": Trouble("Shared pages may be left over for the next kernel.", "guest"),
    # IOMMUs.
    "amd_vi": Trouble("An AMD IOMMU refused a device's access.", "host", refused=True),
    "amd_vi_rmp": Trouble(
        "An AMD IOMMU refused a device's access to a page that is private or another's (RMP).",
        "host",
        refused=True,
    ),
    "amd_vi_event": Trouble("An AMD IOMMU logged an event that is no refused access.", "host"),
    "dmar": Trouble("An Intel IOMMU refused a device's access.", "host", refused=True),
    "dmar_interrupt": Trouble("An Intel IOMMU refused an interrupt request.", "host"),
    "dmar_error": Trouble("An Intel IOMMU reported an error of its own queues.", "host"),
    "smmu_v2": Trouble("An SMMUv2 refused a device's access.", "host", refused=True),
    "smmu_v2_global": Trouble("An SMMUv2 reported a fault of no context.", "host"),
    "smmu_error": Trouble("An SMMUv3 reported an error of its own queues or tables.", "host"),
    "smmu_timeout": Trouble("An SMMUv3 did not do a command in time.", "host"),
    "smmu_pri": Trouble("A device asked for a page that nobody gives it (PRI).", "host"),
    "iommu_fault": Trouble("An IOMMU refused a device's access.", "host", refused=True),
    "suppressed": Trouble("More messages of this kind were left out by a rate limit.", "host"),
    # VMMs.
    "vfio_map": Trouble("The VMM could not map memory for an assigned device.", "vmm"),
    "vfio_unmap": Trouble("The VMM could not unmap memory of an assigned device.", "vmm"),
    "conversion": Trouble("The VMM could not make memory shared or private.", "vmm"),
    "vmm_smmu": Trouble("The VMM's own model of an IOMMU refused a device's access.", "guest"),
    "vmm_dma": Trouble("The VMM could not reach the memory that a device named.", "guest"),
}
"""Every name that the status of a `trouble` event can have."""

BY_THEMSELVES: dict[str, Trouble] = {
    "smmu_event": Trouble("An IOMMU refused a device's access.", "host", refused=True),
    "smmu_lost": Trouble("Event records of an SMMU were lost.", "host"),
    "swiotlb_full": Trouble("The bounce pool had no room for a buffer.", "guest"),
}
"""What tell the kinds of events that are trouble by themselves?"""


def trouble_of(event: str, status: str | None) -> Trouble:
    """What does an event of one of `TROUBLE_KINDS` tell?"""
    if event in BY_THEMSELVES:
        return BY_THEMSELVES[event]
    return TROUBLES.get(status or "", Trouble("A line tells of DMA trouble.", "guest"))
