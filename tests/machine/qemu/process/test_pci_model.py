import pytest

from topbit.errors import UsageError
from topbit.machine.qemu.process.pci import PciDevice
from topbit.machine.qemu.process.pci_model import DRIVERS, MODELS, model_of

VIRTIO = "disable-legacy=on,iommu_platform=on"


@pytest.mark.parametrize(
    ("model", "device", "modules"),
    [
        ("qemu:igb,netdev={net}", "igb,netdev={net}", ("igb",)),
        ("qemu:tulip", "tulip", ("tulip",)),
        ("qemu:edu,driver=mine", "edu", ("mine",)),
        ("qemu:igb,driver=a,driver=b,mac=1", "igb,mac=1", ("a", "b")),
        ("qemu:strange", "strange", ()),
        ("qemu:virtio-rng-pci", f"virtio-rng-pci,{VIRTIO}", ("virtio_pci", "virtio-rng")),
        (
            "qemu:virtio-rng-pci,iommu_platform=off",
            "virtio-rng-pci,iommu_platform=off,disable-legacy=on",
            ("virtio_pci", "virtio-rng"),
        ),
    ],
)
def test_any_device_of_qemus(model: str, device: str, modules: tuple[str, ...]) -> None:
    found = model_of(model)
    assert (found.device, found.modules) == (device, modules)
    assert found.name == device.split(",")[0]
    assert found.is_wire == ("{net}" in model)
    assert not found.is_disk


@pytest.mark.parametrize(
    ("model", "words"),
    [
        ("nvm", "did you mean 'nvme'?, or \"qemu:NAME,prop=value\""),
        ("qemu:", "is no device as QEMU's option -device takes it"),
        ("qemu:igb,mac", "qemu:NAME,prop=value,..."),
        ("qemu:driver=x", "is no device"),
    ],
)
def test_what_is_no_device_is_said(model: str, words: str) -> None:
    with pytest.raises(UsageError) as raised:
        model_of(model)
    assert words in str(raised.value)


def test_disks_and_networks_have_theirs() -> None:
    assert {name for name, model in MODELS.items() if model.is_disk} == {"nvme", "virtio-blk"}
    assert {name for name, model in MODELS.items() if model.is_wire} == {"virtio-net", "e1000e"}
    assert all(DRIVERS.values())
    words = PciDevice("qemu:igb,netdev={net}", 3).arguments()
    assert words[-1] == "igb,netdev=device3,addr=0x3"
    assert words[1].startswith("user,id=device3,restrict=on")
