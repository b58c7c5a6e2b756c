"""The host side that a VMM and its host kernel own: memory, page conversion, device mappings.

Belongs here: memory slots, the Realm's creation and its exits, page conversion, the host's SMMU
set-up, VFIO mappings, emulated devices and how they reach guest memory, named VMM policies.
Does not belong here: anything that only the guest knows.

**The one place where the host adds the shared bit** is `vfio.VfioContainer.iovas`;
**the one place where the VMM masks it** is `dma.EmulatedDma.canonical`.
"""
