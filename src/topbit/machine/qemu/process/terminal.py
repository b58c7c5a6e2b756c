"""How does a person at a terminal type into the guest's console?"""

from __future__ import annotations

import os
import select
import termios
import threading
import tty

from topbit.machine.qemu.process.console import Console

LEAVE = b"\x1d"  # Ctrl-]


class Terminal:
    """Passes what is typed to the guest, key by key, until Ctrl-] or the end of the run.

    A context manager: the terminal is raw inside and as before afterwards. Ctrl-C goes to the
    guest; Ctrl-] sets `left`, which ends a run that watches it (`QemuMachine.run(stop=...)`).

    Args:
        console: the guest's console.
        descriptor: a terminal.
    """

    def __init__(self, console: Console, descriptor: int = 0) -> None:
        self.left = threading.Event()
        self._console = console
        self._descriptor = descriptor
        self._wake, self._woken = os.pipe()
        self._thread = threading.Thread(target=self._pass, name="topbit-terminal", daemon=True)

    def __enter__(self) -> Terminal:
        self._before = termios.tcgetattr(self._descriptor)
        tty.setraw(self._descriptor, termios.TCSADRAIN)
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        os.write(self._woken, b"x")
        self._thread.join()
        os.close(self._wake)
        os.close(self._woken)
        termios.tcsetattr(self._descriptor, termios.TCSADRAIN, self._before)

    def _pass(self) -> None:
        while True:
            ready, _, _ = select.select([self._descriptor, self._wake], [], [])
            if self._wake in ready:
                return
            typed = os.read(self._descriptor, 4096)
            if not typed or LEAVE in typed:
                self.left.set()
                return
            self._console.type(typed)
