"""What are QEMU's devices called, by the kernel and by the SMMU?"""

from __future__ import annotations

from pathlib import Path

import pytest

from topbit.errors import UsageError
from topbit.machine.qemu.process.pci import PciDevice


def test_a_device_on_the_root_bus() -> None:
    device = PciDevice("nvme", 2, Path("/tmp/a,b"))
    assert (device.name, device.sid, device.port_sid) == ("0000:00:02.0", 0x10, None)
    assert device.arguments()[1] == "file=/tmp/a,,b,if=none,id=device2,format=raw"
    assert device.arguments()[3].endswith(",addr=0x2")


def test_a_device_behind_a_root_port() -> None:
    device = PciDevice("edu", 5, bus=1)
    assert (device.name, device.sid, device.port_sid) == ("0000:01:00.0", 0x100, 0x28)
    assert device.arguments() == [
        "-device",
        "pcie-root-port,id=port5,chassis=5,addr=0x5",
        "-device",
        "edu,dma_mask=0xffffffffffffffff,id=plug5,bus=port5,addr=0",
    ]


def test_networks_are_cut_off_from_the_world() -> None:
    assert "restrict=on" in PciDevice("virtio-net", 3).arguments()[1]


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: PciDevice("nvmee", 2, Path("x")),
        lambda: PciDevice("nvme", 0, Path("x")),
        lambda: PciDevice("nvme", 2),
        lambda: PciDevice("virtio-net", 2, Path("x")),
    ],
)
def test_what_makes_no_sense_is_refused(wrong) -> None:
    with pytest.raises(UsageError):
        wrong()


def test_a_device_behind_a_root_port_can_be_plugged_again(tmp_path: Path) -> None:
    """Its disk must not go with it, as a -drive would."""
    device = PciDevice("nvme", 3, tmp_path / "a,b", bus=2)
    words = device.arguments()
    assert words[1].startswith("driver=raw,node-name=device3,file.driver=file,file.filename=")
    assert words[1].endswith("a,,b")
    assert (
        words[-1] == device.plugged == "nvme,drive=device3,serial=device3,id=plug3,bus=port3,addr=0"
    )
