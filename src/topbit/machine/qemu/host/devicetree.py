"""Which devices does the Realm's device tree name?

QEMU's own dump (``-machine virt,...,dumpdtb=FILE``) describes the host's machine. The Realm gets
less: its own memory, no SMMU (the host programs that), none of the devices by which QEMU talks to
firmware, and the emulated virtio devices of the VMM.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from topbit.errors import InputError
from topbit.machine.qemu.host import fdt

SPI = 0  # first cell of a GICv3 interrupt: a shared peripheral interrupt
EDGE_RISING, LEVEL_HIGH = 1, 4
# What a Realm must not use. fw-cfg's DMA goes around the SMMU and around stage 2; the flash holds
# no firmware here; the transports of QEMU's virt machine are empty and cost a probe each.
HOST_ONLY = ("arm,smmu-v3", "qemu,fw-cfg-mmio", "cfi-flash", "virtio,mmio", "qemu,platform")


@dataclass(frozen=True, slots=True)
class VirtioMmio:
    """Where is an emulated virtio device?

    Attributes:
        address: IPA of its registers, shared bit clear.
        spi: number of its interrupt among the SPIs (INTID - 32).
        level: level-triggered; edge-triggered otherwise.
        size: bytes of its registers.
    """

    address: int
    spi: int
    level: bool = False
    size: int = 0x200


def realm_tree(
    dump: bytes,
    *,
    memory: Sequence[tuple[int, int]],
    command_line: str,
    initrd: tuple[int, int] | None = None,
    virtio_mmio: Sequence[VirtioMmio] = (),
    hidden: Sequence[int] = (),
) -> bytes:
    """Which device tree does the Realm boot with?

    Args:
        dump: QEMU's own device tree of the same machine.
        memory: the Realm's RAM, (IPA, bytes) each, shared bit clear.
        command_line: the kernel's.
        initrd: the initramfs, (IPA, bytes).
        virtio_mmio: the VMM's emulated devices.
        hidden: addresses of further devices to leave out, such as the doorbell's UART.

    Raises:
        InputError: `dump` is not a device tree of QEMU's virt machine.
    """
    tree = fdt.parse(dump, "QEMU's device tree")
    root = tree.root
    try:
        chosen, pcie = root.child("chosen"), root.child("pcie")
        (interrupts,) = root.cells("interrupt-parent")
    except (KeyError, ValueError) as error:
        raise InputError(
            f"is not the tree of a virt machine: {error.args[0]}", where="QEMU's device tree"
        ) from error
    for compatible in HOST_ONLY:
        root.remove(compatible=compatible)
    away = {f"{address:x}" for address in hidden}
    root.children = [
        node
        for node in root.children
        if node.properties.get("device_type") != fdt.text("memory")
        and node.name.partition("@")[2] not in away
    ]
    pcie.properties.pop("iommu-map", None)
    pcie.properties.pop("iommu-map-mask", None)
    root.children += [
        fdt.Node(
            f"memory@{base:x}",
            {"device_type": fdt.text("memory"), "reg": fdt.cells64(base, size)},
        )
        for base, size in memory
    ]
    root.children += [_virtio(device, interrupts) for device in virtio_mmio]
    chosen.properties["bootargs"] = fdt.text(command_line)
    for name in ("linux,initrd-start", "linux,initrd-end"):
        chosen.properties.pop(name, None)
    if initrd is not None:
        start, size = initrd
        chosen.properties["linux,initrd-start"] = fdt.cells64(start)
        chosen.properties["linux,initrd-end"] = fdt.cells64(start + size)
    return fdt.pack(tree)


def _virtio(device: VirtioMmio, interrupts: int) -> fdt.Node:
    # Linux Documentation/devicetree/bindings/virtio/mmio.yaml
    flags = LEVEL_HIGH if device.level else EDGE_RISING
    return fdt.Node(
        f"virtio_mmio@{device.address:x}",
        {
            "compatible": fdt.text("virtio,mmio"),
            "reg": fdt.cells64(device.address, device.size),
            "interrupt-parent": fdt.cells(interrupts),
            "interrupts": fdt.cells(SPI, device.spi, flags),
            "dma-coherent": b"",
        },
    )
