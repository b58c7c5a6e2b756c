"""The QEMU machine: an unmodified kernel on QEMU's CPUs and devices, run as a Realm.

    machine = QemuMachine(shape, guest, log=Path("console.log"))
    run = machine.run(timeout=120)

One thread (the caller's) serves all traps; the console and QMP have threads of their own. However
the run ends, what was recorded until then is kept, and QEMU is gone.
"""

from __future__ import annotations

import contextlib
import re
import select
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path

from topbit.errors import GuestDiedError, RunError, UsageError
from topbit.events import Event
from topbit.host.rme import RmiError
from topbit.machine.qemu.el2 import cpu_model
from topbit.machine.qemu.el2.mailbox import PROGRAM, Mailbox
from topbit.machine.qemu.el2.traps import TrapLoop
from topbit.machine.qemu.ending import ENDED_BY_ITSELF, INTERRUPTED
from topbit.machine.qemu.guest.init import ALL_DONE, BUNDLE_BEGIN, MARK
from topbit.machine.qemu.hang import HangWatch
from topbit.machine.qemu.host.host import QemuHost
from topbit.machine.qemu.host.outbox import Outbox, Stream
from topbit.machine.qemu.host.shape import GuestImage, RealmShape, layout_of
from topbit.machine.qemu.process.console import Console
from topbit.machine.qemu.process.gdb import STOPPED_AT_START
from topbit.machine.qemu.process.process import DOORBELL_UART, RAM_BASE, Platform, QemuProcess
from topbit.machine.qemu.process.ram import AnonymousRam
from topbit.memory import PhysicalMemory
from topbit.store import tools

MAX_EVENTS = 2_000_000  # a guest can cause any number of them
_TICK = 0.25  # seconds between looks at console and clock
_NO_EL2 = "no vCPU came to the EL2 program: --cpu needs a 64-bit model"
_NO_DEBUGGER = "no debugger let the guest run"
_OVER = object()
_GRACE = 2.0  # seconds for the power-off after the guest has said that it is done
_UPTIME = re.compile(rb"^(?:@@ |\[ *)(\d+\.\d+)[ \]]", re.MULTILINE)


@dataclass(slots=True)
class Run:
    """What happened in one run?

    Attributes:
        ending: "power off", "reset", "done" (the guest said so and did not power off),
            "timeout", "interrupted", "hung: ..." with the reason, or "died: ..." with what QEMU
            said.
        events: what RMM, VMM, SMMU and devices did, times on the guest's clock.
        console: what the guest wrote.
        outbox: what it handed out, by stream.
        untraced: seconds at the end in which the guest's program did not look for new trace; None
            if it never did.
        seconds: from the start of QEMU to the end.
        traps: how often the guest came to EL2.
        shared_pages: how many pages were shared at the end.
        notes: what did not go as it should outside the guest.
    """

    ending: str
    events: list[Event] = field(default_factory=list)
    console: bytes = b""
    outbox: dict[Stream, bytes] = field(default_factory=dict)
    untraced: float | None = None
    seconds: float = 0.0
    traps: int = 0
    shared_pages: int = 0
    notes: list[str] = field(default_factory=list)

    def require_end(self) -> None:
        """Raise GuestDiedError unless the guest came to its own end."""
        if self.ending not in (*ENDED_BY_ITSELF, "done"):
            raise GuestDiedError(f"the guest did not end its work: {self.ending}")


class QemuMachine:
    """One Realm on one QEMU.

    - `__init__` starts QEMU and builds the Realm in its memory.
    - `run` serves it to its end; `close` ends it at any time. A context manager.

    Args:
        shape: the Realm, its VMM's policy and its devices.
        guest: what boots.
        log: file that gets the console's output.
        terminal: file descriptor that gets a copy of it.
        program: QEMU; found or fetched if not given.
        options: further options of QEMU.
        inherited: descriptors that they name.
        listen: is called with each event as it happens, besides its being kept.

    Raises:
        MissingToolError: no QEMU, or no setpriv to start it with.
        RunError: no memory, or no room in it for what the guest needs.
    """

    def __init__(
        self,
        shape: RealmShape,
        guest: GuestImage,
        *,
        log: Path | None = None,
        terminal: int | None = None,
        program: Path | None = None,
        options: tuple[str, ...] = (),
        inherited: tuple[int, ...] = (),
        listen: Callable[[Event], None] | None = None,
    ) -> None:
        self.shape = shape
        self.events: list[Event] = []
        self._listen = listen
        self._hang = HangWatch()
        self._waits = STOPPED_AT_START in options
        program = program or tools.find("qemu")
        layout = layout_of(shape)
        self._ram = AnonymousRam(layout.ram)
        try:
            self.memory = PhysicalMemory(RAM_BASE, layout.ram, self._ram.buffer)
            self.memory.write(layout.program, PROGRAM.read_bytes())
            self.mailboxes = [
                Mailbox(self.memory, layout.program, index, DOORBELL_UART, self._alive)
                for index in range(shape.cpus)
            ]
            cpu = cpu_model.words(shape.cpu, shape.ipa_bits)
            platform = Platform(layout.ram, layout.program, cpu, shape.cpus, shape.smmu)
            arguments = [word for device in shape.pci for word in device.arguments()]
            self.outbox = Outbox(self.memory, layout.outbox)
            self._started = time.monotonic()
            self.process = QemuProcess(
                program, platform, self._ram, [*arguments, *options], inherited
            )
        except BaseException:
            self._ram.close()
            raise
        try:
            # While QEMU starts, and its vCPU waits for the answer to its first trap.
            self.host = QemuHost(shape, layout, self.memory, guest, self._emit)
            end = f"\n{BUNDLE_BEGIN}".encode()
            self.console = Console(self.process.console, log, terminal, end)
            self.outbox.start()
            self.traps = TrapLoop(self.mailboxes, self.process.doorbell, self.host.cpus)
            self.host.furnish()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> QemuMachine:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def run(
        self,
        timeout: float | None = None,
        stop: threading.Event | None = None,
        begun: bytes = f"\n{MARK} ".encode(),
        meanwhile: Iterable[None] = (),
    ) -> Run:
        """Serve the guest to its end.

        Which is also the end of QEMU, `timeout` seconds from the start of QEMU, Ctrl-C, `stop`, or
        a hang beyond doubt (`HangWatch`). After a power-off QEMU may take a moment to end, for
        which `close` waits. `begun` on the console tells that something else than the kernel's
        drivers is at work. `meanwhile` is gone through, a short step whenever no trap waits, and
        all of it as soon as the guest's kernel has a console.

        Raises:
            RunError: QEMU ended before the guest began.
            UsageError: the CPU model cannot be a Realm's.
        """
        stop = stop or threading.Event()
        rest = chain(self.host.populating(), meanwhile)
        ending, trouble = self._guarded(lambda: self._serve(timeout, stop, begun, rest))
        if not self.traps.traps and not self.process.running:
            raise RunError(f"QEMU ended at once: {self.process.complaint()}")
        self.outbox.finish()
        beaten, over = self.outbox.beaten, time.monotonic()
        self.host.collect()
        self.process.ask_to_end()
        if ending not in ENDED_BY_ITSELF:  # its vCPUs run until QEMU has ended
            self.process.stop()
            self.outbox.finish()
        self.console.finish()
        run = Run(
            ending,
            self.events,
            self.console.output,
            {stream: self.outbox.taken(stream) for stream in Stream},
            None if beaten is None else over - beaten,
            time.monotonic() - self._started,
            self.traps.traps,
            int(self.host.slot.shared.sum()),
        )
        if trouble:
            run.notes.append(trouble)
        if self.host.perhaps_lost:
            run.notes.append("the SMMU's event queue was full at the end: records may be lost")
        if self.console.error:
            run.notes.append(f"the console's copy is incomplete: {self.console.error}")
        if len(self.events) == MAX_EVENTS:
            run.notes.append(f"only the first {MAX_EVENTS} events were kept")
        self._to_guest_clock()
        return run

    def _guarded(self, serve: Callable[[], str]) -> tuple[str, str]:
        """How did the guest end while it was served, and what went wrong here, if anything did?"""
        try:
            return serve(), ""
        except KeyboardInterrupt:
            return INTERRUPTED, ""
        except UsageError:  # found before the guest's first instruction
            raise
        except (RunError, RmiError) as error:
            return f"died: {error}", ""
        except Exception as error:  # a fault of topbit's: what was recorded is kept all the same
            return f"died: internal error: {error!r}", traceback.format_exc()

    def close(self) -> None:
        """End QEMU and release what belonged to the run."""
        self.process.close()
        self.outbox.finish()
        self._ram.close()

    def _alive(self) -> bool:
        return self.process.running

    def _emit(self, event: Event) -> None:
        event.time = time.monotonic()
        if len(self.events) < MAX_EVENTS:
            self.events.append(event)
        self._hang.see(event)
        if self._listen is not None:
            self._listen(event)

    def _serve(
        self,
        timeout: float | None,
        stop: threading.Event,
        begun: bytes,
        rest: Iterator[None],
    ) -> str:
        end = None if timeout is None else self._started + timeout
        poll = select.poll()
        poll.register(self.traps, select.POLLIN)
        poll.register(self.process.pidfd, select.POLLIN)
        wires = self.host.wires
        for descriptor in wires:
            poll.register(descriptor, select.POLLIN)
        self.host.line.send = self._send
        done_at: float | None = None
        seen, looked, limited, resting = 0, 0.0, False, False
        while self.host.cpus.ended is None:
            ready = poll.poll(_TICK * 1000 if resting else 0)
            if not resting and not ready:
                resting = next(rest, _OVER) is _OVER
            elif not resting and len(self.console):
                deque(rest, 0)
            for descriptor, _ in ready:
                if descriptor == self.process.pidfd:
                    return self._qemu_ended()
                if descriptor in wires:
                    wires[descriptor].ready()
                elif not self.traps.ready():
                    poll.unregister(self.traps)  # QEMU is going; the pidfd tells when
            now = time.monotonic()
            if stop.is_set():
                return INTERRUPTED
            if now > looked + _TICK:
                self.host.collect()
                looked = now
                life = (len(self.console), len(self.outbox), self.traps.traps)
                limited = limited or self.console.saw(begun)
                if hung := self._hang.hung(now, life, limited=limited or self._waits):
                    return hung
            if end is not None and now > end:
                if self.traps.traps:
                    return "timeout"
                return f"died: {_NO_DEBUGGER if self._waits else _NO_EL2}"
            if done_at is None and len(self.console) > seen:
                start, seen = max(0, seen - len(ALL_DONE)), len(self.console)
                if self.console.saw(f"\n{ALL_DONE}".encode(), start):
                    done_at = now
            if done_at is not None and now > done_at + _GRACE:
                return "done"
        return self.host.cpus.ended

    def _send(self, data: bytes) -> None:
        with contextlib.suppress(OSError):  # QEMU is going, or the guest lets the line be up
            self.process.doorbell.send(data)

    def _qemu_ended(self) -> str:
        self.process.process.wait()
        if self.process.process.returncode == 0:
            return "died: QEMU ended by itself"
        return f"died: QEMU: {self.process.complaint()}"

    def _to_guest_clock(self) -> None:
        """Put the events' times on the clock of the guest's kernel log and trace.

        A line of the console carries the guest's time and arrives a little later: the smallest
        difference over all lines is the offset, right to about a millisecond.
        """
        offset = self._started
        differences = []
        output, position = self.console.output, 0
        for arrival, length in self.console.arrivals:
            for stamp in _UPTIME.findall(output, position, length):
                if float(stamp) > 0:
                    differences.append(arrival - float(stamp))
            position = max(position, output.rfind(b"\n", 0, length) + 1)
        if differences:
            offset = min(differences)
        for event in self.events:
            if event.time is not None:
                event.time -= offset
