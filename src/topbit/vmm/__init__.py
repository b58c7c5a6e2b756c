"""The VMM: what it decides about its guest's memory and devices, and what it emulates.

Belongs here: memory slots, page conversion, VFIO mappings, emulated devices and how they reach
guest memory, named policies, power requests.
Does not belong here: how a host kernel does it (`topbit.host`); anything that only the guest knows.

**The one place where the host adds the shared bit** is `vfio.VfioContainer.iovas`;
**the one place where the VMM masks it** is `dma.EmulatedDma.canonical`.
"""
