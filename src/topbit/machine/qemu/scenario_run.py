"""How does a scenario become a run on QEMU, and the run a recording?

    with ScenarioRun(scenario, kernel) as run:
        outcome = run.run(timeout=300)

What came of it is put together by `outcome`, which is loaded while the guest boots: it needs all
that reads traces and kernel logs.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from topbit.machine.qemu.feasible import (
    guest_ram_mib,
    more_ram,
    other_conventions,
    refuse_impossible,
    vcpus_in_turns,
)
from topbit.machine.qemu.guest.device import GuestDevice
from topbit.machine.qemu.guest.devices import device_of
from topbit.machine.qemu.guest.own_system import OwnSystem
from topbit.machine.qemu.guest.system import GuestSystem
from topbit.machine.qemu.host.outbox import Stream
from topbit.machine.qemu.host.shape import GuestImage, RealmShape
from topbit.machine.qemu.hotplug import Plugger
from topbit.machine.qemu.machine import QemuMachine
from topbit.machine.qemu.process.terminal import Terminal
from topbit.scenario.scenario import MIB, Scenario
from topbit.store import busybox, tools
from topbit.store.image import Image
from topbit.store.kernels import Kernel

if TYPE_CHECKING:
    from topbit.machine.qemu.outcome import Outcome


class ScenarioRun:
    """One scenario on one QEMU.

    - `__init__` checks that QEMU can be this platform, makes the media and the initramfs.
    - `run` starts QEMU, serves the guest to its end and makes the recording; once.
    - `close` gives up the media. A context manager.

    Args:
        scenario: what the platform is and what each agent does.
        kernel: the guest's kernel.
        cpus: number of vCPUs.
        cpu: their model; empty for the one that fits.
        own: what the user brings along: a command besides the workload, or a system.
        interactive: give the console to a shell after the workload.
        append: further words of the kernel's command line.
        read: gives the kernel's Image; `kernel.read` if it is not read yet.

    Raises:
        UsageError: QEMU cannot be this platform.
        InputError: the kernel cannot be a Realm or lacks a driver.
    """

    def __init__(
        self,
        scenario: Scenario,
        kernel: Kernel,
        *,
        cpus: int = 1,
        cpu: str = "",
        own: OwnSystem | None = None,
        interactive: bool = False,
        append: str = "",
        read: Callable[[], Image] | None = None,
    ) -> None:
        refuse_impossible(scenario)
        self.scenario = scenario
        self.kernel = kernel
        self.own = own or OwnSystem()
        image = (read or kernel.read)()
        program = busybox.find()
        payload = program.read_bytes()
        self.devices: list[GuestDevice] = []
        try:
            for number, spec in enumerate(scenario.device, 1):
                self.devices.append(device_of(spec, number, scenario, payload))
            disk = self.own.disk(len(self.devices) + 1, scenario.realm.ipa_bits)
            if disk:
                self.devices.append(disk)
            self.system = GuestSystem(
                scenario,
                kernel,
                self.own,
                self.devices,
                disk,
                append,
                late_trace=image.real_time,
                cpus=cpus,
            )
            self.system.notes += filter(
                None,
                (
                    other_conventions(scenario, kernel.release),
                    more_ram(scenario),
                    vcpus_in_turns(cpus),
                ),
            )
            steps = self.system.steps(interactive)
            self.times = {step.name: step.times for step in steps}
            archive = self.system.initramfs(program, steps)
            self.guest = GuestImage(image, archive, self.system.command_line())
        except BaseException:
            self.close()
            raise
        self.shape = RealmShape(
            ipa_bits=scenario.realm.ipa_bits,
            ram=guest_ram_mib(scenario) * MIB,
            cpus=cpus,
            cpu=cpu,
            policy=scenario.vmm,
            pci=tuple(device.pci for device in self.devices if device.pci),
            emulated=tuple(device.emulated for device in self.devices if device.emulated),
            host=dataclasses.replace(
                scenario.host, disable_stream=self._named(scenario.host.disable_stream)
            ),
            told_ipa_bits=scenario.realm.told_ipa_bits,
            watched=next((d.name for d in self.devices if d.spec.behaviour == "stale"), ""),
            enable_dma=scenario.guest.accept != "no-dma",
        )

    def _named(self, device: str) -> str:
        """What does the kernel call the scenario's device?"""
        return next((d.name for d in self.devices if d.spec.name == device), "")

    def __enter__(self) -> ScenarioRun:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def supplying(self) -> Iterator[None]:
        """Put there what the guest will find on its devices, a part in each step.

        What it was booted from stands in its memory, and is given up first.
        """
        del self.guest
        yield
        for device in self.devices:
            yield from device.supplying()

    def close(self) -> None:
        """Give up what belongs to the outside ends."""
        for device in self.devices:
            device.close()

    def run(
        self,
        *,
        timeout: float | None = None,
        log: Path | None = None,
        terminal: int | None = None,
        keyboard: bool = False,
        options: tuple[str, ...] = (),
        output: Callable[[bytes], None] | None = None,
        started: Callable[[QemuMachine], None] = lambda machine: None,
    ) -> Outcome:
        """Boot the guest, let it work, and return what everyone did.

        Args:
            timeout: seconds after which the run is ended.
            log: file that gets the console's output.
            terminal: file descriptor that gets a copy of it.
            keyboard: what is typed at standard input, a terminal, goes to the guest.
            options: further options of QEMU.
            output: is told what the user's command writes, as it is.
            started: is given the machine before its guest runs.

        Raises:
            MissingToolError, RunError: QEMU is missing or could not be started.
        """
        words = tuple(word for device in self.devices for word in device.options)
        inherited = tuple(end.fileno() for device in self.devices for end in device.inherited)
        with QemuMachine(
            self.shape,
            self.guest,
            log=log,
            terminal=terminal,
            options=(*words, *options),
            inherited=inherited,
            program=tools.find("qemu"),
        ) as machine:
            if output:
                machine.outbox.listen[Stream.OUTPUT] = output
            started(machine)
            plugged = [device for device in self.shape.pci if device.bus]
            with Plugger(machine, plugged), contextlib.ExitStack() as stack:
                typing = stack.enter_context(Terminal(machine.console)) if keyboard else None
                left = typing.left if typing else None
                run = machine.run(timeout, left, self.own.begun, meanwhile=self.supplying())
            from topbit.machine.qemu.outcome import Assembly

            # While QEMU ends.
            outcome = Assembly(self, run, machine.host.rmm, machine.host.realm.rd).outcome()
        step = outcome.guest.steps.get("run")
        if output and step and step.log and not run.outbox[Stream.OUTPUT]:
            output(step.log.encode())
        return outcome
