"""The DMA masters of the model: devices that sit on the bus behind the SMMU.

Belongs here: untrusted, trusted, narrow and misbehaving devices, and nothing but what such a
device knows: the addresses that its driver gave it.
Does not belong here: emulated devices (they are part of the VMM), and who is right.
"""
