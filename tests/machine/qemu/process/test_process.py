"""Do QEMU and topbit die together, leaving nothing behind?"""

from __future__ import annotations

import contextlib
import errno
import os
import select
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

import needs
import payload_guest
from paths import ROOT
from topbit.errors import MissingToolError, RunError
from topbit.machine.qemu.process.process import Platform, QemuProcess, dying_with_this_process
from topbit.machine.qemu.process.ram import AnonymousRam

CHILD = """
import sys
sys.path.insert(0, sys.argv[1])
import payload_guest
made = payload_guest.machine(rounds=payload_guest.FOREVER)
print(made.process.process.pid, flush=True)
print(made.run(60).ending)
"""


def gone(pid: int) -> bool:
    """Has the process ended, at the latest in a minute? (a zombie has)"""
    for _ in range(1200):
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            return True
        if state in "ZX":
            return True
        time.sleep(0.05)
    return False


@pytest.mark.qemu
@pytest.mark.parametrize("signal_number", [signal.SIGKILL, signal.SIGTERM])
def test_qemu_dies_with_python(signal_number: int) -> None:
    needs.tool("qemu")
    shared_before = set(os.listdir("/dev/shm"))
    folder = str(ROOT / "tests" / "support")
    with subprocess.Popen(
        [sys.executable, "-c", CHILD, folder], stdout=subprocess.PIPE, text=True
    ) as child:
        assert child.stdout is not None
        qemu = int(child.stdout.readline())
        child.send_signal(signal_number)
        child.wait(60)
        assert gone(qemu)
    assert set(os.listdir("/dev/shm")) <= shared_before


@pytest.mark.qemu
def test_ctrl_c_ends_qemu_and_keeps_the_recording() -> None:
    needs.tool("qemu")
    folder = str(ROOT / "tests" / "support")
    with subprocess.Popen(
        [sys.executable, "-c", CHILD, folder], stdout=subprocess.PIPE, text=True
    ) as child:
        assert child.stdout is not None
        qemu = int(child.stdout.readline())
        time.sleep(1)
        child.send_signal(signal.SIGINT)
        assert child.stdout.readline() == "interrupted\n"
        assert gone(qemu)


@pytest.mark.qemu
def test_a_run_ends_when_qemu_is_killed() -> None:
    with payload_guest.machine(rounds=payload_guest.FOREVER) as made:
        killer = threading.Timer(1.0, made.process.process.kill)
        killer.start()
        run = made.run(timeout=30)
    assert run.ending.startswith("died: ")
    assert "SIGKILL" in run.ending or "does not answer" in run.ending
    assert run.events


@pytest.mark.qemu
def test_a_qemu_that_ends_before_the_guest_begins_is_an_error_with_its_reason() -> None:
    options = ("-device", "no-such-device")
    with (
        payload_guest.machine(rounds=payload_guest.FOREVER, options=options) as made,
        pytest.raises(RunError, match=r"ended at once: (?s:.*)no-such-device.*exit status 1"),
    ):
        made.run(timeout=30)


@pytest.mark.qemu
def test_qemu_is_asked_to_end_before_it_is_killed() -> None:
    """Only then its disks have all that the guest wrote."""
    with payload_guest.machine(rounds=payload_guest.FOREVER) as made:
        assert made.run(timeout=1).ending == "timeout"
        assert made.process.process.returncode == 0


@pytest.mark.qemu
def test_qemu_is_sandboxed_and_opens_no_host_files_for_the_guest() -> None:
    with payload_guest.machine(rounds=payload_guest.FOREVER) as made:
        assert select.select([made.traps], [], [], 30)[0]  # a vCPU runs: its sandbox is shut
        process = Path(f"/proc/{made.process.process.pid}")
        assert "Seccomp:\t2\n" in (process / "status").read_text()
        assert "semihosting" not in (process / "cmdline").read_text()


@pytest.mark.qemu
def test_a_fault_of_topbit_ends_the_run_and_keeps_the_recording() -> None:
    with payload_guest.machine(rounds=payload_guest.FOREVER) as made:
        made.host.rmm.rsi = lambda *_: 1 // 0  # type: ignore[assignment]
        run = made.run(timeout=30)
        assert not made.process.running
    assert run.ending.startswith("died: internal error: ZeroDivisionError")
    assert run.events
    assert "Traceback" in run.notes[0]


def test_a_missing_qemu_is_said_to_be_missing() -> None:
    with contextlib.closing(AnonymousRam(16 << 20)) as ram, pytest.raises(MissingToolError):
        QemuProcess(Path("/nowhere/qemu"), Platform(16 << 20, 0x4000_0000, "max"), ram)


def test_a_missing_setpriv_is_said_to_be_missing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with (
        contextlib.closing(AnonymousRam(16 << 20)) as ram,
        pytest.raises(MissingToolError, match=r"setpriv is missing .*util-linux"),
    ):
        QemuProcess(Path(sys.executable), Platform(16 << 20, 0x4000_0000, "max"), ram)


def test_a_system_without_a_process_to_give_is_an_error_and_leaks_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refused(*_: object, **__: object) -> None:
        raise BlockingIOError(errno.EAGAIN, "no more processes")

    monkeypatch.setattr(subprocess, "Popen", refused)
    with contextlib.closing(AnonymousRam(16 << 20)) as ram:
        before = os.listdir("/proc/self/fd")
        with pytest.raises(RunError, match="no more processes"):
            QemuProcess(Path(sys.executable), Platform(16 << 20, 0x4000_0000, "max"), ram)
        assert os.listdir("/proc/self/fd") == before


def test_what_lost_its_parent_before_it_asked_to_die_with_it_does_not_start() -> None:
    *command, parent = dying_with_this_process()
    for lives, said in ((parent, "started\n"), ("1", "")):
        started = subprocess.run([*command, lives, "echo", "started"], capture_output=True)
        assert started.stdout.decode() == said


@pytest.mark.qemu
def test_qemu_options_that_it_does_not_know_end_the_run_with_its_words() -> None:
    with pytest.raises(RunError, match="no-such-device"):
        payload_guest_with_options("-device", "no-such-device")


def payload_guest_with_options(*options: str) -> None:
    from topbit.machine.qemu.host.shape import RealmShape
    from topbit.machine.qemu.machine import QemuMachine

    shape = RealmShape(ram=payload_guest.RAM)
    guest = payload_guest.image(shape, rounds=0)
    with QemuMachine(shape, guest, program=Path(needs.tool("qemu")), options=options) as made:
        made.run(timeout=30)
