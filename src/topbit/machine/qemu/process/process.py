"""How does a QEMU process live and die with this one?

Its RAM is an anonymous file that both map, and its channels are socket pairs that it inherits:
nothing has a name in any file system, so nothing is left behind however either process ends.
The kernel kills QEMU when the thread that started it ends (PR_SET_PDEATHSIG, which setpriv(1) asks
for before it becomes QEMU); a pidfd tells this process when QEMU has ended.
"""

from __future__ import annotations

import functools
import os
import shutil
import signal
import socket
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from topbit.arch.ipa import Pa
from topbit.errors import MissingToolError, RunError, this_program
from topbit.machine.qemu.process.ram import HUGE_PAGE, AnonymousRam

if TYPE_CHECKING:
    from topbit.machine.qemu.process.qmp import Monitor

RAM_BASE = Pa(0x4000_0000)
CONSOLE_UART = Pa(0x0900_0000)
DOORBELL_UART = Pa(0x0904_0000)
SANDBOX = "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny"
MOST_ON_A_CORE = 4
"""vCPUs for each core of this machine, from which on they run in turns."""
CONSOLE_ROOM = 4 << 20  # bytes of socket buffer, most of it overhead of writes of one byte


@dataclass(frozen=True, slots=True)
class Platform:
    """Which `virt` machine is it?

    Attributes:
        ram: bytes of physical memory from `RAM_BASE`.
        start: physical address at which the first vCPU starts, at EL2.
        cpu: QEMU's name of the CPU model, with its options.
        cpus: number of vCPUs.
        smmu: every PCI device stands behind an SMMUv3.
    """

    ram: int
    start: int
    cpu: str
    cpus: int = 1
    smmu: bool = True

    def arguments(self) -> list[str]:
        """Which options of QEMU describe it?"""
        iommu = ",iommu=smmuv3" if self.smmu else ""
        return [
            "-machine", f"virt,virtualization=on,gic-version=3{iommu},memory-backend=ram",
            "-cpu", self.cpu,
            "-smp", str(self.cpus),
            "-m", f"{self.ram >> 20}M",
            "-device", f"loader,addr=0x{self.start:x},cpu-num=0",
            *(["-accel", "tcg,thread=single"] if in_turns(self.cpus) else []),
        ]  # fmt: skip


def in_turns(cpus: int) -> bool:
    """Does QEMU run so many vCPUs in turns, in one thread, instead of one thread for each?

    Each TLBI of the guest concerns all vCPUs. Where many of their threads wait for a core, each of
    these waits until all of them had one: 64 vCPUs on two cores take twice as long as in turns.
    """
    return cpus > MOST_ON_A_CORE * len(os.sched_getaffinity(0))


class QemuProcess:
    """Is QEMU running, and what does it say?

    - `__init__` starts it: the first vCPU runs at once.
    - `doorbell` and `console` are this end of the two UARTs; `monitor` is QMP.
    - `pidfd` becomes readable when it has ended; `ask_to_end` does not wait for that, `stop` does.

    `devices` are further options; `inherited` the descriptors that they name.

    It must be started by a thread that lives as long as the run: QEMU is killed when it ends.

    Raises:
        MissingToolError: there is no such program, or no setpriv (of util-linux).
        RunError: the system gives no process.
    """

    def __init__(
        self,
        program: Path,
        platform: Platform,
        ram: AnonymousRam,
        devices: Sequence[str] = (),
        inherited: Sequence[int] = (),
    ) -> None:
        lifeline = dying_with_this_process()
        if shutil.which(program) is None:
            raise MissingToolError(
                f"{program} is not a program that can be started",
                hint=f"{this_program()} tool fetch qemu",
            )
        self.console, console = socket.socketpair()
        console.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, CONSOLE_ROOM)
        self.doorbell, doorbell = socket.socketpair()
        self._channel, monitor = socket.socketpair()
        self._said = os.memfd_create("topbit-qemu-stderr")
        ends = [end.fileno() for end in (console, doorbell, monitor)]
        command = [
            *lifeline, str(program),
            *platform.arguments(), "-nodefaults", "-no-user-config", "-no-reboot",
            "-display", "none", "-sandbox", SANDBOX,
            "-object", f"memory-backend-file,id=ram,mem-path=/proc/self/fd/{ram.fd},"
                       f"share=on,align={HUGE_PAGE},size={platform.ram}",
            *_socket("console", console), "-serial", "chardev:console",
            *_socket("doorbell", doorbell), "-serial", "chardev:doorbell",
            *_socket("monitor", monitor), "-mon", "chardev=monitor,mode=control",
            *devices,
        ]  # fmt: skip
        try:
            self.process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=self._said,
                stderr=self._said,
                pass_fds=[*ends, ram.fd, *inherited],
                start_new_session=True,  # Ctrl-C is for this process, which then ends QEMU
            )
        except OSError as error:
            for end in (self.console, self.doorbell, self._channel):
                end.close()
            os.close(self._said)
            raise RunError(f"QEMU cannot be started: {error.strerror}") from error
        finally:
            for end in (console, doorbell, monitor):
                end.close()
        self.pidfd = os.pidfd_open(self.process.pid)

    @functools.cached_property
    def monitor(self) -> Monitor:
        """How is QEMU asked and told things? Made when first needed: QMP's package loads slowly."""
        from topbit.machine.qemu.process.qmp import Monitor

        return Monitor(self._channel)

    @property
    def running(self) -> bool:
        """Is the process still there?"""
        return self.process.poll() is None

    def complaint(self) -> str:
        """What did QEMU say before it ended? (its messages' last lines, and how it ended)"""
        size = os.fstat(self._said).st_size
        said = os.pread(self._said, 4096, max(0, size - 4096)).decode(errors="replace").strip()
        code = self.process.poll()
        if code is None:
            return said
        how = f"killed by {signal.Signals(-code).name}" if code < 0 else f"exit status {code}"
        return f"{said} ({how})" if said else how

    def ask_to_end(self) -> None:
        """Let the process flush its disks and end; it is not waited for."""
        self.process.terminate()

    def stop(self, patience: float = 2.0) -> None:
        """End the process, if need be by SIGKILL, and wait until it has ended."""
        if self.running:
            self.ask_to_end()
            try:
                self.process.wait(patience)
            except subprocess.TimeoutExpired:
                self.process.kill()
        self.process.wait()
        if "monitor" in self.__dict__:
            self.monitor.close()

    def close(self) -> None:
        """End the process and release everything that belonged to it."""
        self.stop()
        for end in (self.console, self.doorbell, self._channel):
            end.close()
        os.close(self.pidfd)
        os.close(self._said)


def _socket(name: str, end: socket.socket) -> list[str]:
    return ["-chardev", f"socket,id={name},fd={end.fileno()}"]


def dying_with_this_process() -> list[str]:
    """Which command starts the program named behind it so that it is killed with this process?

    Not a `preexec_fn`: that runs Python between fork and exec, which other threads can lock up.
    The shell's look at its parent is for one that ended before setpriv had asked.

    Raises:
        MissingToolError: there is no setpriv.
    """
    setpriv = shutil.which("setpriv")
    if setpriv is None:
        raise MissingToolError("setpriv is missing", hint="install util-linux")
    alive = 'test "$PPID" -eq "$0" && exec "$@"'
    return [setpriv, "--pdeathsig", "KILL", "/bin/sh", "-c", alive, str(os.getpid())]
