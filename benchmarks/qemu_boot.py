"""How much slower is a kernel as a Realm on topbit than in plain QEMU?

    python benchmarks/qemu_boot.py [--kernel 6.18] [--runs 5] [--cpus 1] [--cpu MODEL]
                                   [--plain-cpu MODEL] [--append WORDS]

In turns: the whole command ``topbit run seed --machine qemu``, and plain QEMU with the same kernel,
devices and initramfs, and so the same workload up to the power-off, but without EL2, SMMU, trace
events and report. The disk that topbit emulates is QEMU's own there, on virtio-mmio as well.
Prints for both the seconds from the start of QEMU to userspace, for the Realm also from the moment
at which topbit begins to build it (its memory, measured, before QEMU starts), and from the start of
the command to its end; the ratios of the medians, and the median of the ratios of each pair. One
run before them does not count: Python keeps its compiled modules from then on, whatever the
environment says.

A virtual machine that gives free memory back to its host (free page reporting) makes whoever
touches memory pay for getting it again: figures are steady only with that turned off, by
``echo 11 > /sys/module/page_reporting/parameters/page_reporting_order``, and after all memory was
touched once.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import os
import re
import socket
import statistics
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from topbit.machine.qemu.el2 import cpu_model
from topbit.machine.qemu.guest import initramfs
from topbit.machine.qemu.guest.disk import DiskDevice
from topbit.machine.qemu.guest.init import BUNDLE_BEGIN, INIT, plan_files
from topbit.machine.qemu.guest.integrity import MIB
from topbit.machine.qemu.guest.steps import Step, command_line, dashed
from topbit.machine.qemu.process.console import Console
from topbit.machine.qemu.scenario_run import ScenarioRun
from topbit.scenario.builtin import builtin
from topbit.store import busybox, kernels, tools

RAM = 1024  # MiB
VIRTIO_MMIO = "a003e00.virtio_mmio"  # of the `virt` machine's slots for virtio-mmio the last one
FIRST_WORD = b"@@ "
WORK_DONE = f"\n{BUNDLE_BEGIN}".encode()
LIMIT = 300.0  # seconds
NO_BYTECODE = "PYTHONDONTWRITEBYTECODE"


class PlainGuest:
    """The seed scenario's guest on plain QEMU."""

    def __init__(self, kernel: str, cpus: int, cpu: str, folder: Path) -> None:
        self.prepared = prepared = ScenarioRun(builtin("seed"), kernels.kernel(kernel))
        self._disk = next(
            device
            for device in prepared.devices
            if isinstance(device, DiskDevice) and not device.pci
        )
        work = [self._renamed(step) for device in prepared.devices for step in device.steps]
        modules = prepared.kernel.tree().closure([d for p in prepared.devices for d in p.drivers])
        initrd = folder / "initrd"
        initrd.write_bytes(initramfs.build(busybox.fetch(), modules, INIT, plan_files(work)))
        words = command_line(trace=(), extra=["nvme.sgl_threshold=0"])
        devices = [
            word for device in prepared.devices if device.pci for word in device.pci.arguments()
        ]
        self._command = [
            *(str(tools.find("qemu")), "-machine", "virt,gic-version=3", "-nodefaults"),
            *("-cpu", cpu_model.words(cpu, prepared.shape.ipa_bits)),
            *("-smp", str(cpus), "-m", f"{RAM}M"),
            *("-display", "none", "-no-reboot", "-global", "virtio-mmio.force-legacy=off"),
            *("-kernel", str(prepared.kernel.image), "-initrd", str(initrd), "-append", words),
            *(word.replace(",iommu_platform=on", "") for word in devices),
            *(word for device in prepared.devices for word in device.options),
            *("-drive", f"file={self._disk.medium.path},format=raw,if=none,id=emulated"),
            *("-device", "virtio-blk-device,drive=emulated"),
        ]

    def _renamed(self, step: Step) -> Step:
        """The same work on the disk that is QEMU's own here."""
        name, script = step.name, step.script
        for old, new in (
            (self._disk.name, VIRTIO_MMIO),
            (dashed(self._disk.name), dashed(VIRTIO_MMIO)),
        ):
            name, script = name.replace(old, new), script.replace(old, new)
        return dataclasses.replace(step, name=name, script=script)

    def run(self) -> tuple[float, float, float]:
        """Seconds to userspace, twice, and to the end of the work."""
        ours, theirs = socket.socketpair()
        theirs.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4 * MIB)
        inherited = [end.fileno() for device in self.prepared.devices for end in device.inherited]
        start = time.monotonic()
        process = subprocess.Popen(
            [
                *self._command,
                "-chardev",
                f"socket,id=c,fd={theirs.fileno()}",
                "-serial",
                "chardev:c",
            ],
            pass_fds=[theirs.fileno(), *inherited],
        )
        theirs.close()
        console = Console(ours)
        try:
            wait(lambda: process.poll() is not None, process)
            end = time.monotonic()
        finally:
            process.kill()
            process.wait()
            console.finish()
            ours.close()
        failed = re.findall(rb"@@ \S+ step (\S+) exit (?!0\b)", console.output)
        if failed or not console.saw(WORK_DONE):
            raise SystemExit(f"plain QEMU: {failed[0].decode() if failed else 'its work'} failed")
        word = console.output.find(FIRST_WORD)
        boot = next(when for when, size in console.arrivals if size > word)
        return boot - start, boot - start, end - start


def realm(kernel: str, cpus: int, more: Sequence[str], log: Path) -> tuple[float, float, float]:
    """Seconds to userspace from QEMU's start, from the Realm's building, and of all of it."""
    log.unlink(missing_ok=True)
    start = time.monotonic()
    process = subprocess.Popen(
        [
            *(str(Path(sys.executable).with_name("topbit")), "run", "seed", "--machine", "qemu"),
            *("--kernel", kernel, "--cpus", str(cpus), "--set", f"realm.ram_mib={RAM}"),
            *("--log", str(log), *more),
        ],
        stdout=subprocess.DEVNULL,
        env={name: value for name, value in os.environ.items() if name != NO_BYTECODE},
    )
    wait(log.exists, process)  # made before the Realm is built
    building = time.monotonic()
    others: set[str] = set()
    wait(lambda: has_qemu(process.pid, others), process)
    qemu = time.monotonic()
    wait(lambda: FIRST_WORD in log.read_bytes(), process)
    boot = time.monotonic()
    if process.wait():
        raise SystemExit("the run as a Realm failed")
    return boot - qemu, boot - building, time.monotonic() - start


def has_qemu(parent: int, others: set[str]) -> bool:
    """Has the process a child that is a virtual machine of QEMU?

    `others`: processes that are no child of it, which are not looked at again: to look at all of
    them each time would take the run much of a core.
    """
    for name in os.listdir("/proc"):
        if not name.isdecimal() or name in others:
            continue
        folder = Path("/proc") / name
        with contextlib.suppress(OSError):  # it has ended meanwhile
            owner = (folder / "stat").read_text().rpartition(")")[2].split()[1]
            if int(owner) != parent:
                others.add(name)
            elif b"-nodefaults" in (folder / "cmdline").read_bytes():
                return True
    return False


def wait(done: Callable[[], bool], process: subprocess.Popen[bytes]) -> None:
    """Wait until `done`. A process that ends before it, or takes too long, ends the benchmark."""
    end = time.monotonic() + LIMIT
    while not done():
        if time.monotonic() > end or (process.poll() is not None and not done()):
            raise SystemExit("the guest did not come to the end of its work")
        time.sleep(0.002)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--kernel", default="6.18")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--cpus", type=int, default=1)
    parser.add_argument("--cpu", default="", help="QEMU's name of the CPU model")
    parser.add_argument("--append", help="more of the Realm's kernel command line")
    parser.add_argument("--plain-cpu", help="the plain guest's, if it is another")
    args = parser.parse_args()
    more = ["--cpu", args.cpu] if args.cpu else []
    more += ["--append", args.append] if args.append else []
    plain_cpu = args.cpu if args.plain_cpu is None else args.plain_cpu
    results: dict[str, list[tuple[float, float, float]]] = {"plain": [], "realm": []}
    with TemporaryDirectory() as name:
        log = Path(name) / "log"

        def plain() -> tuple[float, float, float]:
            guest = PlainGuest(args.kernel, args.cpus, plain_cpu, Path(name))
            with guest.prepared:
                deque(guest.prepared.supplying(), 0)
                return guest.run()

        realm(args.kernel, args.cpus, more, log)
        for run in range(args.runs):
            if run % 2:
                results["realm"].append(realm(args.kernel, args.cpus, more, log))
            results["plain"].append(plain())
            if not run % 2:
                results["realm"].append(realm(args.kernel, args.cpus, more, log))
            line = "  ".join(
                " ".join((k, *(f"{seconds:.2f}" for seconds in v[-1]))) for k, v in results.items()
            )
            print(f"run {run + 1}: {line}", flush=True)
    for index, what in enumerate(
        ("to userspace", "to userspace, with the Realm's building", "whole")
    ):
        each = {k: [result[index] for result in v] for k, v in results.items()}
        medians = {k: statistics.median(v) for k, v in each.items()}
        pairs = [r / p for p, r in zip(each["plain"], each["realm"], strict=True)]
        print(
            f"{what}: plain {medians['plain']:.2f} s, realm {medians['realm']:.2f} s: "
            f"{medians['realm'] / medians['plain']:.2f}; the pairs' ratios: "
            f"{statistics.median(pairs):.2f} ({min(pairs):.2f} to {max(pairs):.2f})"
        )


if __name__ == "__main__":
    main()
