"""topbit run --machine qemu: its options, and how its end becomes messages and an exit status."""

from __future__ import annotations

import argparse
import importlib
import shutil
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from topbit.machine.qemu.machine import QemuMachine
    from topbit.machine.qemu.scenario_run import Outcome, ScenarioRun
    from topbit.scenario import Scenario

INTERRUPTED = 130
KERNEL = "6.18"
TIMEOUT = 300


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Which arguments does `topbit run` take for the QEMU machine?"""
    group = parser.add_argument_group("with --machine qemu")
    group.add_argument(
        "--kernel",
        metavar="KERNEL",
        help=f"a series of Debian's kernels (6.16, 6.18, 7.2, 7.3; default: {KERNEL}, or what the "
        "scenario is about), a release, or the path of an Image",
    )
    group.add_argument("--modules", metavar="DIR", type=Path, help="the modules of one's own Image")
    group.add_argument(
        "--flavour", choices=("cloud", "full", "rt", "16k"), help="which of Debian's (cloud)"
    )
    group.add_argument("--append", metavar="WORDS", help="more words for the kernel's command line")
    group.add_argument("--cpus", metavar="N", type=int, help="number of vCPUs (1)")
    group.add_argument(
        "--cpu",
        metavar="MODEL",
        help="QEMU's name of their model (neoverse-n2; max for more than 48 IPA bits)",
    )
    group.add_argument("--run", metavar="CMD", dest="command", help="run CMD in the guest as well")
    group.add_argument(
        "--initrd",
        metavar="FILE",
        type=Path,
        help="boot your own initramfs: its init is all that runs, its console is shown",
    )
    group.add_argument(
        "--rootfs",
        metavar="FILE",
        type=Path,
        help="boot the root file system on this disk image (raw or qcow2), which stays as it is; "
        "with --run: run CMD in it",
    )
    group.add_argument(
        "--rootfs-write", action="store_true", help="keep what the guest changes on it"
    )
    group.add_argument(
        "--timeout",
        metavar="S",
        type=float,
        help=f"end the run after S seconds ({TIMEOUT}; none with a shell on the terminal)",
    )
    group.add_argument(
        "--console",
        action="store_true",
        help="show the guest's console; on a terminal with a shell after the workload",
    )
    group.add_argument("--log", metavar="FILE", type=Path, help="store the guest's console")
    group.add_argument(
        "--gdb",
        metavar="VMLINUX",
        nargs="?",
        type=Path,
        const=Path(),
        help="wait for a debugger, and say the command that attaches it",
    )


OPTIONS = (
    "kernel", "modules", "flavour", "append", "cpus", "cpu", "command", "initrd", "rootfs",
    "rootfs_write", "timeout", "console", "log", "gdb",
)  # fmt: skip


def refuse_for_model(args: argparse.Namespace) -> None:
    """Was an option given that only the QEMU machine has?

    Raises:
        UsageError: it was.
    """
    from topbit.errors import UsageError

    for name in OPTIONS:
        if getattr(args, name):
            option = "--run" if name == "command" else f"--{name.replace('_', '-')}"
            raise UsageError("the model machine has no such thing", where=option,
                             mend="--machine qemu")  # fmt: skip


def run(args: argparse.Namespace, scenario: Scenario) -> int:
    """Run the scenario on QEMU; 1 if a rule was violated, 3 if the guest did not end its work."""
    from topbit.errors import UsageError
    from topbit.machine.qemu.el2.mailbox import MAX_VCPUS
    from topbit.machine.qemu.feasible import kernel_of, refuse_impossible
    from topbit.machine.qemu.guest.own_system import OwnSystem
    from topbit.machine.qemu.process import gdb
    from topbit.machine.qemu.scenario_run import ScenarioRun
    from topbit.store.kernels import choose_kernel

    cpus = 1 if args.cpus is None else args.cpus
    if not 1 <= cpus <= MAX_VCPUS:
        raise UsageError(f"{cpus} vCPUs", where="--cpus", mend=f"give 1 to {MAX_VCPUS}")
    refuse_impossible(scenario)
    own = OwnSystem(args.initrd, args.rootfs, args.rootfs_write, args.command or "")
    if args.log:
        _require_log(args.log)
    kernel = choose_kernel(
        args.kernel or kernel_of(scenario, KERNEL),
        args.modules,
        flavour=args.flavour or "cloud",
        note=_note,
    )
    append = args.append or ""
    with ScenarioRun(
        scenario,
        kernel,
        cpus=cpus,
        cpu=args.cpu or "",
        own=own,
        interactive=args.console and sys.stdin.isatty(),
        append=f"{append} {gdb.NO_KASLR}" if args.gdb else append,
    ) as prepared:
        outcome = _serve(args, prepared)
    from topbit.cli.check import show
    from topbit.report import Report

    step = outcome.guest.steps.get("run")
    if args.command and step is not None and not args.console:
        print(step.log, end="", file=sys.stderr)
    report = Report.of(outcome.recording)
    try:
        if args.output:
            outcome.recording.write(args.output)
    finally:
        show([report], args.format)
        sys.stdout.flush()
    return report.checked.exit_status or _without_violation(outcome, args)


def _debugger() -> str:
    """Which gdb can be named? The one that is there; else the name that it has on Debian."""
    from topbit.errors import MissingToolError
    from topbit.store import tools

    try:
        path = str(tools.find("gdb"))
    except MissingToolError as missing:
        _note(str(missing))
        return "gdb-multiarch"
    return "gdb-multiarch" if path == shutil.which("gdb-multiarch") else path


def _require_log(path: Path) -> None:
    from topbit.errors import InputError

    try:
        path.open("ab").close()
    except OSError as error:
        raise InputError(f"cannot write: {error.strerror}", where=f"--log {path}") from error


def _serve(args: argparse.Namespace, prepared: ScenarioRun) -> Outcome:
    from topbit.machine.qemu.process import gdb

    options: list[str] = []
    keyboard = args.console and sys.stdin.isatty()
    timeout: float | None = args.timeout
    if timeout is None and not keyboard:
        timeout = TIMEOUT
    if args.gdb:
        port = gdb.free_port()
        symbols = args.gdb if args.gdb.name else None
        options = gdb.options(port)
        _note(f"the guest waits for a debugger: {gdb.command(port, symbols, _debugger())}")
        timeout = args.timeout
    shown = args.console or prepared.own.boots
    watch = _progress if sys.stderr.isatty() and not shown else _silence
    with watch(prepared.kernel.release) as watched:

        def started(machine: QemuMachine) -> None:
            watched(machine)
            threading.Thread(target=_load_the_reporting, args=[machine], daemon=True).start()

        return prepared.run(
            timeout=timeout,
            log=args.log,
            terminal=2 if shown else None,
            keyboard=keyboard,
            options=tuple(options),
            started=started,
        )


def _load_the_reporting(machine: QemuMachine) -> None:
    """While the guest boots this process has time for what it needs at the end.

    After the guest's first calls, which are about all of its memory and which it waits for.
    """
    while machine.process.running and not machine.host.slot.shared.any():
        time.sleep(0.02)
    for module in ("topbit.rules", "topbit.report", "topbit.cli.check"):
        importlib.import_module(module)


def _without_violation(outcome: Outcome, args: argparse.Namespace) -> int:
    """Which exit status has a run without violation, and what is to be said?"""
    if outcome.complete:
        if outcome.undone:
            _note("no rule was violated, but not all of the guest's work went well: see the report")
        return 3 if outcome.undone else 0
    if outcome.ending == "interrupted":
        _note("interrupted; the report is about what was recorded until then")
        return INTERRUPTED
    words = f": {outcome.last_words}" if outcome.last_words else ""
    mend = {
        "timeout": "--timeout S gives it more time",
        "reset": "--log FILE keeps its console",
    }.get(outcome.ending, "--log FILE keeps its console")
    _note(f"the guest did not come to the end of its work, {outcome.ending}{words} ({mend})")
    return 3


def _note(text: str) -> None:
    print(f"topbit: {text}", file=sys.stderr)


@contextmanager
def _silence(release: str) -> Iterator[Callable[[QemuMachine], None]]:
    yield lambda machine: None


@contextmanager
def _progress(release: str) -> Iterator[Callable[[QemuMachine], None]]:
    """Who shows what the guest is doing? A line on the terminal."""
    from rich.console import Console

    machines: list[QemuMachine] = []
    over = threading.Event()
    with Console(stderr=True).status(f"Linux {release}: starting") as status:

        def look() -> None:
            while not over.wait(0.25):
                for machine in machines:
                    doing = machine.console.tail(4000).rpartition(b"\n@@ ")[2].splitlines()[:1]
                    words = doing[0].decode("ascii", "replace").split()[1:3] if doing else []
                    said = " ".join(words) if 0 < len(words) < 3 and words else "booting"
                    status.update(f"Linux {release}: {said}", spinner="dots")

        watcher = threading.Thread(target=look, name="progress", daemon=True)
        watcher.start()
        try:
            yield machines.append
        finally:
            over.set()
            watcher.join()
