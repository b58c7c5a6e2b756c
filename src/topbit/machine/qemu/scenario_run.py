"""How does a scenario become a run on QEMU, and the run a recording?

    with ScenarioRun(scenario, kernel) as run:
        outcome = run.run(timeout=300)

What the host's side did (RMM, VMM, SMMU), what the guest recorded itself, and whether the data
arrived, are put together on the guest's clock.
"""

from __future__ import annotations

import contextlib
import dataclasses
import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from topbit.arch.ipa import IpaSpace
from topbit.events import Event
from topbit.machine.injection import not_injected
from topbit.machine.qemu.el2 import cpu_model
from topbit.machine.qemu.ending import unfinished
from topbit.machine.qemu.feasible import (
    guest_ram_mib,
    more_ram,
    other_conventions,
    refuse_impossible,
)
from topbit.machine.qemu.guest import clock, token
from topbit.machine.qemu.guest.device import GuestDevice
from topbit.machine.qemu.guest.devices import device_of
from topbit.machine.qemu.guest.evidence import Evidence, read_evidence
from topbit.machine.qemu.guest.ktap import Tests, read_ktap
from topbit.machine.qemu.guest.own_system import OwnSystem
from topbit.machine.qemu.guest.report import (
    GuestReport,
    StepReport,
    read_report,
    step_events,
    troubles,
)
from topbit.machine.qemu.guest.steps import TOKEN
from topbit.machine.qemu.guest.system import GuestSystem
from topbit.machine.qemu.host.memory_map import ITS_DOORBELL
from topbit.machine.qemu.host.outbox import Stream
from topbit.machine.qemu.host.shape import GuestImage, RealmShape
from topbit.machine.qemu.hotplug import Plugger
from topbit.machine.qemu.machine import QemuMachine, Run
from topbit.machine.qemu.process.terminal import Terminal
from topbit.readers.lines import plain
from topbit.recording import Platform, Recording
from topbit.scenario.scenario import MIB, RAM_BASE, Scenario
from topbit.scenario.settings import settings, unusual
from topbit.store import busybox, tools
from topbit.store.kernels import Kernel

MAX_OUTPUT = 1 << 20  # bytes of the command's output that the recording keeps
DEATH = re.compile(
    r"Kernel panic - not syncing.*|Internal error: .*|Unable to handle kernel .*|"
    r"Synchronous External Abort.*"
)


@dataclass(slots=True)
class Outcome:
    """What came of the run?

    Attributes:
        recording: everything, on the guest's clock; what there was until then, if it was ended.
        ending: as `Run.ending`.
        complete: the guest came to the end of its work and reported it.
        undone: a step of it failed or hung, data did not arrive as it was sent, or the
            attestation token that it should get is missing or wrong.
        command_status: exit status of the user's command; None without one, or if it did not end.
        last_words: the kernel's line about its death; empty if there is none.
        guest: what the guest reported.
        files: what it handed out of the files that the user wants, as tar files.
    """

    recording: Recording
    ending: str
    complete: bool
    undone: bool
    command_status: int | None
    last_words: str
    guest: GuestReport
    files: bytes = b""


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
    ) -> None:
        refuse_impossible(scenario)
        self.scenario = scenario
        self.kernel = kernel
        self.own = own or OwnSystem()
        with ThreadPoolExecutor(1) as aside:  # it asks the program for its version
            self._qemu = aside.submit(tools.find, "qemu")
            image = kernel.read()
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
                scenario, kernel, self.own, self.devices, disk, append, late_trace=image.real_time
            )
            notes = (other_conventions(scenario, kernel.release), more_ram(scenario))
            self.system.notes += [note for note in notes if note]
            steps = self.system.steps(interactive)
            self._times = {step.name: step.times for step in steps}
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
            program=self._qemu.result(),
        ) as machine:
            if output:
                machine.outbox.listen[Stream.OUTPUT] = output
            started(machine)
            plugged = [device for device in self.shape.pci if device.bus]
            with Plugger(machine, plugged), contextlib.ExitStack() as stack:
                typing = stack.enter_context(Terminal(machine.console)) if keyboard else None
                run = machine.run(timeout, typing.left if typing else None, self.own.begun)
            self.rmm, self.rd = machine.host.rmm, machine.host.realm.rd
        outcome = self._outcome(run)
        step = outcome.guest.steps.get("run")
        if output and step and step.log and not run.outbox[Stream.OUTPUT]:
            output(step.log.encode())
        return outcome

    def _outcome(self, run: Run) -> Outcome:
        report = read_report(run.console, run.outbox)
        found = read_evidence(report, run.console)
        space, lost = IpaSpace(self.shape.ipa_bits), bool(found.lost_events)
        traced = clock.merge(run.events, found.events, space, lost=lost)
        traced = clock.interleave(traced, step_events(report, self._times))
        payload: list[Event] = []
        if not self.own.boots:
            payload = [event for device in self.devices for event in device.payload(report)]
        text = run.console.decode("utf-8", "replace")
        last_words = next((plain(match[0]).strip() for match in DEATH.finditer(text)), "")
        complete = report.complete
        if self.own.boots:
            complete = run.ending in ("power off", "reset") and not last_words
        wrong_token = self._wrong_token(report)
        undone = not self.own.boots and bool(
            troubles(run.ending, report)
            or any(event.status != "ok" for event in payload)
            or wrong_token
        )
        step = report.steps.get("run") if self.own.command else None
        output = self._output(run, step) if step else []
        platform = self._platform(run, report, found, wrong_token)
        platform.unfinished = unfinished(
            run.ending, complete=complete, undone=undone, last_words=last_words
        )
        recording = Recording.of_events(platform, [*traced, *output, *payload])
        return Outcome(
            recording,
            run.ending,
            complete,
            undone,
            step.status if step else None,
            last_words,
            report,
            run.outbox[Stream.FILES],
        )

    def _output(self, run: Run, step: StepReport) -> list[Event]:
        """What did the user's command write?"""
        text = _written(run, step)[:MAX_OUTPUT]
        return [Event("guest", "output", detail=text, time=step.end)]

    def _tests(self, run: Run, step: StepReport | None) -> Tests | None:
        """Of which tests does the output of the user's command tell?"""
        return read_ktap(_written(run, step)) if self.own.command and step else None

    def _command_status(self, run: Run, step: StepReport | None) -> int | None:
        """How did the user's command end? A test that failed counts, if the command does not."""
        if not self.own.command or step is None or step.status is None:
            return None
        tests = self._tests(run, step)
        return step.status or int(bool(tests and tests.failed))

    def _wrong_token(self, report: GuestReport) -> str:
        """What is wrong with the guest's attestation token? Empty: nothing, or none was wanted."""
        step = report.steps.get("attest")
        if not self.scenario.workload.attest or step is None or step.log is None:
            return ""  # what the guest did not come to, or did not hand out, is not known
        signed = report.files.get(TOKEN)
        if signed is None:
            return "the guest got no attestation token"
        realm = self.rmm.realm(self.rd)
        wrong = token.verify(signed, self.rmm.attestor(), realm, self.system.challenge)
        return wrong and f"the guest's attestation token is WRONG: {wrong}"

    def _platform(
        self, run: Run, report: GuestReport, found: Evidence, wrong_token: str
    ) -> Platform:
        notes = [*self.system.notes, *run.notes]
        if self.own.boots:
            notes.append(f"the guest's system is your own; it ended with: {run.ending}")
        else:
            notes += [*not_injected(self.scenario.host, run.events), *troubles(run.ending, report)]
        if TOKEN in report.files or wrong_token:
            rim = self.rmm.realm(self.rd).measurements.values[0].hex()
            verified = f"the guest's attestation token was verified; its RIM is {rim}"
            notes.append(wrong_token or verified)
        step = report.steps.get("run")
        if self.own.command and step is not None and step.status is not None:
            notes.append(f"the guest's command ended with exit status {step.status}")
        if tests := self._tests(run, step):
            notes.append(f"the guest's command tells of {tests} (KTAP)")
        devices = {device.name: device.facts() for device in self.devices}
        for name, facts in devices.items():
            if name in found.facts.devices:
                facts.driver = found.facts.devices[name].driver
        told = settings(self.scenario)
        told = {key: value for key, value in told.items() if not key.startswith("guest.")}
        told["cpu"] = cpu_model.words(self.shape.cpu, self.shape.ipa_bits)
        told["realm.ram_mib"] = str(self.shape.ram // MIB)
        for device in self.devices:
            told[f"device.{device.spec.name}"] = device.described
        return Platform(
            realm=True,
            ipa_bits=self.shape.ipa_bits,
            origins=dict.fromkeys(("scheme", "realm", "ipa_bits", "kernel", "ram"), "scenario")
            | {"pools": "the guest's kernel log"},
            kernel=report.release or self.kernel.release,
            pools=found.facts.pools,
            ram=[(RAM_BASE, self.shape.ram)],
            devices=devices,
            msi_doorbells=[ITS_DOORBELL],
            machine="qemu",
            policies=told,
            changed=unusual(told),
            notes=notes,
            unparsed=found.unparsed,
            lost_events=found.lost_events,
            command_status=self._command_status(run, step),
        )


def _written(run: Run, step: StepReport) -> str:
    return run.outbox[Stream.OUTPUT].decode("utf-8", "replace") or step.log or ""
