"""How fast is block I/O: in the Realm against a plain guest, and in Python against QEMU's own?

    python benchmarks/block_io.py [--kernel 6.18] [--boots 3] [--rounds 3] [--cpus 1]
                                  [--cpu MODEL] [--against MODEL] [--plain-smmu] [--ram MIB]

Sequential O_DIRECT reads of one process, in the guest, by `dd`, at three request sizes, of QEMU's
virtio-blk-pci and NVMe behind the SMMU and of the VMM's virtio-blk (virtio-mmio, in Python): all
in one Realm, in turns. And of the first two in plain QEMU (no EL2, no SMMU) with swiotlb=force,
which bounces every request as a Realm must, in a pool as large; Realm and plain guest boot in
turns, and read three disks a round, the plain guest one of its two again. With --against a Realm
on another CPU model boots in turns with them as well, with --plain-smmu a plain guest whose devices
stand behind an SMMU that translates nothing. Prints MiB/s, medians over all rounds, and the ratios.
"""

from __future__ import annotations

import argparse
import dataclasses
import gc
import re
import socket
import statistics
import subprocess
import tempfile
from collections import defaultdict
from pathlib import Path

from topbit.cli import RARELY
from topbit.machine.qemu.el2 import cpu_model
from topbit.machine.qemu.guest import initramfs
from topbit.machine.qemu.guest.init import INIT, plan_files
from topbit.machine.qemu.guest.integrity import MIB, Disk
from topbit.machine.qemu.guest.report import read_report
from topbit.machine.qemu.guest.steps import SHELL_HELPERS, Step, command_line
from topbit.machine.qemu.host.shape import GuestImage, RealmShape
from topbit.machine.qemu.host.virtio_mmio import EmulatedDevice
from topbit.machine.qemu.machine import QemuMachine
from topbit.machine.qemu.process.console import Console
from topbit.machine.qemu.process.pci import PciDevice
from topbit.store import busybox, kernels, tools
from topbit.vmm.virtio.blk import VirtioBlk

RAM = 1024  # MiB, of the Realm
DISK = 512 * MIB
# With all of its RAM below 4 GiB a plain guest gets a pool of 1 MiB, whatever swiotlb= says, in
# which virtio-blk's reads of 1 MiB never end (observed on 6.18.15).
PLAIN_RAM = 4096 * MIB
# Bytes, and so many requests that the guest's clock, which counts hundredths, tells per cents.
SIZES = {"4k": (4 << 10, 5000), "64k": (64 << 10, 3000), "1M": (MIB, 500)}
READ_ALL = """
read_all() {
    read -r begun rest </proc/uptime
    dd if=$2 of=/dev/null bs=$3 count=$4 iflag=direct 2>/dev/null || exit 1
    read -r ended rest </proc/uptime
    echo read $1 $3 $begun $ended
}
"""
DONE = re.compile(r"^read (\S+) (\S+) (\S+) (\S+)$", re.MULTILINE)
Rates = dict[tuple[str, str], list[float]]


def reads(below: dict[str, str], rounds: int) -> Step:
    """Which step reads every disk, at every size, in turns?"""
    lines = [SHELL_HELPERS, READ_ALL]
    for name, path in below.items():
        lines.append(f"disk_below {path}; awaited $d; {name}=$d")
    for _ in range(rounds):
        for size, (_, count) in SIZES.items():
            lines += [f"read_all {name} ${name} {size} {count}" for name in below]
    return Step("reads", "\n".join(lines) + "\n", 0)


def plain(
    guest: GuestImage, kernel: Path, folder: Path, shape: RealmShape, *, smmu: bool = False
) -> str:
    """What does the plain guest say, on the same CPUs and with the same PCI devices?

    `smmu`: they stand behind an SMMU, which the guest lets all of them pass by.
    """
    (folder / "initrd").write_bytes(guest.initrd)
    words = [word for device in shape.pci for word in device.arguments()]
    ours, theirs = socket.socketpair()
    process = subprocess.Popen(
        [
            *(str(tools.find("qemu")), "-nodefaults"),
            *("-machine", "virt,gic-version=3" + (",iommu=smmuv3" if smmu else "")),
            *("-cpu", cpu_model.words(shape.cpu, shape.ipa_bits), "-smp", str(shape.cpus)),
            *("-m", f"{PLAIN_RAM // MIB}M"),
            *("-display", "none", "-no-reboot", "-chardev", f"socket,id=c,fd={theirs.fileno()}"),
            *("-serial", "chardev:c", "-kernel", str(kernel), "-initrd", str(folder / "initrd")),
            *("-append", f"{guest.command_line} swiotlb=force iommu.passthrough=1", *words),
        ],
        pass_fds=[theirs.fileno()],
    )
    theirs.close()
    console = Console(ours)
    try:
        process.wait(600)
    finally:
        process.kill()
    console.finish()
    ours.close()
    return read_report(console.output).steps["reads"].log


def realm(guest: GuestImage, shape: RealmShape) -> str:
    """What does the Realm say?"""
    with QemuMachine(shape, guest) as machine:
        run = machine.run(timeout=600)
    run.require_end()
    return read_report(run.console).steps["reads"].log


def add(rates: Rates, where: str, log: str) -> None:
    for name, size, begun, ended in DONE.findall(log):
        each, count = SIZES[size]
        rates[f"{where} {name}", size].append(each * count / MIB / (float(ended) - float(begun)))


def compare(rates: Rates, what: str, against: str) -> None:
    def median(which: str, size: str) -> float:
        return statistics.median(rates[which, size])

    line = [f"{size} {median(what, size) / median(against, size):.2f}" for size in SIZES]
    print(f"{what} / {against}: {', '.join(line)}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--kernel", default="6.18")
    parser.add_argument("--boots", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--cpus", type=int, default=1)
    parser.add_argument("--ram", type=int, default=RAM, help="MiB of the Realm")
    parser.add_argument("--cpu", default="", help="QEMU's name of the CPU model")
    parser.add_argument("--against", help="compare the Realm with one on this CPU model as well")
    parser.add_argument(
        "--plain-smmu", action="store_true", help="a plain guest behind an SMMU as well"
    )
    parser.add_argument("--no-plain", action="store_true", help="the Realm only")
    args = parser.parse_args()
    gc.set_threshold(RARELY)  # as the command does
    kernel = kernels.kernel(args.kernel)
    modules = kernel.tree().closure(["nvme", "virtio_pci", "virtio_blk", "virtio_mmio"])
    rates: Rates = defaultdict(list)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for number, disk in enumerate(("virtio", "nvme")):
            Disk(number, DISK).write(folder / disk)
        pci = (
            PciDevice("virtio-blk", 1, folder / "virtio"),
            PciDevice("nvme", 2, folder / "nvme"),
        )
        own = EmulatedDevice(0, VirtioBlk(bytearray((folder / "virtio").read_bytes())))
        shape = RealmShape(
            ram=args.ram * MIB, cpus=args.cpus, cpu=args.cpu, pci=pci, emulated=(own,)
        )
        below = {
            "virtio": f"/sys/bus/pci/devices/{pci[0].name}",
            "nvme": f"/sys/bus/pci/devices/{pci[1].name}",
        }
        # Who read before, and how often, decides how scattered a reader's buffer is over memory.
        alike = {**below, "again": below["virtio"]}
        both = {**below, "python": f"/sys/bus/platform/devices/{own.name}"}

        def image(disks: dict[str, str]) -> GuestImage:
            files = plan_files([reads(disks, args.rounds)])
            archive = initramfs.build(busybox.fetch(), modules, INIT, files)
            words = command_line(trace=(), extra=["nvme.sgl_threshold=0"])
            return GuestImage(kernel.read(), archive, words)

        for _ in range(args.boots):
            add(rates, "realm", realm(image(both), shape))
            if args.against:
                other = dataclasses.replace(shape, cpu=args.against)
                add(rates, args.against, realm(image(both), other))
            if not args.no_plain:
                add(rates, "plain", plain(image(alike), kernel.image, folder, shape))
            if args.plain_smmu:
                said = plain(image(alike), kernel.image, folder, shape, smmu=True)
                add(rates, "behind an SMMU", said)
    for (what, size), found in sorted(rates.items()):
        each = " ".join(f"{rate:.1f}" for rate in found)
        print(f"{what} {size}: {statistics.median(found):.1f} MiB/s ({each})")
    compare(rates, "realm python", "realm virtio")
    for name in ("virtio", "nvme") if args.against else ():
        compare(rates, f"realm {name}", f"{args.against} {name}")
    if not args.no_plain:
        compare(rates, "realm virtio", "plain virtio")
        compare(rates, "realm nvme", "plain nvme")
    for name in ("virtio", "nvme") if args.plain_smmu else ():
        compare(rates, f"realm {name}", f"behind an SMMU {name}")
        if not args.no_plain:
            compare(rates, f"behind an SMMU {name}", f"plain {name}")


if __name__ == "__main__":
    main()
