"""A person at a terminal: the guest's shell, Ctrl-C, the end, and nothing left behind."""

from __future__ import annotations

import os
import pty
import re
import select
import signal
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import needs
from topbit.recording import Recording

pytestmark = pytest.mark.qemu

BARE = '[[device]]\nname = "rng0"\nmodel = "virtio-rng"\n'
PROMPT = rb"# (\x1b\[6n)?\Z"  # the shell asks where the cursor stands


class Person:
    """Types into a terminal and reads what stands on it."""

    def __init__(self, folder: Path, *arguments: str) -> None:
        (folder / "bare.toml").write_text(BARE)
        command = [sys.executable, "-m", "topbit", "run", str(folder / "bare.toml")]
        self.master, self.terminal = pty.openpty()
        self.before = termios.tcgetattr(self.terminal)
        self.process = subprocess.Popen(
            [*command, "--machine", "qemu", *arguments],
            stdin=self.terminal,
            stdout=subprocess.PIPE,
            stderr=self.terminal,
            env={**os.environ, "TMPDIR": str(folder)},
        )
        self.seen = b""

    def read_until(self, pattern: bytes, seconds: float = 300) -> bytes:
        """What came on the terminal until something matched?"""
        start, end = len(self.seen), time.monotonic() + seconds
        while not re.search(pattern, self.seen[start:]):
            assert time.monotonic() < end, self.seen[-2000:].decode(errors="replace")
            if select.select([self.master], [], [], 0.1)[0]:
                self.seen += os.read(self.master, 1 << 16)
        return self.seen[start:]

    def type(self, keys: bytes) -> None:
        os.write(self.master, keys)

    def end(self) -> tuple[int, str]:
        """Exit status and standard output, once the run ended."""
        out, _ = self.process.communicate(timeout=300)
        return self.process.returncode, out.decode()

    def close(self) -> None:
        self.process.kill()
        self.process.communicate()
        os.close(self.master)
        os.close(self.terminal)


@pytest.fixture
def start(tmp_path: Path) -> Iterator[type[Person]]:
    needs.tool("qemu")
    needs.kernel("6.18")
    people: list[Person] = []

    def made(*arguments: str) -> Person:
        people.append(Person(tmp_path, *arguments))
        return people[-1]

    yield made  # type: ignore[misc]
    for person in people:
        person.close()


def children(parent: int) -> set[int]:
    """Which QEMU processes has it started?"""
    found = set()
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            words = (folder / "stat").read_text().rpartition(")")[2].split()
            command = (folder / "cmdline").read_bytes()  # one's own QEMU may run by another name
        except OSError:
            continue
        if b"qemu-system" in command and int(words[1]) == parent:
            found.add(int(folder.name))
    return found


def test_a_shell_in_the_realm(start, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    person = start("--console")
    person.read_until(PROMPT)
    person.type(b"echo a$((40 + 2))b; tty\r")
    assert b"a42b" in person.read_until(rb"a42b[^#]*" + PROMPT)
    person.type(b"sleep 100\r")
    time.sleep(1)
    person.type(b"\x03")  # the guest's
    person.read_until(PROMPT)
    person.type(b"exit 3\r")
    person.read_until(rb"Power down|step shell exit 3")
    status, out = person.end()
    assert status == 0
    assert out.startswith("verdict  OK: no violation")
    assert termios.tcgetattr(person.terminal) == person.before
    assert b"bundle begin" not in person.seen


def test_the_escape_key_ends_the_run(start) -> None:  # type: ignore[no-untyped-def]
    person = start("--console")
    person.read_until(PROMPT)
    person.type(b"\x1d")
    status, out = person.end()
    assert status == 130
    assert "guest    Linux" in out
    assert b"interrupted" in person.read_until(b"until then")
    assert termios.tcgetattr(person.terminal) == person.before


def test_ctrl_c_in_mid_run_keeps_the_recording_and_leaves_nothing(start, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    stored = tmp_path / "run.parquet"
    person = start("--run", "echo go; sleep 1000", "-o", str(stored))
    deadline = time.monotonic() + 60
    while not (mine := children(person.process.pid)) and time.monotonic() < deadline:
        time.sleep(0.1)
    time.sleep(4)
    person.process.send_signal(signal.SIGINT)
    status, _ = person.end()
    assert status == 130
    assert Recording.read(stored).has("convert")
    assert mine
    assert not any(Path(f"/proc/{pid}").exists() for pid in mine)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bare.toml", "run.parquet"]
