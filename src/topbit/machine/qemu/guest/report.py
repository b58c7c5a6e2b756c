"""What did the guest say about its work?

Read from its serial console, on which the kernel's log and the guest's marker lines stand, and from
the outbox: tar files, one behind the other, or else one bundle at the end of the console (see
`init`). All of it comes from the guest and is not trusted: sizes are limited, and a report that is
cut off or damaged is still read as far as it goes.
"""

from __future__ import annotations

import contextlib
import hashlib
import re
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from topbit.events import Event
from topbit.machine.qemu.guest import outbox_program, tar_stream
from topbit.machine.qemu.guest.init import ALL_DONE, BUNDLE_BEGIN, MARKER
from topbit.machine.qemu.host.outbox import Stream
from topbit.recording.schema import STEP_BEGIN, STEP_HUNG, STEP_TIMES

NOTHING: Mapping[Stream, bytes] = MappingProxyType({})
MAX_BUNDLE = 512 << 20  # bytes of one unpacked bundle
BUNDLE = re.compile(rf"\n{BUNDLE_BEGIN} (\d{{1,9}}) ([0-9a-f]{{64}})\r?\n".encode())


@dataclass(slots=True)
class StepReport:
    """How did a step end?

    Attributes:
        status: exit status; None if it hung until its limit or the run ended before.
        start, end: seconds since the guest's boot; `end` is None if it did not come to its end.
        log: what it wrote; None if that did not come.
    """

    name: str
    status: int | None = None
    start: float | None = None
    end: float | None = None
    log: str | None = None

    def took(self, what: str) -> float | None:
        """How many seconds did a part of it take by the guest's clock? (``took WHAT FROM TO``)"""
        found = re.search(rf"^took {re.escape(what)} (\d{{1,12}}\.\d{{6}}) (\d{{1,12}}\.\d{{6}})$",
                          self.log or "", re.MULTILINE)  # fmt: skip
        return float(found[2]) - float(found[1]) if found else None


@dataclass(slots=True)
class GuestReport:
    """What did the guest say?

    Attributes:
        release: ``uname -r``; empty if it did not come to userspace.
        ready: seconds from boot to userspace with all drivers loaded; None if it did not.
        steps: by name, in the order of the run.
        failed_modules: why each module that did not load did not ("timeout", insmod's status).
        files: what came besides: ``dmesg.txt``, `steps.TOKEN`, and for the trace
            ``formats`` and of each CPU ``cpuN.raw`` and ``cpuN.stats``.
        complete: the guest did all it should and its bundle came whole.
        damage: what is wrong with the bundle; empty if nothing or if there is none.
    """

    release: str = ""
    ready: float | None = None
    steps: dict[str, StepReport] = field(default_factory=dict)
    failed_modules: dict[str, str] = field(default_factory=dict)
    files: dict[str, bytes] = field(default_factory=dict)
    complete: bool = False
    damage: str = ""

    @property
    def dmesg(self) -> str:
        """The kernel's log; empty if the bundle did not come."""
        return self.files.get("dmesg.txt", b"").decode("utf-8", "replace")


def read_report(console: bytes, outbox: Mapping[Stream, bytes] = NOTHING) -> GuestReport:
    """What did the guest report on its console and by the outbox?

    Never fails: `damage` and `complete` tell.
    """
    report = GuestReport()
    if outbox.get(Stream.REPORT):
        _read_markers(console.decode("utf-8", "replace"), report)
        _read_outbox(outbox, report)
        report.complete = "dmesg.txt" in report.files and f"\n{ALL_DONE}".encode() in console
        return report
    announced = BUNDLE.search(console)
    lines = console[: announced.start() + 1] if announced else console
    _read_markers(lines.decode("utf-8", "replace"), report)
    if announced:
        end = announced.end() + int(announced[1])
        try:
            report.files = _read_bundle(console[announced.end() : end], announced)
        except ValueError as error:
            report.damage = str(error)
        else:
            _read_steps(report)
            report.complete = console.startswith(f"\n{ALL_DONE}".encode(), end)
    return report


def step_events(report: GuestReport, times: Mapping[str, int]) -> list[Event]:
    """When did each step begin, and when and how did it end, as events in that order?

    `times`: how often each step, by name, does the same again, where it does.
    """
    events = []
    for step in report.steps.values():
        attrs = f"{STEP_TIMES}{times[step.name]}" if times.get(step.name, 1) > 1 else None
        status = STEP_HUNG if step.status is None else str(step.status)
        for said, time in ((STEP_BEGIN, step.start), (status, step.end)):
            if said != STEP_BEGIN or time is not None:
                events.append(
                    Event("guest", "step", status=said, attrs=attrs, detail=step.name, time=time)
                )
    return events


def troubles(ending: str, report: GuestReport) -> list[str]:
    """What did not go as it should in the guest, for people?"""
    notes = []
    if report.damage:
        notes.append(f"of the guest's report only the console is left: {report.damage}")
    elif not report.complete:
        notes.append(f"the guest did not come to the end of its work: {ending}")
    for module, why in report.failed_modules.items():
        notes.append(f"the guest could not load {module}: {why}")
    for step in report.steps.values():
        if step.name in ("run", "shell"):
            continue
        if step.status is None:
            notes.append(f"the guest's step {step.name} did not end")
        elif step.status:
            last = (step.log or "").strip().splitlines()[-1:] or [""]
            notes.append(f"the guest's step {step.name} failed ({step.status}) {last[0]}".strip())
    return notes


def _read_markers(text: str, report: GuestReport) -> None:
    for time, word, rest in MARKER.findall(text):
        words = rest.split()
        if word == "boot" and words:
            report.release = words[0]
        elif word == "ready":
            report.ready = float(time)
        elif word == "module" and len(words) == 2:
            report.failed_modules[words[0]] = words[1]
        elif word == "step" and len(words) >= 2:
            step = report.steps.setdefault(words[0], StepReport(words[0]))
            if words[1] == "start":
                step.start = float(time)
            elif words[1] == "exit" and len(words) == 3:
                step.end = float(time)
                step.status = _status(words[2])


def _read_steps(report: GuestReport) -> None:
    """Take each step's status and output from the bundle, which no kernel message can cut."""
    for name in [name for name in report.files if name.endswith(".status")]:
        step_name = name.removesuffix(".status")
        words = report.files.pop(name).decode("ascii", "replace").split()
        log = report.files.pop(f"{step_name}.log", b"").decode("utf-8", "replace")
        step = report.steps.setdefault(step_name, StepReport(step_name))
        step.log = log
        if len(words) == 3 and all(re.fullmatch(r"\d+\.\d+", word) for word in words[1:]):
            step.status = _status(words[0])
            step.start, step.end = float(words[1]), float(words[2])


def _status(word: str) -> int | None:
    return int(word) if re.fullmatch(r"[0-9]{1,3}", word) else None


def _read_outbox(outbox: Mapping[Stream, bytes], report: GuestReport) -> None:
    """Take all files that came whole."""
    with contextlib.suppress(ValueError):  # the last one is cut off
        for file in tar_stream.files(outbox[Stream.REPORT]):
            report.files[file.name.removeprefix("./")] = file.data
    for cpu, pages in outbox_program.followed(outbox.get(Stream.TRACE, b"")).items():
        report.files[f"cpu{cpu}.raw"] = pages
    _read_steps(report)


def _read_bundle(packed: bytes, announced: re.Match[bytes]) -> dict[str, bytes]:
    """Which files are in the bundle? ValueError says what is damaged."""
    if len(packed) < int(announced[1]):
        raise ValueError("the bundle is cut off")
    if hashlib.sha256(packed).hexdigest().encode() != announced[2]:
        raise ValueError("the bundle is damaged: its hash differs")
    unzip = zlib.decompressobj(wbits=31)
    try:
        plain = unzip.decompress(packed, MAX_BUNDLE)
        if unzip.unconsumed_tail:
            raise ValueError(f"the bundle is larger than {MAX_BUNDLE >> 20} MiB")
    except zlib.error as error:
        raise ValueError(f"the bundle is damaged: {error}") from error
    try:
        return {file.name.removeprefix("./"): file.data for file in tar_stream.files(plain)}
    except ValueError as error:
        raise ValueError(f"the bundle is damaged: {error}") from error
