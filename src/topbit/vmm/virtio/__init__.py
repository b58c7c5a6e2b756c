"""The devices that the VMM emulates: virtio-mmio registers, rings, and block, network, entropy.

Belongs here: what a device does with a ring. Every register value, ring and descriptor is the
guest's and may be anything.
Does not belong here: which memory a device reaches (`vmm/dma.py`), and QEMU's own devices.
"""
