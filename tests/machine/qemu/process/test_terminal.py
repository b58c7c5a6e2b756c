"""Do keys reach the guest, and is the terminal as before afterwards?"""

from __future__ import annotations

import os
import pty
import socket
import termios

from topbit.machine.qemu.process.console import Console
from topbit.machine.qemu.process.terminal import LEAVE, Terminal


def test_keys_reach_the_guest_raw_until_the_escape() -> None:
    ours, guest = socket.socketpair()
    person, terminal = pty.openpty()
    before = termios.tcgetattr(terminal)
    console = Console(ours)
    with Terminal(console, terminal) as session:
        os.write(person, b"ls\x03")
        received = b""
        while len(received) < 3:
            received += guest.recv(16)
        assert received == b"ls\x03"  # Ctrl-C is the guest's
        os.write(person, LEAVE)
        assert session.left.wait(5)
    assert termios.tcgetattr(terminal) == before
    guest.close()
    console.finish()
    ours.close()
    os.close(person)
    os.close(terminal)


def test_the_console_keeps_and_copies_its_output(tmp_path) -> None:
    ours, guest = socket.socketpair()
    console = Console(ours, tmp_path / "log")
    guest.sendall(b"hello\nworld\n")
    guest.close()
    console.finish()
    assert console.output == (tmp_path / "log").read_bytes() == b"hello\nworld\n"
    assert console.saw(b"world")
    assert not console.saw(b"hello", 3)
    assert console.arrivals[-1][1] == 12
    ours.close()


def test_a_full_disk_ends_the_copy_and_not_the_run() -> None:
    from pathlib import Path

    ours, guest = socket.socketpair()
    console = Console(ours, Path("/dev/full"))
    guest.sendall(b"hello\n")
    guest.close()
    console.finish()
    assert console.output == b"hello\n"
    assert console.error == "/dev/full: No space left on device"
    ours.close()
