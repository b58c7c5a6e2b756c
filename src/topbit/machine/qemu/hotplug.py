"""Who takes a device out of its slot and puts it in again while the guest runs? The host does.

The guest's step says on the console that it waits for that (`workload.replug`).
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Sequence

from topbit.machine.qemu.guest import steps
from topbit.machine.qemu.machine import QemuMachine
from topbit.machine.qemu.process.pci import PciDevice

_LOOK = 0.1  # seconds between looks at the console
_PATIENCE = 20  # seconds for the guest to let a device go
_REPLY = 5  # seconds for one command


class Plugger:
    """Replugs each device once, when its step begins. A context manager: a thread lives inside.

    Args:
        machine: runs the guest.
        devices: those that stand behind root ports.
    """

    def __init__(self, machine: QemuMachine, devices: Sequence[PciDevice]) -> None:
        self._machine = machine
        self._waiting = {
            f"step {steps.replug(device.name).name} start".encode(): device for device in devices
        }
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="topbit-plug", daemon=True)

    def __enter__(self) -> Plugger:
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._over.set()
        self._thread.join()

    def _watch(self) -> None:
        console, seen = self._machine.console, 0
        overlap = max(map(len, self._waiting), default=0)  # a marker may come in two pieces
        while self._waiting and not self._over.wait(_LOOK):
            start, seen = max(0, seen - overlap), len(console)
            for marker in [m for m in self._waiting if console.saw(m, start)]:
                self._replug(self._waiting.pop(marker))

    def _replug(self, device: PciDevice) -> None:
        """Press the slot's button; once the device is gone, its name is free again."""
        self._said(f"device_del {device.id}")
        end = time.monotonic() + _PATIENCE
        while time.monotonic() < end and not self._over.wait(_LOOK):
            if not self._said(f"device_add {device.plugged}"):
                return

    def _said(self, command: str) -> str:
        """What does QEMU's monitor say to it? Nothing: it was done."""
        with contextlib.suppress(Exception):  # QEMU has gone; the run ends of itself
            arguments = {"command-line": command}
            reply = self._machine.process.monitor.execute("human-monitor-command", arguments)
            return str(reply.result(_REPLY))
        return "no answer"
