"""What can the guest have QEMU's `edu` device do? It moves bytes to and from any address.

Registers: QEMU docs/specs/edu.rst; its own memory is at 0x40000.
"""

from __future__ import annotations

from topbit.arch.ipa import IpaSpace
from topbit.machine.qemu.guest.steps import Step, dashed
from topbit.machine.qemu.host import injection_port

RINGS = "rings"  # a trace of its own
BYTES = 16


SETTLED = "usleep 300000"
AWAITED = """for i in $(seq 100); do
            [ $(($(devmem $(at 0x98) 64) & 1)) = 1 ] || break; usleep 5000; done"""


def shell(pci: str, space: IpaSpace, then: str = SETTLED) -> str:
    """Which lines turn the device on, and have ``move FROM TO COMMAND`` move `BYTES`?

    COMMAND is 1 to read guest memory, 3 to write it.
    `then`: how it waits for the end, which takes the device 100 ms of its own clock: `SETTLED`, or
    `AWAITED`.
    """
    return f"""{enabled(pci, space)}
move() {{
    devmem $(at 0x80) 64 $1 && devmem $(at 0x88) 64 $2 && devmem $(at 0x90) 64 {BYTES} &&
        devmem $(at 0x98) 64 $3 && {then}
}}
"""


def enabled(pci: str, space: IpaSpace) -> str:
    """Which lines turn a device without a driver on, and have ``at OFFSET`` name a register?

    Of BAR 0, which the guest reaches at the alias.
    """
    return f"""
cd /sys/bus/pci/devices/{pci} || exit 1
echo 1 >enable
printf '\\006\\000' | dd of=config bs=1 seek=4 conv=notrunc 2>/dev/null  # memory, bus master
read -r base rest <resource
at() {{ printf '0x%x' $((base + {space.shared_bit} + $1)); }}
"""


def rings_traced() -> str:
    """Which word of the kernel's command line keeps the rings that `use_after_unbind` looks up?

    The other trace leaves the guest while it grows.
    """
    return f"trace_instance={RINGS},dma:dma_alloc"


def wild_dma(pci: str, space: IpaSpace, address: int, limit: int = 15) -> Step:
    """Have the device read at `address`, whatever is there."""
    script = f"{shell(pci, space)}move 0x{address:x} 0x40000 1\n"
    return Step("wild-" + dashed(pci), script, limit)


def use_after_unbind(device: str, victim: str, space: IpaSpace) -> Step:
    """Have the device write to a page that was taken from another one, `victim`.

    QEMU's devices behave; but `edu` reads and writes wherever it is told, and all devices of a
    Realm share one stage-2 table. It reads the victim's ring while that one's driver has it, which
    leaves the translation in the SMMU's TLB; the driver is unbound, which makes the page private;
    then it writes there. A VMM that made the SMMU forget the translation sees a fault. Otherwise
    the write arrives in the memory that backed the shared page, which is looked at from outside
    (the injection port).
    """
    page = space.unprotected(injection_port.ADDRESS)
    script = f"""{shell(device, space)}
driver=$(readlink -f /sys/bus/pci/devices/{victim}/driver) || exit 1
ring=0x$(sed -n 's/.* dma_alloc: {victim} .*dma_addr=\\([0-9a-f]*\\) .*/\\1/p' \\
    /sys/kernel/tracing/instances/{RINGS}/trace | tail -n 1)
move $ring 0x40000 1 || exit 1
echo {victim} >$driver/unbind
devmem 0x{page + injection_port.WATCH:x} 64 $ring
move 0x40000 $ring 3
echo ring $ring reached $(devmem 0x{page + injection_port.LOOK:x} 32)
echo {victim} >$driver/bind
"""
    return Step("stale-" + dashed(device), script, 30)
