import subprocess

import pytest

import needs
from device_trees import dts, dump
from topbit.errors import InputError
from topbit.machine.qemu.host import fdt
from topbit.machine.qemu.host.devicetree import VirtioMmio, realm_tree

GIB = 1 << 30


def realm(**changes: object) -> fdt.Tree:
    blob = realm_tree(
        dump(),
        memory=[(GIB, GIB)],
        command_line="console=ttyAMA0",
        **changes,  # type: ignore[arg-type]
    )
    dts(blob)  # dtc must be able to read whatever is made
    return fdt.parse(blob)


def test_realm_has_its_own_memory_only() -> None:
    blob = realm_tree(dump(), memory=[(GIB, GIB), (8 * GIB, 2 * GIB)], command_line="")
    found = [node for node in fdt.parse(blob).root.children if node.name.startswith("memory@")]
    assert [(node.name, node.cells("reg")) for node in found] == [
        ("memory@40000000", (0, 0x40000000, 0, 0x40000000)),
        ("memory@200000000", (2, 0, 0, 0x80000000)),
    ]
    assert all(node.properties["device_type"] == b"memory\0" for node in found)


@pytest.mark.parametrize("what", ["arm,smmu-v3", "qemu,fw-cfg-mmio", "cfi-flash", "virtio,mmio"])
def test_host_devices_are_left_out(what: str) -> None:
    assert any(node.is_compatible(what) for node in fdt.parse(dump()).root.walk())
    assert not any(node.is_compatible(what) for node in realm().root.walk())


def test_pci_does_not_know_of_an_smmu() -> None:
    pcie = realm().root.child("pcie")
    assert "iommu-map" not in pcie.properties
    assert "msi-map" in pcie.properties


def test_no_phandle_points_nowhere() -> None:
    """dtc's own checks find dangling references that the changes might leave."""
    blob = realm_tree(
        dump(), memory=[(GIB, GIB)], command_line="", virtio_mmio=[VirtioMmio(0xA800000, 100)]
    )
    dtc = [needs.tool("dtc"), "-I", "dtb", "-O", "dtb"]

    def complaints(tree: bytes) -> set[str]:
        done = subprocess.run(dtc, input=tree, capture_output=True, check=True)
        return {line for line in done.stderr.decode().splitlines() if "unit_address" not in line}

    assert complaints(blob) <= complaints(dump())


def test_emulated_virtio_devices_are_named() -> None:
    tree = realm(virtio_mmio=[VirtioMmio(0xA800000, 100), VirtioMmio(0xA801000, 8, level=True)])
    first, second = (node for node in tree.root.walk() if node.is_compatible("virtio,mmio"))
    assert first.name == "virtio_mmio@a800000"
    assert first.cells("reg") == (0, 0xA800000, 0, 0x200)
    assert first.cells("interrupts") == (0, 100, 1)
    assert second.cells("interrupts") == (0, 8, 4)
    intc = tree.root.child("intc")
    assert first.properties["interrupt-parent"] == intc.properties["phandle"]
    assert "dma-coherent" in first.properties


def test_hidden_uart_is_left_out() -> None:
    uarts = [n.name for n in realm(hidden=[0x9040000]).root.walk() if n.is_compatible("arm,pl011")]
    assert uarts == ["pl011@9000000"]


def test_kernel_learns_command_line_and_initrd() -> None:
    chosen = realm(initrd=(0x50000000, 0x1000)).root.child("chosen")
    assert chosen.properties["bootargs"] == b"console=ttyAMA0\0"
    assert chosen.cells("linux,initrd-start") == (0, 0x50000000)
    assert chosen.cells("linux,initrd-end") == (0, 0x50001000)
    assert "stdout-path" in chosen.properties
    assert "linux,initrd-start" not in realm().root.child("chosen").properties


def test_other_tree_is_refused() -> None:
    with pytest.raises(InputError, match="not the tree of a virt machine"):
        realm_tree(fdt.pack(fdt.Tree(fdt.Node(""))), memory=[], command_line="")
