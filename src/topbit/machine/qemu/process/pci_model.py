"""Which device of QEMU's is a scenario's `model`, and which modules of Linux does it need?

Some have a name of their own here. Any other one is "qemu:NAME,prop=value,…", as QEMU's option
-device takes it, with three words of topbit's: `{disk}` stands for a disk of the run's and `{net}`
for its network (both are compared from outside), and ``driver=MODULE`` names Linux's driver, if it
is not in `DRIVERS`.
"""

from __future__ import annotations

from dataclasses import dataclass

from topbit.errors import UsageError, nearest

QEMU = "qemu:"
DISK, NET = "{disk}", "{net}"


@dataclass(frozen=True, slots=True)
class PciModel:
    """Which device is it?

    Attributes:
        device: the value of QEMU's option -device, with `DISK` or `NET` in it where it has one.
        modules: what Linux loads for it, its own driver last; empty if nobody knows.
    """

    device: str
    modules: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """What does QEMU call it, without its properties?"""
        return self.device.partition(",")[0]

    @property
    def is_disk(self) -> bool:
        """Is there a disk behind it?"""
        return DISK in self.device

    @property
    def is_wire(self) -> bool:
        """Is there a network behind it?"""
        return NET in self.device


_VIRTIO = "disable-legacy=on,iommu_platform=on"
MODELS = {
    "nvme": PciModel(f"nvme,drive={DISK},serial={DISK}", ("nvme",)),
    "virtio-blk": PciModel(
        f"virtio-blk-pci,drive={DISK},romfile=,{_VIRTIO}", ("virtio_pci", "virtio_blk")
    ),
    "virtio-net": PciModel(
        f"virtio-net-pci,netdev={NET},romfile=,{_VIRTIO}", ("virtio_pci", "virtio_net")
    ),
    "virtio-rng": PciModel(f"virtio-rng-pci,{_VIRTIO}", ("virtio_pci", "virtio-rng")),
    "e1000e": PciModel(f"e1000e,netdev={NET},romfile=", ("e1000e",)),
    "edu": PciModel("edu,dma_mask=0xffffffffffffffff"),
}
SCSI = ("scsi_mod", "sd_mod")
DRIVERS = {
    "am53c974": (*SCSI, "am53c974"),
    "e1000": ("e1000",),
    "e1000e": ("e1000e",),
    "i82559er": ("e100",),
    "ich9-ahci": ("ahci", *SCSI),
    "igb": ("igb",),
    "intel-hda": ("snd_hda_intel",),
    "lsi53c895a": (*SCSI, "sym53c8xx"),
    "megasas": (*SCSI, "megaraid_sas"),
    "mptsas1068": (*SCSI, "mptsas"),
    "nvme": ("nvme",),
    "pvscsi": (*SCSI, "vmw_pvscsi"),
    "qemu-xhci": ("xhci_pci",),
    "rtl8139": ("8139cp",),
    "sdhci-pci": ("sdhci_pci",),
    "tulip": ("tulip",),
    "virtio-balloon-pci": ("virtio_pci", "virtio_balloon"),
    "virtio-blk-pci": ("virtio_pci", "virtio_blk"),
    "virtio-crypto-pci": ("virtio_pci", "virtio_crypto"),
    "virtio-net-pci": ("virtio_pci", "virtio_net"),
    "virtio-rng-pci": ("virtio_pci", "virtio-rng"),
    "virtio-scsi-pci": ("virtio_pci", *SCSI, "virtio_scsi"),
    "vmxnet3": ("vmxnet3",),
}
"""Which modules of Linux drive devices that QEMU knows by these names?"""


def model_of(model: str) -> PciModel:
    """Which device does a scenario mean?

    Raises:
        UsageError: none of the names here, and no "qemu:NAME".
    """
    if model in MODELS:
        return MODELS[model]
    if not model.startswith(QEMU):
        hint = f'{nearest(model, MODELS)}, or "{QEMU}NAME,prop=value" for any of QEMU\'s'
        raise UsageError(f"no such device model: {model!r}", hint=hint)
    words = model.removeprefix(QEMU).split(",")
    drivers = [word.removeprefix("driver=") for word in words[1:] if word.startswith("driver=")]
    kept = [word for word in words if not word.startswith("driver=")]
    if not kept or not kept[0] or any("=" not in word for word in kept[1:]):
        raise UsageError(
            f"{model!r} is no device as QEMU's option -device takes it",
            where="device.model",
            hint=f"{QEMU}NAME,prop=value,...",
        )
    name = kept[0]
    if name.startswith("virtio-"):  # its DMA goes by the guest's DMA API and the SMMU
        kept += [word for word in _VIRTIO.split(",") if word.partition("=")[0] not in model]
    return PciModel(",".join(kept), tuple(drivers) or DRIVERS.get(name, ()))
