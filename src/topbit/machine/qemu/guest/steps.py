"""What work does the guest do? Each step is a small shell script for the guest's busybox.

A step's exit status says whether the guest was content; whether it is right is decided outside,
on the disk image and at the other end of the wire (see `integrity`).
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass

from topbit.errors import UsageError
from topbit.machine.qemu.guest.init import PARAMETERS
from topbit.machine.qemu.guest.outbox_program import IN_GUEST, STREAMS

GUEST_ADDRESS = "10.0.2.15"
GATEWAY = "10.0.2.2"  # QEMU user networking's own address; answers pings even when restricted
ECHO_ADDRESS, ECHO_PORT = "10.0.2.100", 7  # a second peer is on the next port
TRACE_GROUPS = ("dma", "swiotlb")
TRACE_KIB, TRACE_KIB_OF_ALL = 8 << 10, 32 << 10
"""Room for the trace of each CPU and of all, until it leaves the guest. When the kernel starts its
CPUs, it has not taken stock of all of its memory yet: those without room do not come up."""
PAYLOAD = "/bin/busybox"  # what the network step sends: a file that both sides have
# Its first bytes, again and again: no buffer's size divides it, so stale data is never right.
PERIOD = 1_000_003
TOKEN = "attest.token"
ATTEST_DRIVERS = ("tsm_report", "arm_cca_guest")

SHELL_HELPERS = r"""
disk_below() {
    n=250  # 5 seconds
    while d=$(ls -d "$1"/nvme/nvme*/nvme*n[0-9] "$1"/virtio*/block/* 2>/dev/null); [ -z "$d" ]; do
        usleep 20000; n=$((n - 1)); [ $n -gt 0 ] || { echo "no disk below $1"; exit 1; }
    done
    d=/dev/$(basename "$d" | sed 's/c[0-9]*n/n/')  # nvme0c0n1 is a path of nvme0n1
}
awaited() {
    n=250  # 5 seconds
    while [ ! -e "$1" ]; do
        usleep 20000; n=$((n - 1)); [ $n -gt 0 ] || { echo "$1 did not come"; exit 1; }
    done
}
took() {
    what=$1 begun=$EPOCHREALTIME; shift
    "$@"; status=$?
    echo took $what $begun $EPOCHREALTIME
    return $status
}
"""


@dataclass(frozen=True, slots=True)
class Step:
    """What is done, and how long may it take?

    Attributes:
        name: letters, digits, - and _; names the step in the report.
        script: shell text for the guest.
        limit: seconds after which it counts as hanging; 0 for never.
        times: how often it does the same again.
    """

    name: str
    script: str
    limit: int = 60
    times: int = 1

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[A-Za-z0-9_-]+", self.name):
            raise UsageError("a step's name has letters, digits, - and _", where=self.name)


def copy_blocks(
    device: str,
    *,
    first: int,
    second: int,
    size: int,
    block: int = 1 << 20,
    below: str = "",
    step: str = "copy",
    limit: int = 30,
) -> Step:
    """Read `size` bytes at `first` past the page cache, say their hash, write them at `second`.

    Says as well how long both took: ``took read`` and ``took write``.

    Args:
        device: block device's name, such as ``nvme0n1``; with `below` any name for the step.
        first, second: byte offsets, multiples of 1 MiB.
        size: bytes, a multiple of 1 MiB.
        block: bytes of one read, a multiple of 512. A write has at most 64 KiB.
        below: the folder of its controller in /sys, if its name is to be looked up there.
        step: first word of the step's name.
    """
    flags = "direct,skip_bytes,count_bytes"
    script = f"""{SHELL_HELPERS}
{_disk(device, below)}
echo md5 4k $(dd if=$d bs=4k skip={first // 4096} count=64 iflag=direct 2>/dev/null | md5sum)
data=/tmp/{device}
took read dd if=$d of=$data bs={block} skip={first} count={size} iflag={flags} || exit 1
echo md5 all $(md5sum <$data)
took write dd if=$data of=$d bs=64k seek={second >> 16} oflag=direct conv=notrunc,fsync || exit 1
rm $data
"""
    return Step(f"{step}-{device}", script, limit)


def read_in_parallel(
    device: str, *, readers: int, size: int, span: int, below: str = "", limit: int = 30
) -> Step:
    """Let `readers` processes read `size` bytes each, one after the other's, at the same time.

    Says the hash of each one's part, ``md5 INDEX HASH``, and how long all took.

    Args:
        size: bytes, a multiple of 1 MiB.
        span: they start again from 0 here, a multiple of `size`.
        device, below: as for `copy_blocks`.
    """
    count = size >> 20
    script = f"""{SHELL_HELPERS}
{_disk(device, below)}
all() {{
    for i in $(seq 0 {readers - 1}); do
        dd if=$d of=/tmp/part.$i bs=64k skip=$((i % {span // size} * {count * 16})) \
           count={count * 16} iflag=direct 2>/dev/null &
    done
    wait
}}
took read all
for i in $(seq 0 {readers - 1}); do echo md5 $i $(md5sum </tmp/part.$i); done
rm /tmp/part.*
"""
    return Step(f"parallel-{device}", script, limit)


def _disk(device: str, below: str) -> str:
    """Which command finds the disk `d`?"""
    return (f"disk_below {below}" if below else f"d=/dev/{device}") + "; awaited $d"


def configure_network(interface: str = "eth0", *, step: str = "ping", limit: int = 15) -> Step:
    """Bring the interface up with QEMU user networking's address and ping its gateway."""
    script = f"""{SHELL_HELPERS}
awaited /sys/class/net/{interface}
ip link set {interface} up
ip addr add {GUEST_ADDRESS}/24 dev {interface}
ping -c 3 -i 0.2 -W 5 {GATEWAY}
"""
    return Step(f"{step}-{interface}", script, limit)


def send_and_receive(
    size: int = 256 << 10, *, port: int = ECHO_PORT, step: str = "echo", limit: int = 30
) -> Step:
    """Send `size` bytes (see `sent`) to an echo peer and compare what comes back.

    `size`: up to 1 MiB, or a multiple of it.
    Says how long it took, both ways at the same time: ``took both``.
    """
    block = min(size, 1 << 20)
    script = f"""{SHELL_HELPERS}
dd if={PAYLOAD} of=/tmp/period bs={min(size, PERIOD)} count=1
for i in $(seq {-(-size // PERIOD)}); do cat /tmp/period; done |
    dd of=/tmp/sent bs={block} count={size // block} iflag=fullblock
# nc itself moves 1 KiB at a time
cat >/tmp/exchange <<EOF
cat /tmp/sent &
exec dd of=/tmp/received bs={block} count={size // block} iflag=fullblock
EOF
took both nc {ECHO_ADDRESS} {port} -e sh /tmp/exchange
cmp /tmp/sent /tmp/received
"""
    return Step(step, script, limit)


def sent(payload: bytes, size: int) -> bytes:
    """Which `size` bytes does `send_and_receive` send? `payload`: the content of `PAYLOAD`."""
    period = payload[:PERIOD]
    return (period * -(-size // len(period)))[:size]


def reload_module(module: str, times: int = 3, limit: int = 60) -> Step:
    """Unload and load a driver `times` times."""
    script = f"""{PARAMETERS}
parameters_of {module}
for i in $(seq {times}); do
    rmmod {module} && insmod /topbit/modules/{module}.ko $parameters || exit 1
done
"""
    return Step(f"reload-{dashed(module)}", script, limit, times)


def rebind(
    device: str, times: int = 1, *, bus: str = "pci", after: str = "", limit: int = 60
) -> Step:
    """Unbind and bind a device's driver `times` times.

    Each time the driver's coherent memory goes back to private and is shared anew, so that many
    times are a stress of memory conversion. `device`: such as ``0000:00:02.0``; `after`: a step
    that must have gone well, since a driver that waits for its device is never unbound.
    """
    script = f"""{SHELL_HELPERS}
{_only_after(after)}
driver=$(readlink -f /sys/bus/{bus}/devices/{device}/driver) || exit 1
for i in $(seq {times}); do
    echo {device} >$driver/unbind && echo {device} >$driver/bind || exit 1
done
awaited $driver/{device}
"""
    return Step("rebind-" + dashed(device), script, limit, times)


def _only_after(step: str) -> str:
    """Which command ends a step unless another one has gone well?"""
    if not step:
        return ""
    return f"grep -q '^0 ' /topbit/out/{step}.status || {{ echo skipped; exit 0; }}"


def unplug(pci: str, *, after: str = "", limit: int = 30) -> Step:
    """Remove a PCI device and find it again by a rescan of the bus. `after`: as for `rebind`."""
    script = f"""{SHELL_HELPERS}
{_only_after(after)}
echo 1 >/sys/bus/pci/devices/{pci}/remove
[ ! -e /sys/bus/pci/devices/{pci} ] || exit 1
echo 1 >/sys/bus/pci/rescan
awaited /sys/bus/pci/devices/{pci}/driver
"""
    return Step("unplug-" + dashed(pci), script, limit)


def replug(pci: str, limit: int = 60) -> Step:
    """Wait until the host has taken the device out of its slot and put it in again (`plug`)."""
    script = f"""{SHELL_HELPERS}
n=1000  # 20 seconds: the guest itself waits 5 after the attention button
while [ -e /sys/bus/pci/devices/{pci} ]; do
    usleep 20000; n=$((n - 1)); [ $n -gt 0 ] || {{ echo "it was not taken out"; exit 1; }}
done
for i in $(seq 4); do ( awaited /sys/bus/pci/devices/{pci}/driver ) && exit; done
exit 1
"""
    return Step("replug-" + dashed(pci), script, limit)


def probed(step: str, pci: str, limit: int = 15) -> Step:
    """Wait until a driver has taken the device; says which."""
    device = f"/sys/bus/pci/devices/{pci}"
    script = f"""{SHELL_HELPERS}
awaited {device}/driver
basename $(readlink {device}/driver)
"""
    return Step(step, script, limit)


def read_random(step: str = "random", *, size: int = 4096, limit: int = 15) -> Step:
    """Read `size` bytes (a multiple of 1 KiB) from the random number generator."""
    count = size >> 10
    script = f"[ $(dd if=/dev/hwrng bs=1k count={count} 2>/dev/null | wc -c) = {size} ]\n"
    return Step(step, script, limit)


def dashed(name: str) -> str:
    """Which form has a kernel's name in the name of a step?"""
    return re.sub(r"[:._]", "-", name)


def attest(challenge: bytes, limit: int = 30) -> Step:
    """Get an attestation token through configfs-tsm; it comes back as the file `TOKEN`.

    `challenge`: 64 bytes (Linux Documentation/ABI/testing/configfs-tsm-report, inblob).
    """
    octal = "".join(f"\\0{byte:03o}" for byte in challenge)
    script = f"""
mount -t configfs config /sys/kernel/config
r=/sys/kernel/config/tsm/report/topbit
mkdir $r && echo -ne '{octal}' >$r/inblob && cat $r/outblob >/topbit/out/{TOKEN}
"""
    return Step("attest", script, limit)


def run_command(
    command: str, limit: int = 0, *, prepare: str = "", within: str = "", console: bool = False
) -> Step:
    """Run the user's own command, its output on the console at once; its status is the step's.

    What it writes goes to the outbox as it is, or else to the step's log.

    Args:
        command: text for the guest's shell.
        limit: as `Step.limit`.
        prepare: shell text before it.
        within: words before its shell.
        console: somebody is at the console and sees it there.
    """
    script = f"""{prepare}
{"exec >/dev/console" if console else f"[ ! -f /{STREAMS} ] || . /{STREAMS}"}
{{ {within} sh -c {shlex.quote(command)}; echo $? >/tmp/status; }} 2>&1 |
    if [ "$out_output" ]; then /{IN_GUEST} copy "$out_output"; else cat; fi
exit $(cat /tmp/status)
"""
    return Step("run", script, limit)


def shell() -> Step:
    """Give the console to an interactive shell until it ends."""
    return Step("shell", "exec setsid cttyhack sh </dev/console >/dev/console 2>&1\n", 0)


def command_line(
    *,
    trace: Sequence[str] = TRACE_GROUPS,
    late_trace: bool = False,
    extra: Sequence[str] = (),
    cpus: int = 1,
) -> str:
    """Which kernel command line lets the workload run and end, whatever its devices do?

    Args:
        trace: groups of events recorded from the start of the kernel on; none if empty.
        late_trace: events are turned on later: there must be room for them.
        extra: further words, behind the others.
        cpus: number of CPUs.
    """
    words = [
        "console=ttyAMA0",
        "rdinit=/init",
        "panic=-1",  # reboot at once, which ends QEMU with -no-reboot
        "nvme_core.admin_timeout=5",
        "nvme_core.io_timeout=10",
    ]
    if trace or late_trace:
        words.append(f"trace_buf_size={min(TRACE_KIB, TRACE_KIB_OF_ALL // cpus)}K")
    if trace:
        words.append("trace_event=" + ",".join(f"{group}:*" for group in trace))
    return " ".join([*words, *extra])
