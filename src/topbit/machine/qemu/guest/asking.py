"""How are many questions asked of the DMA API in one guest?

Each question is a module of its own (`ask_module`), which the guest's shell loads and unloads. What
came of them is in `answers`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from topbit.arch.ipa import IpaSpace
from topbit.linux.dma_attrs import NO_ATTRS, DmaAttr
from topbit.machine.qemu.guest import edu
from topbit.machine.qemu.guest.ask_module import COPY, NAME, SAYS, Op

FOLDER = "ask"
DRIVER = "uio_pci_generic"
"""A driver that only makes a device's owner known: with it the kernel sets the device's DMA up."""
SIZE, SIZE_STEP = 512, 16
"""Each question is about memory of a size of its own, by which traces tell it from the others."""


@dataclass(frozen=True, slots=True)
class Ask:
    """What does which device ask for?

    Attributes:
        device: the scenario's name of it.
        op: the function of the DMA API.
        mask_bits: width of its masks.
        attrs: of the mapping.
        atomic: where nobody may sleep.
        moved_by: the `edu` that then reads and writes there; empty: none does.
    """

    device: str
    op: Op
    mask_bits: int = 64
    attrs: DmaAttr = NO_ATTRS
    atomic: bool = False
    moved_by: str = ""


def size_of(number: int) -> int:
    """Of which size is the memory of question `number`? Bytes."""
    return SIZE + SIZE_STEP * number


def script(asks: Sequence[Ask], names: Mapping[str, str], space: IpaSpace) -> str:
    """Which shell text asks them all, the first being number 1?

    Args:
        asks: the questions.
        names: the kernel's names of the scenario's devices.
        space: the Realm's.
    """
    lines = [
        "mount -t debugfs debug /sys/kernel/debug",
        f"for file in /{FOLDER}/driver/*.ko; do insmod $file; done",
        "ask() {",  # a line that the kernel prints once comes again
        "    echo 1 >/sys/kernel/debug/clear_warn_once",
        '    [ "$died" ] && return',
        f"    insmod /{FOLDER}/$1.ko",
        f"    [ $? -gt 128 ] && {{ died=1; echo '{SAYS}' $1 died; return; }}",
        '    [ "$2" ] && moves $1',
        f"    rmmod {NAME}",
        "}",
        "moves() {",
        f"    addr=$(dmesg | sed -n 's/.*{SAYS} '$1' mask .* addr //p' | tail -n 1)",
        "    [ $addr = ffffffffffffffff ] && return",
        "    move 0x$addr 0x40000 1",
        f"    move 0x40000 $(printf 0x%x $((0x$addr + {COPY}))) 3",
        "}",
    ]
    ready = ""
    for device in dict.fromkeys(ask.device for ask in asks):
        numbered = [(number, ask) for number, ask in enumerate(asks, 1) if ask.device == device]
        mover = next((ask.moved_by for _, ask in numbered if ask.moved_by), "")
        if mover != ready:
            lines.append(edu.shell(names[mover], space, edu.AWAITED))
            ready = mover
        lines += _own(names[device])
        lines += [f"ask {number} {ask.moved_by}".rstrip() for number, ask in numbered]
    return "\n".join([*lines, f"dmesg | grep '{SAYS}'"]) + "\n"


def _own(name: str) -> list[str]:
    """How is a device made to be asked for by nobody else, and known to the kernel?"""
    if name.startswith("0000:"):
        return [
            f"echo {DRIVER} >/sys/bus/pci/devices/{name}/driver_override",
            f"echo {name} >/sys/bus/pci/drivers_probe",
        ]
    return []
