"""A scenario's devices: of each kind that the guest works with at least one."""

EVERY_DEVICE = """
[[device]]
name = "nvme0"
[[device]]
name = "disk0"
model = "virtio-blk"
[[device]]
name = "virtio0"
kind = "emulated"
[[device]]
name = "net0"
model = "virtio-net"
[[device]]
name = "rng0"
model = "virtio-rng"
"""
