"""What can the guest have QEMU's `edu` device do? It moves bytes to and from any address.

Registers: QEMU docs/specs/edu.rst; its own memory is at 0x40000.
"""

from __future__ import annotations

from topbit.machine.qemu.workload import Step, dashed

BYTES = 16


def shell(pci: str, shared_bit: int) -> str:
    """Which lines turn the device on, and have ``move FROM TO COMMAND`` move `BYTES`?

    COMMAND is 1 to read guest memory, 3 to write it. The guest reaches the registers at the alias
    (`shared_bit`).
    """
    return f"""
cd /sys/bus/pci/devices/{pci} || exit 1
echo 1 >enable
printf '\\006\\000' | dd of=config bs=1 seek=4 conv=notrunc 2>/dev/null  # memory, bus master
read -r base rest <resource
at() {{ printf '0x%x' $((base + {shared_bit} + $1)); }}
move() {{
    devmem $(at 0x80) 64 $1 && devmem $(at 0x88) 64 $2 && devmem $(at 0x90) 64 {BYTES} &&
        devmem $(at 0x98) 64 $3 && usleep 300000
}}
"""


def wild_dma(pci: str, shared_bit: int, address: int, limit: int = 15) -> Step:
    """Have the device read at `address`, whatever is there."""
    script = f"{shell(pci, shared_bit)}move 0x{address:x} 0x40000 1\n"
    return Step("wild-" + dashed(pci), script, limit)
