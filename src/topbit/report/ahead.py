"""What does a report need that can be made ready while the guest of a run still boots?

Modules are loaded, and what reading, rules and forms make at their first use is made.
"""

from __future__ import annotations

import importlib
import threading
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from topbit.machine.qemu.machine import QemuMachine

MODULES = ("machine.qemu.outcome", "report.report", "report.text_form")
LOG = b"[    0.000000] Booting Linux\n"


def make_ready(machine: QemuMachine) -> None:
    """Make all of it ready, in a thread, as soon as the guest leaves this process time for it."""

    def load() -> None:
        # When its kernel has found its interrupt controller, whose registers it waits for: then
        # it has a console, and hardly asks for anything until it finds its devices.
        while machine.process.running and not len(machine.console):
            time.sleep(0.02)
        for module in MODULES:
            importlib.import_module(f"topbit.{module}")
        report_on_little()

    threading.Thread(target=load, daemon=True).start()


def report_on_little() -> None:
    """Read one line, judge it and report on it."""
    from topbit.readers.source import Source
    from topbit.readers.text import read_text
    from topbit.recording import Platform, Recording
    from topbit.report.report import Report

    [boot] = read_text(Source("log", "text", LOG), lambda lines: None)
    str(Report.of(Recording.of_events(Platform(), boot.events)))
