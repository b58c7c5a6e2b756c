"""How much slower is a kernel as a Realm on topbit than in plain QEMU?

    python benchmarks/qemu_boot.py [--kernel 6.18] [--runs 5] [--cpus 1]

The same kernel, initramfs, devices and workload, in turns: plain QEMU (no EL2, no SMMU, virtio and
NVMe without an IOMMU) and the QEMU machine. Prints seconds from the start of the first process to
userspace and to the end, medians, and their ratios. The initramfs is made before, for both.
"""

from __future__ import annotations

import argparse
import socket
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

from topbit.machine.qemu import debian, initramfs, kernels, workload
from topbit.machine.qemu.console import Console
from topbit.machine.qemu.devices import MODULES, PciDevice
from topbit.machine.qemu.host import GuestImage, RealmShape
from topbit.machine.qemu.init import INIT, plan_files
from topbit.machine.qemu.integrity import MIB, Disk
from topbit.machine.qemu.machine import QemuMachine

RAM = 1024 * MIB


def seconds_to(console: Console, marker: bytes, start: float) -> float:
    position = console.output.find(marker)
    if position < 0:
        raise SystemExit(f"the guest never said {marker.decode()}")
    return next(when for when, length in console.arrivals if length > position) - start


def plain(
    guest: GuestImage, kernel: Path, folder: Path, pci: tuple[PciDevice, ...], cpus: int
) -> tuple[float, float]:
    (folder / "initrd").write_bytes(guest.initrd)
    devices = [word for device in pci for word in device.arguments()]
    devices = [word.replace(",iommu_platform=on", "") for word in devices]
    start = time.monotonic()
    ours, theirs = socket.socketpair()
    process = subprocess.Popen(
        [
            *(str(debian.find("qemu")), "-machine", "virt,gic-version=3", "-nodefaults"),
            *("-cpu", "max,sve=off,sme=off", "-smp", str(cpus), "-m", f"{RAM // MIB}M"),
            *("-display", "none", "-no-reboot", "-chardev", f"socket,id=c,fd={theirs.fileno()}"),
            *("-serial", "chardev:c", "-kernel", str(kernel), "-initrd", str(folder / "initrd")),
            *("-append", guest.command_line, *devices),
        ],
        pass_fds=[theirs.fileno()],
    )
    theirs.close()
    console = Console(ours)
    process.wait()
    end = time.monotonic() - start
    console.finish()
    ours.close()
    return seconds_to(console, b"@@ ", start), end


def realm(guest: GuestImage, pci: tuple[PciDevice, ...], cpus: int) -> tuple[float, float]:
    start = time.monotonic()
    with QemuMachine(RealmShape(ram=RAM, cpus=cpus, pci=pci), guest) as machine:
        run = machine.run(timeout=300)
        run.require_end()
        end = time.monotonic() - start
        return seconds_to(machine.console, b"@@ ", start), end


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--kernel", default="6.18")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--cpus", type=int, default=1)
    args = parser.parse_args()
    kernel = kernels.kernel(args.kernel)
    part = {"first": 0, "second": 32 * MIB, "size": 8 * MIB}
    steps = [workload.copy_blocks(name, **part) for name in ("vda", "nvme0n1")]
    steps.append(workload.configure_network())
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for number, disk in enumerate(("vda", "nvme"), 1):
            Disk(number).write(folder / disk)
        pci = (
            PciDevice("virtio-blk", 1, folder / "vda"),
            PciDevice("nvme", 2, folder / "nvme"),
            PciDevice("virtio-net", 3),
        )
        drivers = [module for device in pci for module in MODULES[device.model]]
        archive = initramfs.build(
            kernels.busybox(), kernel.tree().closure(drivers), INIT, plan_files(steps)
        )
        words = workload.command_line(trace=(), extra=["nvme.sgl_threshold=0"])
        guest = GuestImage(kernel.read(), archive, words)
        results: dict[str, list[tuple[float, float]]] = {"plain": [], "realm": []}
        for run in range(args.runs):
            results["plain"].append(plain(guest, kernel.image, folder, pci, args.cpus))
            results["realm"].append(realm(guest, pci, args.cpus))
            line = "  ".join(f"{k} {v[-1][0]:.2f} {v[-1][1]:.2f}" for k, v in results.items())
            print(f"run {run + 1}: {line}")
    for index, what in enumerate(("userspace", "end")):
        medians = {k: statistics.median(r[index] for r in v) for k, v in results.items()}
        ratio = medians["realm"] / medians["plain"]
        print(
            f"{what}: plain {medians['plain']:.2f} s, realm {medians['realm']:.2f} s, "
            f"ratio {ratio:.2f}"
        )


if __name__ == "__main__":
    main()
