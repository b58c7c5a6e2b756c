"""What do crosvm, cloud-hypervisor and their like print about devices' access to memory?

Sources: crosvm devices/src/virtio/queue.rs with protected VMs, as public reports have it;
cloud-hypervisor pci/src/vfio.rs, vmm/src/device_manager.rs.
"""

from __future__ import annotations

import re

from topbit.events import Event
from topbit.readers.kernel_log.message import HEX, Family, attributes, number, trouble

LENT = re.compile(rf"host access to lent memory region at {HEX}(?: \(purpose=(\w{{1,40}})\))?")
ADDRESS = re.compile(rf"\b(?:iova|gpa|addr(?:ess)?|at)[:= ]{{1,3}}{HEX}", re.I)
MAP = re.compile(r"(un)?map", re.I)
FAILS = re.compile(r"error|fail|invalid|cannot|not (?:mapped|permitted|found)|denied", re.I)


def _lent(text: str) -> Event:
    match = LENT.search(text)
    address = number(match[1]) if match else None
    purpose = match[2] if match else None
    return trouble("private_access", text, phys=address, attrs=attributes(purpose=purpose))


def _vfio(text: str) -> Event | None:
    if not FAILS.search(text):
        return None
    match, address = MAP.search(text), ADDRESS.search(text)
    kind = "vfio_unmap" if match and match[1] else "vfio_map"
    return trouble(kind, text, address=number(address[1]) if address else None)


def _memory(text: str) -> Event | None:
    if not FAILS.search(text):
        return None
    address = ADDRESS.search(text)
    return trouble("vmm_dma", text, phys=number(address[1]) if address else None)


FAMILIES = (
    Family(("lent memory",), _lent),
    Family(
        (
            "VfioDmaMap",
            "VfioDmaUnmap",
            "IommuDmaMap",
            "IommuDmaUnmap",
            "vfio_dma_map",
            "dma_map error",
            "vfio dma",
            "VFIO DMA",
            "map DMA",
            "DMA map",
            "VfioMapRegionGuest",
        ),
        _vfio,
    ),
    Family(
        (
            "InvalidGuestAddress",
            "GuestMemoryError",
            "translate gva",
            "address translation failed",
            "virtio queue address",
        ),
        _memory,
    ),
)
SIGNS = (
    " devices::", "crosvm", "cloud-hypervisor", "cloud_hypervisor", "vmm::", "virtio-devices/src",
    "firecracker", "virtio_devices::",
)  # fmt: skip
