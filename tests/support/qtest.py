"""A QEMU whose only client is a test: its qtest socket reads and writes the machine's bus.

The vCPU is parked in WFI and time is virtual (`-icount sleep=off`), so that device timers expire
at once. RAM is a file that the test maps: what it stores there, QEMU's devices see.
"""

from __future__ import annotations

import mmap
import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TextIO

import pytest

from topbit.errors import TopbitError
from topbit.store import tools

RAM_BASE = 0x4000_0000
RAM_SIZE = 0x2000_0000
PARKED = RAM_BASE + RAM_SIZE - 0x1000  # not at the start of RAM: the device tree is there
WFI_LOOP = 0x17FF_FFFF_D503_207F  # wfi; b .-4
TIMEOUT = 20


def find_qemu() -> str:
    """Which QEMU? The one that topbit itself uses; skips without one, and fails in CI."""
    try:
        return str(tools.find("qemu"))
    except TopbitError as error:
        if os.environ.get("CI") == "true":
            pytest.fail(str(error))
        pytest.skip(str(error))


class Qtest:
    """A running QEMU, driven through its qtest socket. Use as a context manager."""

    def __init__(self, qemu: str, machine: str, arguments: Sequence[str] = ()) -> None:
        self._folder = tempfile.TemporaryDirectory(dir="/dev/shm" if _has_shm() else None)
        folder = Path(self._folder.name)
        ram = folder / "ram"
        with ram.open("wb") as file:
            file.truncate(RAM_SIZE)
        with ram.open("r+b") as file:
            self.ram = mmap.mmap(file.fileno(), RAM_SIZE)
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(str(folder / "qtest"))
        listener.listen(1)
        listener.settimeout(TIMEOUT)
        self._socket: socket.socket | None = None
        self._replies: TextIO | None = None
        self._log = folder / "log"
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [
                    qemu,
                    *("-machine", f"{machine},memory-backend=ram"),
                    *(
                        "-object",
                        f"memory-backend-file,id=ram,size={RAM_SIZE},mem-path={ram},share=on",
                    ),
                    *("-m", str(RAM_SIZE >> 20), "-cpu", "cortex-a57", "-nodefaults"),
                    *("-display", "none", "-icount", "shift=0,sleep=off"),
                    *("-device", f"loader,addr={PARKED},data={WFI_LOOP},data-len=8"),
                    *("-device", f"loader,addr={PARKED},cpu-num=0"),
                    *("-qtest", f"unix:{folder}/qtest", "-qtest-log", "/dev/null"),
                    *arguments,
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        try:
            self._socket, _ = listener.accept()
        except TimeoutError:
            self.close()
            raise RuntimeError("QEMU did not connect to its qtest socket") from None
        finally:
            listener.close()
        self._socket.settimeout(TIMEOUT)
        self._replies = self._socket.makefile("r")

    def __enter__(self) -> Qtest:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        self._process.kill()
        self._process.wait()
        for end in (self._replies, self._socket):
            if end is not None:
                end.close()
        self._folder.cleanup()

    def send(self, *commands: str) -> list[list[str]]:
        """Send commands at once. Returns the words of each reply after its OK."""
        assert self._socket is not None
        self._socket.sendall("".join(command + "\n" for command in commands).encode())
        return [self._reply(command) for command in commands]

    def _reply(self, command: str) -> list[str]:
        assert self._replies is not None
        while True:
            words = self._replies.readline().split()
            if words and words[0] == "IRQ":
                continue
            if not words or words[0] != "OK":
                raise RuntimeError(f"qtest {command!r}: {words}; {self._log.read_text()}")
            return words[1:]

    def read(self, width: str, address: int) -> int:
        """Read one register: width b, w, l or q."""
        return int(self.send(f"read{width} 0x{address:x}")[0][0], 0)


def _has_shm() -> bool:
    return os.access("/dev/shm", os.W_OK) and shutil.disk_usage("/dev/shm").free > RAM_SIZE
