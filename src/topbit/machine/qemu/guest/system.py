"""Which initramfs and which command line boot in the guest, for one scenario?"""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path

from topbit.arch.ipa import IpaSpace
from topbit.errors import InputError, UsageError
from topbit.machine.qemu.guest import edu, initramfs, outbox_program, token
from topbit.machine.qemu.guest.device import GuestDevice
from topbit.machine.qemu.guest.devices import agenda
from topbit.machine.qemu.guest.init import EVENTS, INIT, plan_files
from topbit.machine.qemu.guest.own_system import RDINIT, OwnSystem, file_systems
from topbit.machine.qemu.guest.steps import (
    ATTEST_DRIVERS,
    TRACE_GROUPS,
    Step,
    attest,
    command_line,
    run_command,
    shell,
)
from topbit.machine.qemu.host import injection_port
from topbit.scenario.scenario import MIB, Scenario
from topbit.scenario.tables import GuestSpec
from topbit.store import kernels
from topbit.store.kernels import Kernel
from topbit.store.modules import kernel_name

SLOT = 2048  # bytes: IO_TLB_SIZE
# NVMe with SGLs corrupts bounced reads from f0887e2a52d4 (6.18) to a54afbc8a213 (6.19).
SGL_BROKEN, SGL_FIXED = (6, 18), (6, 19)
# The pool of a Realm is RAM/1024: 1 MiB of 1 GiB, which a network card's receive buffers fill.
POOL_SHRINKS = (7, 3)
WIRE_SLOTS = 8192  # 16 MiB


class GuestSystem:
    """What is put together for the guest?

    Attributes:
        challenge: what the guest asks for its attestation token with.
        notes: what a reader of the report must know of it.

    Args:
        scenario, kernel: what runs.
        own: what the user brings along.
        devices: the devices; `disk` is the one with the user's root file system, if any.
        append: further words of the kernel's command line.
        late_trace: the guest's init turns its trace on, and not the command line: a kernel with
            PREEMPT_RT hangs with that (docs/found-faults.md).
        cpus: number of vCPUs.
    """

    def __init__(
        self,
        scenario: Scenario,
        kernel: Kernel,
        own: OwnSystem,
        devices: list[GuestDevice],
        disk: GuestDevice | None,
        append: str,
        *,
        late_trace: bool = False,
        cpus: int = 1,
    ) -> None:
        self.scenario = scenario
        self.kernel = kernel
        self.own = own
        self.devices = devices
        self.disk = disk
        self.append = append
        self.challenge = os.urandom(64)
        self.notes: list[str] = []
        self._late_trace = late_trace
        self._cpus = cpus
        added = [path for one in own.added for path in one.sources()]
        self._tree = kernel.tree().adding(added)

    @property
    def traced(self) -> bool:
        """Does the guest hand out its kernel's DMA trace? Not where the trace is the user's own."""
        theirs = "rdinit=" in self.append if self.own.initrd else False
        return not theirs and not (self.own.boots and "trace_event=" in self.append)

    def steps(self, interactive: bool) -> list[Step]:
        """What does topbit's init do in the guest?"""
        scenario = self.scenario
        work = scenario.workload
        if self.own.boots:
            if scenario.host.injects or work.attest:
                raise UsageError(
                    "only topbit's own init in the guest does its part of that",
                    where="workload.attest" if work.attest else "host",
                    hint="leave --initrd and --rootfs away",
                )
            return []
        steps = agenda(self.devices, work, self._tree)
        if work.reloads:
            self._say_what_is_not_reloaded()
        if scenario.host.injects:
            injection = injection_port.script(IpaSpace(scenario.realm.ipa_bits))
            first, *others = steps or [Step("injection", "")]
            steps = [dataclasses.replace(first, script=injection + first.script), *others]
        if work.attest:
            token.require()
            steps.append(attest(self.challenge))
        if self.own.command:
            steps.append(
                self.own.command_step(self.disk.name, console=interactive)
                if self.disk
                else run_command(self.own.command, console=interactive)
            )
        if interactive:
            steps.append(shell())
        return steps + self.own.last_steps()

    def _say_what_is_not_reloaded(self) -> None:
        files = self._tree.files
        drivers = {kernel_name(device.drivers[-1]) for device in self.devices if device.again}
        for name in sorted(drivers - files.keys()):
            self.notes.append(f"workload.reloads leaves {name} out: it is part of this kernel")

    def initramfs(self, busybox: Path, steps: list[Step]) -> bytes:
        """Which archive does the kernel unpack?"""
        own, disk = self.own, self.disk.name if self.disk else ""
        tree = self._tree
        drivers = [name for device in self.devices for name in device.drivers]
        if self.scenario.workload.attest:
            drivers += ATTEST_DRIVERS
        missing = [name for name in drivers if not tree.has(name)]
        if missing and not own.initrd:
            raise InputError(
                f"Linux {self.kernel.release} has no driver {missing[0]}",
                where=str(self.kernel.modules or self.kernel.image),
                hint="--modules DIR names the modules of one's own kernel; Debian's full kernel "
                "(--flavour full) has more drivers than its cloud kernel",
            )
        if own.boots:
            space = IpaSpace(self.scenario.realm.ipa_bits) if self.traced else None
            late = " ".join(TRACE_GROUPS) if self._late_trace else ""
            return own.archive(busybox, tree, drivers, disk, space, late)
        if disk:
            drivers += file_systems(tree)
        files = plan_files(steps) | outbox_program.files(IpaSpace(self.scenario.realm.ipa_bits))
        if self._late_trace:
            files[EVENTS] = " ".join(TRACE_GROUPS).encode()
        added = {path: file for one in own.added for path, file in one.files().items()}
        return initramfs.build(busybox, tree.closure(drivers), INIT, files, added)

    def command_line(self) -> str:
        """Which command line does the kernel get?"""
        words = []
        scenario = self.scenario
        if scenario.guest.swiotlb_mib not in (0, GuestSpec().swiotlb_mib):
            words.append(f"swiotlb={scenario.guest.swiotlb_mib * MIB // SLOT}")
        elif self._wire_needs_more():
            words.append(f"swiotlb={WIRE_SLOTS}")
            self.notes.append(
                f"the bounce pool has 16 MiB (swiotlb={WIRE_SLOTS}) for workload.network_mib: a "
                "network card's receive buffers fill the 1 MiB that this kernel gives it (S1); "
                "--append swiotlb=512 shows it"
            )
        if scenario.host.destroy_page == "shared":
            words.append("oops=panic")  # else an oops under a spinlock leaves the vCPU spinning
        if any(device.spec.behaviour == "stale" for device in self.devices):
            words.append(edu.rings_traced())
        nvme = any(device.pci and "nvme" in device.drivers for device in self.devices)
        broken = SGL_BROKEN <= kernels.version_of(self.kernel.release) < SGL_FIXED
        if nvme and broken and "nvme.sgl_threshold=" not in self.append:
            words.append("nvme.sgl_threshold=0")
            self.notes.append(
                "NVMe runs without SGLs (nvme.sgl_threshold=0): before commit a54afbc8a213 the "
                "driver leaves bounced reads unmapped; --append nvme.sgl_threshold=32768 shows it"
            )
        if self.own.initrd and self.traced:
            words.append(RDINIT)
        words += self.append.split()
        if not self.traced:
            return command_line(trace=(), extra=words)
        if self._late_trace:
            return command_line(trace=(), late_trace=True, extra=words, cpus=self._cpus)
        return command_line(extra=words, cpus=self._cpus)

    def _wire_needs_more(self) -> bool:
        """Is much sent over a wire, by a kernel whose own bounce pool is too small for that?"""
        much = self.scenario.workload.network_mib > 0 and not self.own.boots
        shrinks = kernels.version_of(self.kernel.release) >= POOL_SHRINKS
        return much and shrinks and "swiotlb=" not in self.append
