"""When does the host take a device out of its slot and put it in again?"""

from __future__ import annotations

import queue
import socket
from concurrent.futures import Future
from types import SimpleNamespace
from typing import cast

from topbit.machine.qemu.hotplug import Plugger
from topbit.machine.qemu.machine import QemuMachine
from topbit.machine.qemu.process.console import Console
from topbit.machine.qemu.process.pci import PciDevice

PATIENCE = 30


class Monitor:
    """QEMU's monitor: a device's name stays in use for one try after it was to go."""

    def __init__(self) -> None:
        self.commands: queue.Queue[str] = queue.Queue()
        self.tries = 0

    def execute(self, command: str, arguments: dict[str, str]) -> Future[str]:
        assert command == "human-monitor-command"
        line = arguments["command-line"]
        self.commands.put(line)
        self.tries += line.startswith("device_add")
        reply: Future[str] = Future()
        reply.set_result("Duplicate device ID" if self.tries == 1 else "")
        return reply


def test_each_device_is_plugged_anew_once_its_step_says_so() -> None:
    guest, ours = socket.socketpair()
    monitor = Monitor()
    console = Console(ours)
    machine = SimpleNamespace(console=console, process=SimpleNamespace(monitor=monitor))
    devices = [PciDevice("virtio-rng", slot, bus=slot) for slot in (1, 2)]
    with Plugger(cast(QemuMachine, machine), devices):
        guest.sendall(b"step replug-0000-02-00-0 st")
        guest.sendall(b"art\n" + b"x" * 100)
        said = [monitor.commands.get(timeout=PATIENCE) for _ in range(3)]
        assert said[0] == "device_del plug2"
        assert said[1] == said[2] == f"device_add {devices[1].plugged}"
        guest.sendall(b"\nstep replug-0000-02-00-0 start\nstep replug-0000-01-00-0 start\n")
        said = [monitor.commands.get(timeout=PATIENCE) for _ in range(2)]
        assert said == ["device_del plug1", f"device_add {devices[0].plugged}"]
    assert monitor.commands.empty()
    guest.close()
    console.finish()
    ours.close()
