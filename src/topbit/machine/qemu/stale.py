"""How does one of QEMU's devices come to use a page that was taken from it?

QEMU's devices behave; but `edu` reads and writes wherever it is told, and all devices of a Realm
share one stage-2 table. So it is told the address of another device's ring: it reads the ring
while that device's driver has it, which leaves the translation in the SMMU's TLB; the driver is
unbound, which makes the page private; then it writes there. A VMM that made the SMMU forget the
translation sees a fault. Otherwise the write arrives in the memory that backed the shared page,
which is looked at from outside (`knock`).
"""

from __future__ import annotations

from topbit.machine.qemu import edu, knock
from topbit.machine.qemu.workload import Step, dashed


def use_after_unbind(device: str, victim: str, shared_bit: int) -> Step:
    """Have `edu` write to the ring of `victim` after that one's driver gave it back."""
    page = shared_bit | knock.ADDRESS
    script = f"""{edu.shell(device, shared_bit)}
driver=$(readlink -f /sys/bus/pci/devices/{victim}/driver) || exit 1
ring=0x$(sed -n 's/.* dma_alloc: {victim} .*dma_addr=\\([0-9a-f]*\\) .*/\\1/p' \\
    /sys/kernel/tracing/trace | tail -n 1)
move $ring 0x40000 1 || exit 1
echo {victim} >$driver/unbind
devmem 0x{page + knock.WATCH:x} 64 $ring
move 0x40000 $ring 3
echo ring $ring reached $(devmem 0x{page + knock.LOOK:x} 32)
echo {victim} >$driver/bind
"""
    return Step("stale-" + dashed(device), script, 30)
