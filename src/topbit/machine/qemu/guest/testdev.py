"""What can the guest have QEMU's `iommu-testdev` do? It writes to an address that it is told.

QEMU has the device since 11. Registers and results: QEMU docs/specs/iommu-testdev.rst,
include/hw/misc/iommu-testdev.h. After its write it reads the page back by an address of QEMU's own
memory, which no guest knows: MISMATCH is what a write that came through ends with.
"""

from __future__ import annotations

from topbit.arch.ipa import IpaSpace
from topbit.machine.qemu.guest import edu
from topbit.machine.qemu.guest.steps import Step, dashed

MODEL = "iommu-testdev"
TRIGGER, IOVA_LOW, IOVA_HIGH, LENGTH, RESULT, DOORBELL = 0x00, 0x04, 0x08, 0x0C, 0x10, 0x14
SUCCESS, MISMATCH = 0x0000_0000, 0xDEAD_0004
BYTES = 4


def shell(pci: str, space: IpaSpace) -> str:
    """Which lines turn the device on, and have ``reaches ADDRESS`` write `BYTES` there?

    It says the device's result, and fails if the write did not come through.
    """
    return f"""{edu.enabled(pci, space)}
reaches() {{
    devmem $(at {IOVA_LOW}) 32 $(($1 & 0xffffffff)) && devmem $(at {IOVA_HIGH}) 32 $(($1 >> 32)) &&
        devmem $(at {LENGTH}) 32 {BYTES} && devmem $(at {DOORBELL}) 32 1 &&
        devmem $(at {TRIGGER}) 32 >/dev/null || exit 1
    result=$(devmem $(at {RESULT}) 32)
    echo $1 $result
    case $((result)) in {SUCCESS} | {MISMATCH}) return 0 ;; *) return 1 ;; esac
}}
"""


def translate(name: str, pci: str, space: IpaSpace) -> Step:
    """Have the device write to the bounce pool's last page, by its alias: it is shared from boot.

    Nobody else is at work meanwhile; what a driver keeps there to receive into is written anew.
    """
    script = f"""{shell(pci, space)}
end=$(dmesg | sed -n 's/.*software IO TLB: mapped .mem 0x[0-9a-f]*-\\(0x[0-9a-f]*\\).*/\\1/p')
[ "$end" ] || {{ echo no bounce pool; exit 1; }}
reaches $(printf '0x%x' $((end + {space.shared_bit} - 0x1000)))
"""
    return Step(name, script, 30)


def wild_dma(pci: str, space: IpaSpace, address: int, limit: int = 15) -> Step:
    """Have the device write at `address`, whatever is there."""
    script = f"{shell(pci, space)}reaches 0x{address:x}\nusleep 300000\n"
    return Step("wild-" + dashed(pci), script, limit)
