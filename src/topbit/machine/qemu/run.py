"""How do the user's options and a scenario become an outcome on QEMU?

What the machine is made of is loaded only when the kernel is known, which is read meanwhile.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from topbit.errors import InputError, MissingToolError, UsageError
from topbit.machine.qemu.el2.mailbox import MAX_VCPUS
from topbit.machine.qemu.feasible import kernel_of, refuse_impossible
from topbit.machine.qemu.guest.init import ALL_DONE, MARKER
from topbit.machine.qemu.guest.own_system import OwnSystem
from topbit.machine.qemu.guest.transfer import Added, Wanted, unpack
from topbit.machine.qemu.options import KERNEL, TIMEOUT, QemuOptions, StrPath
from topbit.machine.qemu.process import gdb
from topbit.machine.qemu.process.process import dying_with_this_process
from topbit.scenario import builtin_names
from topbit.scenario.scenario import Scenario
from topbit.store import kernels, tools
from topbit.store.download import Fetched, unseen
from topbit.store.kernels import Kernel
from topbit.store.provision import lacks, provide

if TYPE_CHECKING:
    from topbit.machine.qemu.machine import QemuMachine
    from topbit.machine.qemu.outcome import Outcome
    from topbit.store.image import Image

Say: TypeAlias = Callable[[str], None]
Started: TypeAlias = "Callable[[QemuMachine], None]"

LOOK = 0.25
"""Seconds between two looks at what the guest is doing."""
WORD = re.compile(r"[\w.+-]{1,80}", re.ASCII)
TAIL = 4000
"""Bytes at the console's end in which its last marker line is looked for."""


def run(
    scenario: Scenario,
    options: QemuOptions,
    *,
    note: Say,
    progress: Say,
    fetched: Fetched = unseen,
    output: Callable[[bytes], None] | None = None,
    started: Started = lambda machine: None,
) -> Outcome:
    """Boot the scenario's guest with these options, serve it to its end, and tell what came of it.

    Args:
        note: is told what a person at the keyboard must know: what is fetched, how a debugger
            attaches.
        progress: is told what the guest is doing, `1 / LOOK` times a second.
        fetched: is told how far a download is.
        output: is told what the user's command writes, as it is and as it comes; not where
            somebody is at the console, who sees it there.
        started: is given the machine before its guest runs.

    Raises:
        UsageError: options that do not go together, or a scenario that QEMU cannot be.
        InputError: a file that cannot be used, or a kernel that Debian does not have.
        RunError: QEMU or a kernel is missing and cannot be fetched, or QEMU could not be started.
    """
    cpus = options.get("cpus", 1)
    if not 1 <= cpus <= MAX_VCPUS:
        raise UsageError(f"{cpus} vCPUs", where="--cpus", hint=f"give 1 to {MAX_VCPUS}")
    if (limit := options.get("timeout")) is not None and not limit > 0:
        raise UsageError(f"{limit:g} seconds", where="--timeout", hint="give more than 0")
    symbols = _symbols(options.get("gdb", False))
    refuse_impossible(scenario)
    own = OwnSystem(
        _path(options.get("initrd")),
        _path(options.get("rootfs")),
        options.get("rootfs_write", False),
        options.get("command", ""),
        tuple(map(Added.parse, options.get("add", ()))),
        tuple(map(Wanted.parse, options.get("get", ()))),
    )
    log = _path(options.get("log"))
    if log:
        _require_log(log)
    if scenario.workload.attest:
        from topbit.machine.qemu.guest import token

        token.require()
    dying_with_this_process()
    kernel = chosen_kernel(scenario, options, note, fetched)
    append, debugger = options.get("append", ""), options.get("gdb", False)
    keyboard = options.get("console", False) and sys.stdin.isatty()
    image = _read_ahead(kernel)
    from topbit.machine.qemu.scenario_run import ScenarioRun

    with (
        ScenarioRun(
            scenario,
            kernel,
            cpus=cpus,
            cpu=options.get("cpu", ""),
            own=own,
            interactive=keyboard,
            append=f"{append} {gdb.NO_KASLR}" if debugger else append,
            read=image,
        ) as prepared,
        _told(kernel, progress) as watched,
    ):
        if keyboard:
            note("the guest's console: Ctrl-] ends the run, Ctrl-C goes to the guest")

        def begun(machine: QemuMachine) -> None:
            watched(machine)
            started(machine)

        outcome = prepared.run(
            timeout=options.get("timeout", None if keyboard or debugger else TIMEOUT),
            log=log,
            terminal=2 if options.get("console") or own.boots else None,
            keyboard=keyboard,
            options=_await_debugger(symbols, note) if debugger else (),
            output=output,
            started=begun,
        )
    try:
        unpack(outcome.files, list(own.wanted))
    except InputError as error:  # what was recorded is kept
        platform = outcome.recording.platform
        platform.unfinished = platform.unfinished or str(error)
        platform.notes.append(str(error))
    return outcome


def _read_ahead(kernel: Kernel) -> Callable[[], Image]:
    """Begin to read the kernel, in a thread. What fails there fails again where it is asked for."""
    images: list[Image] = []

    def read() -> None:
        with contextlib.suppress(Exception):
            images.append(kernel.read())

    reader = threading.Thread(target=read, name="topbit-kernel", daemon=True)
    reader.start()

    def image() -> Image:
        reader.join()
        return images.pop() if images else kernel.read()

    return image


def chosen_kernel(
    scenario: Scenario, options: QemuOptions, note: Say, fetched: Fetched = unseen
) -> Kernel:
    """Which kernel boots? It is here then, and so is all else that is fetched for a run.

    Raises:
        UsageError, InputError, RunError: as `run`.
    """
    name = os.fspath(options.get("kernel") or kernel_of(scenario, KERNEL))
    flavour, modules = options.get("flavour", "cloud"), _path(options.get("modules"))
    if kernels.is_path(name):
        own = kernels.own_kernel(Path(name), modules)
        provide(lacks(None, flavour), note, fetched)
        return own
    if modules is not None:
        raise UsageError(
            "goes with a kernel of one's own", where="--modules", hint="--kernel path/to/Image"
        )
    provide(lacks(name, flavour), note, fetched)
    return kernels.kernel(name, flavour=flavour)


def _path(given: StrPath | None) -> Path | None:
    return None if given is None else Path(given)


def _require_log(path: Path) -> None:
    try:
        path.open("ab").close()
    except OSError as error:
        raise InputError(f"cannot write: {error.strerror}", where=f"--log {path}") from error


def _symbols(given: bool | StrPath) -> Path | None:
    """Which file has the kernel's symbols? None: none was given.

    Raises:
        InputError: it cannot be read, or is no ELF file.
    """
    if isinstance(given, bool):
        return None
    path = Path(given)
    hint = "give the vmlinux of the kernel's build"
    if path.suffix == ".toml" or path.name in builtin_names():
        hint = f"a scenario stands before the option: topbit run {path} --machine qemu --gdb"
    try:
        with path.open("rb") as file:
            start = file.read(4)
    except OSError as error:
        what = f"cannot be read: {error.strerror}"
        raise InputError(what, where=f"--gdb {path}", hint=hint) from error
    if start != b"\x7fELF":
        raise InputError("is no ELF file", where=f"--gdb {path}", hint=hint)
    return path


def _await_debugger(symbols: Path | None, note: Say) -> tuple[str, ...]:
    """Which options of QEMU let it wait for gdb? Says how gdb attaches."""
    port = gdb.free_port()
    note(f"the guest waits for a debugger: {gdb.command(port, symbols, _debugger(note))}")
    return tuple(gdb.options(port))


def _debugger(note: Say) -> str:
    """Which gdb can be named? The one that is there; else the name that it has on Debian."""
    try:
        path = str(tools.find("gdb"))
    except MissingToolError as missing:
        note(str(missing))
        return "gdb-multiarch"
    return "gdb-multiarch" if path == shutil.which("gdb-multiarch") else path


@contextmanager
def _told(kernel: Kernel, progress: Say) -> Iterator[Started]:
    """Who says what the guest is doing? A thread, from when it is given the machine."""
    over = threading.Event()
    watchers: list[threading.Thread] = []

    def look(machine: QemuMachine) -> None:
        while not over.wait(LOOK):
            progress(f"Linux {kernel.release}: {doing(machine.console.tail(TAIL))}")

    def watch(machine: QemuMachine) -> None:
        watchers.append(threading.Thread(target=look, args=[machine], name="progress", daemon=True))
        watchers[0].start()

    progress(f"Linux {kernel.release}: starting")
    try:
        yield watch
    finally:
        over.set()
        for watcher in watchers:
            watcher.join()


def doing(console: bytes) -> str:
    """What is the guest doing, by the last whole marker line of its console?

    The console is the guest's: of what is no marker line nothing is shown.
    """
    if f"\n{ALL_DONE}".encode() in console:
        return "ending"
    told = MARKER.findall(console.decode("ascii", "replace").rpartition("\n")[0] + "\n")
    for _, word, rest in reversed(told):
        words = [word, *rest.split()[:1]]
        if word in ("boot", "ready", "module", "step") and all(map(WORD.fullmatch, words)):
            return " ".join(words)
    return "booting"
