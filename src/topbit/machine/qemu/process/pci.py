"""Which PCI devices of QEMU stand behind the SMMU, and what are they called where?

A device at slot N of the root bus is 0000:00:N.0 for the guest kernel, and its StreamID is its
PCI requester ID, bus << 8 | N << 3 (QEMU: hw/arm/virt.c:create_pcie, one-to-one iommu-map).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from topbit.errors import UsageError
from topbit.machine.qemu.process.pci_model import DISK, NET, PciModel, model_of

VIRTIO_MODULES = {
    "virtio-blk": "virtio_blk",
    "virtio-net": "virtio_net",
    "virtio-rng": "virtio-rng",
}
SLOTS = 31  # of the root bus; slot 0 is the host bridge


def pci_name(slot: int, bus: int = 0) -> str:
    """What does the kernel call the device in this slot?"""
    return f"0000:{bus:02x}:{slot:02x}.0"


@dataclass(frozen=True, slots=True)
class PciDevice:
    """Which device is it, and where?

    Attributes:
        model: as `model_of` takes it.
        slot: slot on the root bus, 1 to 31.
        image: the disk's image, for disks.
        kind: form of the image, as QEMU calls it.
        snapshot: what is written goes to a temporary file, the image stays as it is.
        forward: for network devices: what QEMU's user network connects to further
            (``guestfwd=...``); everything else is cut off from the world.
        bus: 0, or the device stands behind a root port at `slot`, on this bus: the kernel counts
            the buses behind root ports from 1, in the order of their slots.
        trusted: accepted into the Realm: its stream walks the Realm's own table.
    """

    model: str
    slot: int
    image: Path | None = None
    forward: str = ""
    bus: int = 0
    trusted: bool = False
    kind: str = "raw"
    snapshot: bool = False

    def __post_init__(self) -> None:
        is_disk = model_of(self.model).is_disk
        if not 1 <= self.slot <= SLOTS:
            raise UsageError(f"slot {self.slot} of a PCI bus", hint=f"give 1 to {SLOTS}")
        if (self.image is None) == is_disk:
            raise UsageError(f"an image is what disks have, and no other device: {self.model}")

    @property
    def kind_of_device(self) -> PciModel:
        """Which device is it, for QEMU and for Linux?"""
        return model_of(self.model)

    @property
    def _described(self) -> str:
        name = f"device{self.slot}"
        return self.kind_of_device.device.replace(DISK, name).replace(NET, name)

    @property
    def name(self) -> str:
        """What does the guest kernel call it?"""
        return pci_name(0 if self.bus else self.slot, self.bus)

    @property
    def sid(self) -> int:
        """Which StreamID has it?"""
        return self.bus << 8 if self.bus else self.slot << 3

    @property
    def port_sid(self) -> int | None:
        """Which StreamID has the root port before it, which sends interrupts of its own?"""
        return self.slot << 3 if self.bus else None

    @property
    def id(self) -> str:
        """What does QEMU call it, behind a root port?"""
        return f"plug{self.slot}"

    @property
    def plugged(self) -> str:
        """Which description of QEMU's plugs it in behind its root port? (device_add)"""
        return f"{self._described},id={self.id},bus=port{self.slot},addr=0"

    def arguments(self) -> list[str]:
        """Which options of QEMU make it?"""
        name = f"device{self.slot}"
        arguments = []
        if self.image is not None:
            path = str(self.image).replace(",", ",,")
            form = f"format={self.kind}" + ",snapshot=on" * self.snapshot
            arguments = ["-drive", f"file={path},if=none,id={name},{form}"]
            if self.bus:  # a drive would go with its device
                file = f"file.driver=file,file.filename={path}"
                arguments = ["-blockdev", f"driver={self.kind},node-name={name},{file}"]
        elif self.kind_of_device.is_wire:
            forward = f",{self.forward}" if self.forward else ""
            arguments = ["-netdev", f"user,id={name},restrict=on{forward}"]
        if not self.bus:
            return [*arguments, "-device", f"{self._described},addr=0x{self.slot:x}"]
        port = f"pcie-root-port,id=port{self.slot},chassis={self.slot},addr=0x{self.slot:x}"
        return [*arguments, "-device", port, "-device", self.plugged]


def hub(wire: int, forward: str) -> list[str]:
    """Which options of QEMU join a datagram socket with its user network?

    Args:
        wire: the socket's descriptor: one datagram, one frame.
        forward: as of `PciDevice`.
    """
    return [
        *("-netdev", f"user,id=user,restrict=on,{forward}"),
        *("-netdev", f"dgram,id=wire,local.type=fd,local.str={wire}"),
        *("-netdev", "hubport,id=port0,hubid=0,netdev=user"),
        *("-netdev", "hubport,id=port1,hubid=0,netdev=wire"),
    ]
