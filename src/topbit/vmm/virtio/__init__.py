"""The devices that the VMM emulates: virtio-mmio registers, rings, and block, network, entropy.

Every register value, ring and descriptor is the guest's and may be anything.
"""
