"""What came of a run on QEMU?

What the host's side did (RMM, VMM, SMMU), what the guest recorded itself, and whether the data
arrived, are put together on the guest's clock.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Protocol

from topbit.arch.ipa import IpaSpace
from topbit.events import Event
from topbit.machine.injection import not_injected
from topbit.machine.qemu.el2 import cpu_model
from topbit.machine.qemu.ending import ENDED_BY_ITSELF, unfinished
from topbit.machine.qemu.guest import clock, token
from topbit.machine.qemu.guest.evidence import Evidence, read_evidence
from topbit.machine.qemu.guest.ktap import Tests, read_ktap
from topbit.machine.qemu.guest.report import (
    GuestReport,
    StepReport,
    read_report,
    step_events,
    troubles,
)
from topbit.machine.qemu.guest.steps import TOKEN
from topbit.machine.qemu.host.memory_map import ITS_DOORBELL
from topbit.machine.qemu.host.outbox import Stream
from topbit.readers.lines import plain
from topbit.recording import Platform, Recording
from topbit.scenario.scenario import MIB, RAM_BASE
from topbit.scenario.settings import settings, unusual

if TYPE_CHECKING:
    from topbit.arch.ipa import Pa
    from topbit.machine.qemu.guest.device import GuestDevice
    from topbit.machine.qemu.guest.own_system import OwnSystem
    from topbit.machine.qemu.guest.system import GuestSystem
    from topbit.machine.qemu.host.shape import RealmShape
    from topbit.machine.qemu.machine import Run
    from topbit.rmm import Rmm
    from topbit.rmm.realm import Realm
    from topbit.scenario import Scenario
    from topbit.store.kernels import Kernel

MAX_OUTPUT = 1 << 20  # bytes of the command's output that the recording keeps
UNTRACED = 2.0
"""Seconds without a look for new trace after which the program that hands it out has ended before
the guest: it looks 25 times a second."""
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


class Prepared(Protocol):
    """What was decided of a run before it began? A `ScenarioRun` tells it."""

    scenario: Scenario
    kernel: Kernel
    own: OwnSystem
    devices: list[GuestDevice]
    system: GuestSystem
    shape: RealmShape
    times: dict[str, int]


class Assembly:
    """Who puts together what came of one run?

    Args:
        prepared: the run, as it was prepared.
        run: what happened in it.
        rmm: the RMM of the machine, which is over.
        rd: the Realm's descriptor.
    """

    def __init__(self, prepared: Prepared, run: Run, rmm: Rmm, rd: Pa) -> None:
        self._prepared, self._run = prepared, run
        self._rmm, self._rd = rmm, rd
        self._report = report = read_report(run.console, run.outbox)
        self._command = report.steps.get("run") if prepared.own.command else None

    def outcome(self) -> Outcome:
        """Which recording does it make, and how did it end?"""
        run, report = self._run, self._report
        found = read_evidence(report, run.console)
        if self._prepared.own.boots and (run.untraced or 0.0) > UNTRACED:
            found.lost_events += 1  # how many there were nobody knows
            run.notes.append(
                f"the guest's trace ends {run.untraced:.0f} s before the guest: its end is missing"
            )
        space, lost = IpaSpace(self._prepared.shape.ipa_bits), bool(found.lost_events)
        traced = clock.merge(run.events, found.events, space, lost=lost)
        traced = clock.interleave(traced, step_events(report, self._prepared.times))
        payload: list[Event] = []
        if not self._prepared.own.boots:
            payload = [
                event for device in self._prepared.devices for event in device.payload(report)
            ]
        text = run.console.decode("utf-8", "replace")
        last_words = next((plain(match[0]).strip() for match in DEATH.finditer(text)), "")
        complete = report.complete
        if self._prepared.own.boots:
            complete = run.ending in ENDED_BY_ITSELF and not last_words
        wrong_token = self._wrong_token()
        undone = not self._prepared.own.boots and bool(
            troubles(run.ending, report)
            or any(event.status != "ok" for event in payload)
            or wrong_token
        )
        step = self._command
        output = self._output(step) if step else []
        platform = self._platform(found, wrong_token)
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

    @cached_property
    def _realm(self) -> Realm:
        return self._rmm.realm(self._rd)

    def _output(self, step: StepReport) -> list[Event]:
        """What did the user's command write?"""
        text = self._written(step)[:MAX_OUTPUT]
        return [Event("guest", "output", detail=text, time=step.end)]

    @cached_property
    def _tests(self) -> Tests | None:
        """Of which tests does the output of the user's command tell?"""
        return read_ktap(self._written(self._command)) if self._command else None

    def _command_status(self) -> int | None:
        """How did the user's command end? A test that failed counts, if the command does not."""
        if self._command is None or self._command.status is None:
            return None
        return self._command.status or int(bool(self._tests and self._tests.failed))

    def _wrong_token(self) -> str:
        """What is wrong with the guest's attestation token? Empty: nothing, or none was wanted."""
        report = self._report
        step = report.steps.get("attest")
        if not self._prepared.scenario.workload.attest or step is None or step.log is None:
            return ""  # what the guest did not come to, or did not hand out, is not known
        signed = report.files.get(TOKEN)
        if signed is None:
            return "the guest got no attestation token"
        wrong = token.verify(
            signed, self._rmm.attestor(), self._realm, self._prepared.system.challenge
        )
        return wrong and f"the guest's attestation token is WRONG: {wrong}"

    def _platform(self, found: Evidence, wrong_token: str) -> Platform:
        run, report = self._run, self._report
        notes = [*self._prepared.system.notes, *run.notes]
        if self._prepared.own.boots:
            notes.append(f"the guest's system is your own; it ended with: {run.ending}")
        else:
            notes += [
                *not_injected(self._prepared.scenario.host, run.events),
                *troubles(run.ending, report),
            ]
        if TOKEN in report.files or wrong_token:
            rim = self._realm.measurements.values[0].hex()
            verified = f"the guest's attestation token was verified; its RIM is {rim}"
            notes.append(wrong_token or verified)
        if self._command and self._command.status is not None:
            notes.append(f"the guest's command ended with exit status {self._command.status}")
        if self._tests:
            notes.append(f"the guest's command tells of {self._tests} (KTAP)")
        devices = {device.name: device.facts() for device in self._prepared.devices}
        for name, facts in devices.items():
            if name in found.facts.devices:
                facts.driver = found.facts.devices[name].driver
        told = settings(self._prepared.scenario)
        told = {key: value for key, value in told.items() if not key.startswith("guest.")}
        told["cpu"] = cpu_model.words(self._prepared.shape.cpu, self._prepared.shape.ipa_bits)
        told["realm.ram_mib"] = str(self._prepared.shape.ram // MIB)
        for device in self._prepared.devices:
            told[f"device.{device.spec.name}"] = device.described
        return Platform(
            realm=True,
            ipa_bits=self._prepared.shape.ipa_bits,
            origins=dict.fromkeys(("scheme", "realm", "ipa_bits", "kernel", "ram"), "scenario")
            | {"pools": "the guest's kernel log"},
            kernel=report.release or self._prepared.kernel.release,
            pools=found.facts.pools,
            ram=[(RAM_BASE, self._prepared.shape.ram)],
            devices=devices,
            msi_doorbells=[ITS_DOORBELL],
            machine="qemu",
            policies=told,
            changed=unusual(told),
            notes=notes,
            unparsed=found.unparsed,
            lost_events=found.lost_events,
            command_status=self._command_status(),
        )

    def _written(self, step: StepReport) -> str:
        """What did this step write?"""
        return self._run.outbox[Stream.OUTPUT].decode("utf-8", "replace") or step.log or ""
